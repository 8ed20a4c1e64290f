"""Layers that treat each element alone, with broadcasting: Rescale, Sum, Product, Lookup, PRelu."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oracle.bigint.integers import IntArray, for_each, low32, round_to_float32
from oracle.bigint.requantization import (
    clamp,
    multiply_twice_rounded,
    requantize_accumulators,
    round_half_even,
    round_shift,
)
from oracle.bigint.tensors import Array, centered, constant_of, limits_of, shape_of, store
from tidlq.lowering import network_pb2 as pb


def rescale(layer: pb.Rescale, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """acc = q - zero_point, then requantize."""
    return store(requantize_accumulators(centered(x, source), layer.requantize), output)


def sum_operands(
    layer: pb.Sum, arrays: Sequence[Array], sources: Sequence[pb.Tensor], output: pb.Tensor
) -> Array:
    """Weighted sum of broadcast operands with one rounding (FIXED) or in float32 (FLOAT)."""
    r, shape = layer.requantize, shape_of(output)
    operands = [
        np.broadcast_to(centered(a, t), shape) for a, t in zip(arrays, sources, strict=True)
    ]
    if r.mode == pb.Requantize.MODE_FIXED:
        factors = _per_operand(r.multiplier, operands)
        weighted = for_each(lambda *q: sum(map(operator.mul, factors, q)), *operands)
        v = round_shift(weighted, r.shift[0])
    elif r.mode == pb.Requantize.MODE_FLOAT:
        with np.errstate(over="ignore", under="ignore"):
            floats = [
                _scaled(s, q)
                for s, q in zip(_per_operand(r.scale, operands), operands, strict=True)
            ]
            total = floats[0]
            for term in floats[1:]:
                total = total + term
            v = round_half_even(total / np.float32(output.scale))
    elif r.mode == pb.Requantize.MODE_TWICE_ROUNDED:
        total = _twice_rounded_sum(layer, operands)
        last = np.full(total.shape, len(operands))
        return store(requantize_accumulators(total, r, last), output)
    else:
        raise ValueError(f"Sum with requantize mode {r.mode}")
    return store(clamp(v, r), output)


def _twice_rounded_sum(layer: pb.Sum, operands: Sequence[IntArray]) -> IntArray:
    """Each operand scaled and rounded by its own entry, added or subtracted."""
    r = layer.requantize
    signs = [-1 if is_less else 1 for is_less in layer.subtracted] or [1] * len(operands)
    total = np.zeros(operands[0].shape, dtype=object)
    for i, (operand, sign) in enumerate(zip(operands, signs, strict=True)):
        entry = (r.left_shift[i], r.multiplier[i], r.shift[i])
        total = total + sign * for_each(multiply_twice_rounded, operand, *entry)
    return for_each(low32, total)


def _per_operand(values: Sequence[float], operands: Sequence[object]) -> list[float]:
    """One entry per operand; a list of one serves every operand."""
    return list(values) * len(operands) if len(values) == 1 else list(values)


def product(
    layer: pb.Product, arrays: Sequence[Array], sources: Sequence[pb.Tensor], output: pb.Tensor
) -> Array:
    """Product of two broadcast operands, requantized."""
    r, shape = layer.requantize, shape_of(output)
    a, b = (np.broadcast_to(centered(x, t), shape) for x, t in zip(arrays, sources, strict=True))
    if r.mode != pb.Requantize.MODE_FLOAT:
        return store(requantize_accumulators(for_each(operator.mul, a, b), r), output)
    with np.errstate(over="ignore", under="ignore"):
        real = _scaled(r.scale[0], a) * _scaled(r.scale[1], b)
        v = round_half_even(real / np.float32(output.scale))
    return store(clamp(v, r), output)


def lookup(layer: pb.Lookup, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """value[q - lowest(input type)]."""
    lowest, _ = limits_of(source.element_type)
    table = np.array(list(layer.value), np.int64)
    return store(table[x.astype(np.int64) - lowest].astype(object), output)


def prelu(
    layer: pb.PRelu, x: Array, source: pb.Tensor, slope: pb.Tensor, output: pb.Tensor
) -> Array:
    """x >= 0: x by `positive`; x < 0: x * slope[c] by `negative`."""
    value = centered(x, source)
    slopes = np.broadcast_to(constant_of(slope).astype(object), value.shape)
    positive = requantize_accumulators(value, layer.positive)
    negative = requantize_accumulators(for_each(operator.mul, value, slopes), layer.negative)
    q = for_each(lambda x, p, n: p if x >= 0 else n, value, positive, negative)
    return store(q, output)


def _scaled(scale: float, values: NDArray[np.object_]) -> NDArray[np.float32]:
    """scale * float32(q - zero_point), a float32 product."""
    return np.asarray(np.float32(scale) * round_to_float32(values), np.float32)


def extremum(layer: pb.Extremum, xs: Sequence[Array], output: pb.Tensor) -> Array:
    """The greatest or the least of broadcast operands."""
    best = for_each(min if layer.least else max, *xs)
    return store(best.reshape(tuple(output.shape)), output)
