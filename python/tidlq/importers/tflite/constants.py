"""Elements of a TFLite file's constants: stored numbers, and the real ones they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.importers.tflite.contents import StoredTensor
from tidlq.importers.tflite.sparse import densify
from tidlq.passes.node_reading import sizes_product

ELEMENT_TYPES: Mapping[str, np.dtype[np.generic]] = MappingProxyType(
    {
        "FLOAT16": np.dtype(np.float16),
        "FLOAT32": np.dtype(np.float32),
        "FLOAT64": np.dtype(np.float64),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype(np.int16),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype(np.uint16),
        "UINT32": np.dtype(np.uint32),
        "UINT64": np.dtype(np.uint64),
        "BOOL": np.dtype(np.bool_),
    }
)
"""Element types that numpy has; INT4 and BFLOAT16 are read as well."""

FLOAT_TYPES = frozenset({"FLOAT16", "BFLOAT16", "FLOAT32", "FLOAT64"})
_LEAST_ZERO_POINT, _LARGEST_ZERO_POINT = -(1 << 15), (1 << 16) - 1


def stored_values(tensor: StoredTensor) -> NDArray[np.generic]:
    """The elements of a constant as stored; INT4 as int8, BFLOAT16 as float32.

    Raises:
        ModelError: The data do not fit the shape, or the type cannot be read.
    """
    assert tensor.data is not None
    if tensor.sparsity is not None:
        return densify(tensor, _elements(tensor, len(tensor.data) * 8 // _bits(tensor)))
    count = sizes_product(tensor.shape)
    needed = -(-count * _bits(tensor) // 8)
    if len(tensor.data) != needed:
        raise ModelError(
            f"constant {tensor.name!r} of shape {list(tensor.shape)} and type {tensor.type} needs "
            f"{needed} bytes and has {len(tensor.data)}."
        )
    return _elements(tensor, count).reshape(tensor.shape)


def _bits(tensor: StoredTensor) -> int:
    if tensor.type == "INT4":
        return 4
    if tensor.type == "BFLOAT16":
        return 16
    if tensor.type not in ELEMENT_TYPES:
        raise ModelError(f"constant {tensor.name!r} is of type {tensor.type}, which is not read.")
    return ELEMENT_TYPES[tensor.type].itemsize * 8


def _elements(tensor: StoredTensor, count: int) -> NDArray[np.generic]:
    """The first `count` stored elements, in a row."""
    assert tensor.data is not None
    if tensor.type == "INT4":
        packed = np.frombuffer(tensor.data, np.uint8)
        # Two to a byte, the low half first; shifted up and down again to extend the sign.
        halves = np.stack([packed << 4, packed & 0xF0], axis=-1).reshape(-1)[:count]
        return np.asarray(halves.view(np.int8) >> 4)
    if tensor.type == "BFLOAT16":
        wide = np.frombuffer(tensor.data, "<u2", count).astype(np.uint32) << 16
        return np.asarray(wide.view(np.float32))
    dtype = ELEMENT_TYPES[tensor.type]
    array: NDArray[np.generic] = np.frombuffer(tensor.data, dtype.newbyteorder("<"), count)
    return array.astype(dtype, copy=False)


def real_values(tensor: StoredTensor) -> NDArray[np.generic]:
    """The numbers that a constant stands for: float32 of floats and of quantized integers.

    Integers without scales stay as they are.

    Raises:
        ModelError: The data do not fit the shape or the scales.
    """
    stored = stored_values(tensor)
    if tensor.type in FLOAT_TYPES:
        with np.errstate(over="ignore"):
            return stored.astype(np.float32)
    if tensor.quantization is None:
        return stored
    return dequantized(tensor, stored)


def dequantized(tensor: StoredTensor, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """float32 scale * (q - zero point), one product per element, rounded once.

    Args:
        tensor: gives the scales.
        stored: integers of the tensor's shape.
    """
    quantization = tensor.quantization
    assert quantization is not None
    if quantization.is_special:
        raise ModelError(
            f"the scales of constant {tensor.name!r} come in blocks or in a form of their own; one "
            "scale, or one per index of an axis, is supported."
        )
    scales = np.asarray(quantization.scales, np.float32)
    zero_points = np.asarray(quantization.zero_points, np.int64)
    if not np.isfinite(scales).all() or (scales < 0).any():
        raise ModelError(
            f"constant {tensor.name!r} has a scale that is negative, NaN or Inf; scales must be "
            "finite."
        )
    if scales.size > 1:
        axis = quantization.axis
        if not 0 <= axis < stored.ndim or stored.shape[axis] != scales.size:
            raise ModelError(
                f"constant {tensor.name!r} of shape {list(stored.shape)} has {scales.size} scales "
                f"for axis {axis}."
            )
        along = [1] * stored.ndim
        along[axis] = scales.size
        scales, zero_points = scales.reshape(along), zero_points.reshape(along)
    if zero_points.min() < _LEAST_ZERO_POINT or zero_points.max() > _LARGEST_ZERO_POINT:
        raise ModelError(
            f"constant {tensor.name!r} has zero points from {zero_points.min()} to "
            f"{zero_points.max()}; they must be integers of 16 bits."
        )
    if zero_points.any():
        stored = stored.astype(np.int64) - zero_points
    with np.errstate(over="ignore"):
        real = np.multiply(stored.astype(np.float32), scales, dtype=np.float32)
    if not np.isfinite(real).all():
        raise ModelError(f"constant {tensor.name!r} does not fit float32; its scale is too large.")
    return real
