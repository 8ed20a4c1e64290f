"""Products of elements with what is scattered to them: float64 in the order of network.proto."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from oracle.bigint.tensors import Array, centered, limits_of, shape_of, store
from tidlq.lowering import network_pb2 as pb


def scattered_product(
    layer: pb.ScatteredProduct,
    xs: Sequence[Array],
    sources: Sequence[pb.Tensor],
    output: pb.Tensor,
) -> Array:
    """Each update multiplies its target, one after the other."""
    elements, updates = (
        [tensor.scale * float(q) for q in _steps(x, tensor)]
        for x, tensor in zip(xs, sources, strict=True)
    )
    for target, update in zip(layer.target, updates, strict=True):
        elements[target] = elements[target] * update
    low, high = (end - output.zero_point for end in limits_of(output.element_type))
    result = np.empty(len(elements), dtype=object)
    for place, element in enumerate(elements):
        value = element * layer.gain
        bounded = 0 if math.isnan(value) else min(max(value, low), high)
        result[place] = round(bounded) + output.zero_point
    return store(result.reshape(shape_of(output)), output)


def exact_products(
    layer: pb.ScatteredProduct, xs: Sequence[Array], sources: Sequence[pb.Tensor]
) -> tuple[list[Fraction], list[int]]:
    """The products in steps of the output, and how many updates each has."""
    elements, updates = (
        [Fraction(tensor.scale) * q for q in _steps(x, tensor)]
        for x, tensor in zip(xs, sources, strict=True)
    )
    counts = [0] * len(elements)
    for target, update in zip(layer.target, updates, strict=True):
        elements[target] *= update
        counts[target] += 1
    return [element * Fraction(layer.gain) for element in elements], counts


def _steps(x: Array, tensor: pb.Tensor) -> list[int]:
    return [int(q) for q in np.asarray(centered(x, tensor), dtype=object).reshape(-1)]
