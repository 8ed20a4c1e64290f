"""Accumulators to output integers: the modes of Requantize."""

from __future__ import annotations

import operator
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oracle.bigint.integers import (
    IntArray,
    for_each,
    low32,
    quotient_away,
    round_to_float32,
)
from tidlq.lowering import network_pb2 as pb

# Beyond every type by far, and small enough to be an exact float32 and an int.
_FLOAT_LIMIT = np.float32(2.0**60)


def round_shift(values: ArrayLike, shift: ArrayLike) -> IntArray:
    """(v + half) >> shift with half = shift ? 1 << (shift - 1) : 0."""
    return for_each(lambda v, s: (v + (1 << (s - 1) if s else 0)) >> s, values, shift)


def round_half_even(values: NDArray[np.float32]) -> IntArray:
    """The integer nearest to each finite or infinite float32; infinities become huge ints."""
    return for_each(int, np.clip(np.rint(values), -_FLOAT_LIMIT, _FLOAT_LIMIT))


def multiply_twice_rounded(value: int, left_shift: int, multiplier: int, shift: int) -> int:
    """A product rounded after the multiplication, halves up, and after the shift, halves away."""
    high = (low32(value << left_shift) * multiplier + (1 << 30)) >> 31
    return quotient_away(high, 1 << shift)


def round_half_away(value: float) -> int:
    """The integer nearest to a float, halves away from zero; infinities become huge ints."""
    exact = Fraction(min(max(value, -float(_FLOAT_LIMIT)), float(_FLOAT_LIMIT)))
    return quotient_away(exact.numerator, exact.denominator)


def saturate(values: IntArray, zero_point: int, low: int, high: int) -> IntArray:
    """min(max(v + zero_point, low), high)."""
    return for_each(lambda v: min(max(v + zero_point, low), high), values)


def clamp(values: IntArray, requantize: pb.Requantize) -> IntArray:
    """Adds a layer's zero point to v and clamps."""
    r = requantize
    return saturate(values, r.zero_point, r.clamp_min, r.clamp_max)


def requantize_accumulators(
    acc: IntArray, requantize: pb.Requantize, entry: NDArray[np.int64] | None = None
) -> IntArray:
    """Output integers of accumulators.

    Args:
        acc: exact accumulators.
        requantize: mode and lists.
        entry: index into the lists per element, broadcast against acc; the last axis's position
            when not given.
    """
    if entry is None:
        entry = np.arange(acc.shape[-1] if acc.ndim else 1)
    if requantize.mode == pb.Requantize.MODE_SHIFT:
        v = round_shift(acc, _pick(requantize.shift, entry))
    elif requantize.mode == pb.Requantize.MODE_FIXED:
        products = for_each(operator.mul, acc, _pick(requantize.multiplier, entry))
        v = round_shift(products, _pick(requantize.shift, entry))
    elif requantize.mode == pb.Requantize.MODE_FLOAT:
        v = round_half_even(real_values(acc, requantize, entry))
    elif requantize.mode == pb.Requantize.MODE_TWICE_ROUNDED:
        r = requantize
        lists = (_pick(values, entry) for values in (r.left_shift, r.multiplier, r.shift))
        v = for_each(multiply_twice_rounded, acc, *lists)
        return saturate(for_each(low32, v + r.zero_point), 0, r.clamp_min, r.clamp_max)
    elif requantize.mode == pb.Requantize.MODE_DOUBLE:
        scales = _pick(requantize.double_scale, entry)
        v = for_each(lambda a, scale: round_half_away(float(a) * scale), acc, scales)
    else:
        raise ValueError(f"requantize mode {requantize.mode}")
    return clamp(v, requantize)


def quotients(sums: IntArray, divisors: ArrayLike, requantize: pb.Requantize) -> IntArray:
    """Output integers of sums of integers as they are, over divisors."""
    v = for_each(quotient_away, sums, divisors)
    return saturate(v, 0, requantize.clamp_min, requantize.clamp_max)


def real_values(
    acc: IntArray, requantize: pb.Requantize, entry: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """float32(acc) * scale + real_bias, each operation rounded.

    By the last axis's position where no entry is given.
    """
    if entry is None:
        entry = np.arange(acc.shape[-1])
    with np.errstate(over="ignore", under="ignore"):
        scale = np.asarray(_pick(requantize.scale, entry), np.float32)
        values = np.asarray(round_to_float32(acc) * scale, np.float32)
        if requantize.real_bias:
            values = values + np.asarray(_pick(requantize.real_bias, entry), np.float32)
    return values


def _pick(values: object, entry: NDArray[np.int64]) -> IntArray:
    """List entries by index; a list of one serves every index and every shape."""
    table = np.asarray(list(values), dtype=object)  # type: ignore[call-overload]
    return np.asarray(table[0] if len(table) == 1 else table[entry], dtype=object)
