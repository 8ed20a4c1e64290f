"""TopK: elements of an axis in order of their size, or their positions."""

from __future__ import annotations

import numpy as np

from oracle.bigint.tensors import Array, dtype_of, shape_of
from tidlq.lowering import network_pb2 as pb

_POSITIONS = (pb.ELEMENT_TYPE_S32, pb.ELEMENT_TYPE_S64)


def top_k(layer: pb.TopK, x: Array, output: pb.Tensor) -> Array:
    """The first elements along the middle axis of (N, R, C)."""
    result = np.empty(shape_of(output), dtype_of(output))
    count = result.shape[1]
    for outer in range(x.shape[0]):
        for column in range(x.shape[2]):
            values = [int(value) for value in x[outer, :, column]]

            def rank(row: int, values: list[int] = values) -> tuple[int, int]:
                size = values[row] if layer.least else -values[row]
                return size, -row if layer.higher_first else row

            rows = sorted(range(len(values)), key=rank)[:count]
            is_position = output.element_type in _POSITIONS
            result[outer, :, column] = rows if is_position else [values[row] for row in rows]
    return result
