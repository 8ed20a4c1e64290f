"""Layers that make one element of several: Reduce; and Division, whose quotient is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from oracle.bigint.integers import IntArray, for_each, round_to_float32
from oracle.bigint.requantization import clamp, requantize_accumulators, round_half_even
from oracle.bigint.tensors import Array, centered, shape_of, store
from tidlq.lowering import network_pb2 as pb

_FAR = 2**70


def reduce(layer: pb.Reduce, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """The middle axis of (N, R, C) becomes one element each."""
    if layer.kind in (pb.Reduce.KIND_GREATEST, pb.Reduce.KIND_LEAST):
        return x.max(axis=1) if layer.kind == pb.Reduce.KIND_GREATEST else x.min(axis=1)
    terms = centered(x, source)
    if layer.kind == pb.Reduce.KIND_MAGNITUDES:
        terms = for_each(abs, terms)
    elif layer.kind != pb.Reduce.KIND_SUM:
        terms = for_each(lambda value: value * value, terms)
    acc = np.asarray(terms.sum(axis=1), dtype=object)
    if layer.kind != pb.Reduce.KIND_ROOT_OF_SQUARES:
        return store(requantize_accumulators(acc, layer.requantize), output)
    scale = layer.requantize.double_scale[0]
    v = for_each(lambda value: _away(math.sqrt(float(value)) * scale), acc)
    return store(clamp(v, layer.requantize), output)


def _away(value: float) -> int:
    """The nearest integer, halves away from zero."""
    exact = Fraction(value)
    whole = math.floor(abs(exact) + Fraction(1, 2))
    return whole if exact >= 0 else -whole


def division(
    layer: pb.Division, arrays: Sequence[Array], sources: Sequence[pb.Tensor], output: pb.Tensor
) -> Array:
    """Quotient of two broadcast operands, rounded once (FIXED) or in float32 (FLOAT)."""
    r, shape = layer.requantize, shape_of(output)
    a, b = (np.broadcast_to(centered(x, t), shape) for x, t in zip(arrays, sources, strict=True))
    if r.mode == pb.Requantize.MODE_FIXED:
        return store(clamp(_exact_quotients(a, b, r.multiplier[0], r.shift[0]), r), output)
    if r.mode != pb.Requantize.MODE_FLOAT:
        raise ValueError(f"Division with requantize mode {r.mode}")
    with np.errstate(all="ignore"):
        dividend = np.float32(r.scale[0]) * round_to_float32(a)
        divisor = np.float32(r.scale[1]) * round_to_float32(b)
        v = dividend / divisor / np.float32(output.scale)
    nothing = np.asarray((a == 0) & (b == 0), bool)
    v = np.where(nothing, np.float32(0), v)
    whole = round_half_even(np.nan_to_num(v, nan=0.0, posinf=3e38, neginf=-3e38))
    q = clamp(whole, r)
    return store(np.where(np.isnan(v), r.clamp_min, q).astype(object), output)


def _exact_quotients(a: IntArray, b: IntArray, multiplier: int, shift: int) -> IntArray:
    def quotient(dividend: int, divisor: int) -> int:
        if divisor == 0:
            return _FAR * ((dividend * multiplier > 0) - (dividend * multiplier < 0))
        return math.floor(Fraction(dividend * multiplier, divisor << shift) + Fraction(1, 2))

    return for_each(quotient, a, b)
