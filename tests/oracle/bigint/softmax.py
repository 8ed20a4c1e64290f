"""IntegerSoftmax, as the contract words it, in Python ints."""

from __future__ import annotations

import numpy as np

from oracle.bigint.tensors import Array, limits_of, store
from tidlq.lowering import network_pb2 as pb

_ONE = 1 << 31
_WIDE_BITS = 16


def integer_softmax(layer: pb.IntegerSoftmax, x: Array, output: pb.Tensor) -> Array:
    """Row by row over the last axis."""
    is_wide = np.iinfo(x.dtype).bits == _WIDE_BITS
    table = list(layer.exponential)
    lowest, highest = limits_of(output.element_type)
    rows = []
    for row in x.reshape(-1, x.shape[-1]).tolist():
        e = [table[max(row) - q] for q in row]
        if is_wide:
            rows.append(_wide_row(e, list(layer.reciprocal)))
        else:
            bits = (highest - lowest + 1).bit_length() - 1
            rows.append(_narrow_row(e, bits, lowest, highest))
    return store(np.array(rows, dtype=object).reshape(x.shape), output)


def _narrow_row(e: list[int], bits: int, lowest: int, highest: int) -> list[int]:
    total = sum(_divided(value, 12) for value in e)
    zeros = 32 - total.bit_length()
    scale = _reciprocal(_low32((total << zeros) - _ONE))
    shift = 43 - zeros - bits
    return [min(lowest + _divided(_high(scale, value), shift), highest) for value in e]


def _wide_row(e: list[int], reciprocals: list[int]) -> list[int]:
    total = sum(e)
    zeros = 32 - total.bit_length()
    t = min((((total << (zeros - 1)) + (1 << 13)) >> 14) - (1 << 16), 65_535)
    i = t >> 7
    step = reciprocals[i + 1] - reciprocals[i]
    r = reciprocals[i] + ((step * (t & 127) + 64) >> 7)
    half, shift = 1 << (30 - zeros), 31 - zeros
    return [min(max((value * r + half) >> shift, 0), 32_767) for value in e]


def _high(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31


def _low32(value: int) -> int:
    return (value + _ONE) % (2 * _ONE) - _ONE


def _limited(value: int) -> int:
    return min(max(value, -_ONE), _ONE - 1)


def _divided(value: int, shift: int) -> int:
    """value / 2^shift, halves away from zero."""
    if shift == 0:
        return value
    magnitude = (abs(value) + (1 << (shift - 1))) >> shift
    return magnitude if value >= 0 else -magnitude


def _reciprocal(x: int) -> int:
    """1 / (1 + x / 2^31) by three steps of Newton."""
    # x / 2 + 2^30 - 1/2 is a multiple of 1/2.
    doubled = x + _ONE - 1
    d = _divided(doubled, 1)
    y = 1_515_870_810 + _high(d, -1_010_580_540)
    for _ in range(3):
        y = _low32(y + _limited(4 * _high(y, (1 << 29) - _high(d, y))))
    return _limited(2 * y)
