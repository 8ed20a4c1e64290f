"""Products of the rows of two features, and normalization of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oracle.bigint.requantization import requantize_accumulators
from oracle.bigint.tensors import Array, centered, limits_of, shape_of, store
from tidlq.lowering import network_pb2 as pb


def matrix_product(
    layer: pb.MatrixProduct, xs: Sequence[Array], sources: Sequence[pb.Tensor], output: pb.Tensor
) -> Array:
    """acc[..., m, n]: row m of the first operand times row n of the second."""
    a, b = (np.asarray(centered(x, t), dtype=object) for x, t in zip(xs, sources, strict=True))
    shape = shape_of(output)
    b = np.broadcast_to(b, (*shape[:-2], *b.shape[-2:]))
    acc = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        row, column = a[(*index[:-1],)], b[(*index[:-2], index[-1])]
        acc[index] = sum(x * y for x, y in zip(row.tolist(), column.tolist(), strict=True))
    return store(requantize_accumulators(acc, layer.requantize), output)


def normalization(layer: pb.Normalization, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """Every row with its mean taken off, divided by its deviation."""
    rows = np.asarray(centered(x, source), dtype=object).reshape(-1, shape_of(output)[-1])
    low, high = limits_of(output.element_type)
    result: list[int] = []
    for number, row in enumerate(rows.tolist()):
        n = len(row)
        total = sum(row) if layer.centred else 0
        below = float(n * sum(d * d for d in row) - total * total) + layer.epsilon
        factor = 0.0 if below == 0 else 1.0 / math.sqrt(below)
        for place, d in enumerate(row):
            c = number if layer.by_row else place
            gain, shift = (values[c % len(values)] for values in (layer.gain, layer.shift))
            value = (float(n * d - total) * factor) * gain + shift
            bounded = min(max(value, low - output.zero_point), high - output.zero_point)
            result.append(round(bounded) + output.zero_point)
    return store(np.array(result, dtype=object).reshape(shape_of(output)), output)
