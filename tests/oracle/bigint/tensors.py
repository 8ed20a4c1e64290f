"""Element types, shapes and constants of a Network's tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oracle.bigint.integers import IntArray, for_each
from tidlq.lowering import network_pb2 as pb

Array = NDArray[np.generic]

DTYPES: dict[int, np.dtype[np.generic]] = {
    pb.ELEMENT_TYPE_U8: np.dtype("<u1"),
    pb.ELEMENT_TYPE_S8: np.dtype("<i1"),
    pb.ELEMENT_TYPE_U16: np.dtype("<u2"),
    pb.ELEMENT_TYPE_S16: np.dtype("<i2"),
    pb.ELEMENT_TYPE_F32: np.dtype("<f4"),
    pb.ELEMENT_TYPE_S32: np.dtype("<i4"),
    pb.ELEMENT_TYPE_S64: np.dtype("<i8"),
}


def dtype_of(tensor: pb.Tensor) -> np.dtype[np.generic]:
    """The numpy dtype of a tensor's elements."""
    return DTYPES[tensor.element_type]


def limits_of(element_type: int) -> tuple[int, int]:
    """Lowest and highest integer of an element type."""
    info = np.iinfo(DTYPES[element_type])
    return int(info.min), int(info.max)


def shape_of(tensor: pb.Tensor) -> tuple[int, ...]:
    """The tensor's sizes, outermost first."""
    return tuple(tensor.shape)


def constant_of(tensor: pb.Tensor) -> Array:
    """The elements of a constant tensor."""
    return np.frombuffer(tensor.constant, dtype_of(tensor)).reshape(shape_of(tensor))


def centered(array: Array, tensor: pb.Tensor) -> IntArray:
    """q - zero_point as Python ints."""
    return for_each(lambda q: q - tensor.zero_point, array)


def store(values: IntArray, tensor: pb.Tensor) -> Array:
    """Integers as an array of the tensor's type.

    Raises:
        OverflowError: A value is outside the type: a faulty Network or a faulty step here.
        TypeError: A value is a numpy scalar, whose arithmetic could have wrapped.
    """
    low, high = limits_of(tensor.element_type)
    values = np.asarray(values, dtype=object)
    flat = values.ravel().tolist()
    if any(type(value) is not int for value in flat):
        raise TypeError(f"tensor {tensor.name!r} was not computed in Python integers")
    if flat and (min(flat) < low or max(flat) > high):
        raise OverflowError(f"tensor {tensor.name!r} would hold {min(flat)} .. {max(flat)}")
    return np.array(flat, dtype_of(tensor)).reshape(values.shape)
