"""Exact integer arithmetic on numpy arrays of Python ints (dtype object)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Python ints: arithmetic on them neither wraps nor rounds.
IntArray = NDArray[np.object_]

_FIELD_BYTES = 8
_HALF_FIELD = 1 << 63


def to_int(array: NDArray[np.generic]) -> IntArray:
    """An integer array as Python ints."""
    if array.dtype.kind not in "iub":
        raise TypeError(f"not an integer array: {array.dtype}")
    return array.astype(object)


def for_each(function: Callable[..., int], *operands: ArrayLike) -> IntArray:
    """A function of Python ints applied to each element of broadcast operands."""
    arrays = np.broadcast_arrays(*(np.asarray(operand, dtype=object) for operand in operands))
    columns = [array.ravel().tolist() for array in arrays]
    results = np.empty(arrays[0].size, dtype=object)
    results[:] = [function(*row) for row in zip(*columns, strict=True)]
    return results.reshape(arrays[0].shape)


def low32(value: int) -> int:
    """The signed 32-bit integer congruent to a value."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def quotient_away(value: int, divisor: int) -> int:
    """The integer nearest to value / divisor, halves away from zero; the divisor is positive."""
    magnitude = (2 * abs(value) + divisor) // (2 * divisor)
    return -magnitude if value < 0 else magnitude


def round_to_float32(values: IntArray) -> NDArray[np.float32]:
    """The float32 nearest to each integer, halves to even, in one rounding.

    Through float64 there would be two, so the 24 leading bits are cut out here.
    """
    return np.array([_nearest_float32(v) for v in values.ravel()], np.float32).reshape(values.shape)


def _nearest_float32(value: int) -> float:
    magnitude = abs(value)
    excess = magnitude.bit_length() - 24
    if excess > 0:
        kept, cut = magnitude >> excess, magnitude & ((1 << excess) - 1)
        half = 1 << (excess - 1)
        kept += cut > half or (cut == half and kept & 1)
        magnitude = kept << excess
    return float(-magnitude if value < 0 else magnitude)


def exact_matmul(left: NDArray[np.int64], right: NDArray[np.int64]) -> IntArray:
    """left [m, k] times right [k, n], exactly.

    The longer of m and n is packed into one Python int per k, 64 bits a field, so one
    big-integer product computes many products; a bound proves that no field overflows.
    """
    if left.shape[1] != right.shape[0]:
        raise ValueError(f"inner sizes differ: {left.shape} and {right.shape}")
    if right.shape[1] < left.shape[0]:
        return exact_matmul(right.T, left.T).T
    _check_field_bound(left, right)
    packed = np.array([_pack(row) for row in right] + [0], dtype=object)[:-1]
    sums = np.dot(to_int(left), packed)
    return np.array([_unpack(int(value), right.shape[1]) for value in sums], dtype=object).reshape(
        left.shape[0], right.shape[1]
    )


def _check_field_bound(left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    bound = left.shape[1] * _largest_magnitude(left) * _largest_magnitude(right)
    if bound >= _HALF_FIELD:
        raise OverflowError(f"products up to {bound} do not fit a 64-bit field")


def _largest_magnitude(array: NDArray[np.int64]) -> int:
    return max(abs(int(array.min())), abs(int(array.max()))) if array.size else 0


def _ones(count: int) -> int:
    """A 1 in each of `count` fields."""
    return int.from_bytes((b"\x01" + b"\x00" * (_FIELD_BYTES - 1)) * count, "little")


def _pack(row: NDArray[np.int64]) -> int:
    """sum of row[i] * 2^(64 i)."""
    offset = 1 << 62
    fields = (row + offset).astype("<u8").tobytes()
    return int.from_bytes(fields, "little") - offset * _ones(len(row))


def _unpack(value: int, count: int) -> list[int]:
    fields = (value + _HALF_FIELD * _ones(count)).to_bytes(_FIELD_BYTES * count, "little")
    return [field - _HALF_FIELD for field in np.frombuffer(fields, "<u8").tolist()]
