"""Sparse constants as dense ones.

A sparse constant lists its elements along the dimensions in an order of storage. A dense dimension
counts through its size; a compressed one lists, for every position of those before it, a segment of
indices. Blocks split a dimension in two: its coordinate is the outer one times the block's size
plus the inner one.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, SparsityParameters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.importers.tflite.contents import SparseDimension, Sparsity, StoredTensor
from tidlq.passes.node_reading import sizes_product

_LARGEST_DENSE = 1 << 26


def densify(tensor: StoredTensor, elements: NDArray[np.generic]) -> NDArray[np.generic]:
    """The dense form of a sparse constant; what is not listed is zero.

    Args:
        tensor: gives shape and layout.
        elements: [n]. In the order of storage.

    Raises:
        ModelError: The lists do not fit the shape, one another or the elements.
    """
    sparsity = tensor.sparsity
    assert sparsity is not None
    rank = len(tensor.shape)
    _check_layout(tensor, sparsity)
    # Every position leads to an element, or to an entry of a list of segments.
    lists = (len(dimension.segments or ()) for dimension in sparsity.dimensions)
    most = max(len(elements), *lists)
    places: list[NDArray[np.int64]] = []
    # Number of the position, among all positions of the dimensions so far.
    rows = np.zeros(1, np.int64)
    for dimension in sparsity.dimensions:
        parents, own = _expand(tensor, dimension, rows, most)
        places = [place[parents] for place in places]
        places.append(own)
        rows = (
            np.arange(len(own))
            if dimension.segments is not None
            else _flat(rows, parents, own, dimension.dense_size)
        )
    if len(rows) != len(elements):
        raise _fault(tensor, f"lists {len(rows)} places for {len(elements)} elements")
    coordinates = _coordinates(sparsity, rank, places)
    dense = np.zeros(tensor.shape, elements.dtype)
    for axis, (place, size) in enumerate(zip(coordinates, tensor.shape, strict=True)):
        if len(place) and not 0 <= place.min() <= place.max() < size:
            raise _fault(tensor, f"places an element outside axis {axis} of size {size}")
    dense[tuple(coordinates)] = elements
    return dense


def _fault(tensor: StoredTensor, what: str) -> ModelError:
    return ModelError(f"sparse constant {tensor.name!r} of shape {list(tensor.shape)} {what}.")


def _check_layout(tensor: StoredTensor, sparsity: Sparsity) -> None:
    rank, blocks = len(tensor.shape), len(sparsity.block_map)
    if not rank or sizes_product(tensor.shape) > _LARGEST_DENSE:
        raise _fault(tensor, f"is a scalar or has more than {_LARGEST_DENSE} elements")
    if sorted(sparsity.order) != list(range(rank + blocks)):
        raise _fault(tensor, f"stores its dimensions in the order {list(sparsity.order)}")
    if len(sparsity.dimensions) != rank + blocks:
        raise _fault(tensor, f"describes {len(sparsity.dimensions)} dimensions")
    if not all(0 <= axis < rank for axis in sparsity.block_map):
        raise _fault(tensor, f"has blocks of the axes {list(sparsity.block_map)}")
    if len(set(sparsity.block_map)) != blocks:
        raise _fault(tensor, "has two blocks of one axis")


def _flat(
    rows: NDArray[np.int64], parents: NDArray[np.int64], own: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    return np.asarray(rows[parents] * size + own, np.int64)


def _expand(
    tensor: StoredTensor, dimension: SparseDimension, rows: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every position of the dimension: the index of its row, and its coordinate."""
    if dimension.segments is None:
        size = dimension.dense_size
        if size < 1 or len(rows) * size > most:
            raise _fault(tensor, f"has a dense dimension of size {size}, too large or too small")
        return np.repeat(np.arange(len(rows)), size), np.tile(np.arange(size), len(rows))
    segments = np.asarray(dimension.segments, np.int64)
    indices = np.asarray(dimension.indices or (), np.int64)
    if len(segments) <= rows.max(initial=-1) + 1 or segments[0] != 0:
        raise _fault(tensor, f"lists {len(segments)} segments for {len(rows)} rows")
    lengths = np.diff(segments)
    if (lengths < 0).any() or segments[-1] != len(indices) or len(indices) > most:
        raise _fault(tensor, f"has segments that do not match its {len(indices)} indices")
    counts = lengths[rows]
    if counts.sum() != len(indices):
        raise _fault(tensor, "has segments that no row reads")
    return np.repeat(np.arange(len(rows)), counts), indices


def _coordinates(
    sparsity: Sparsity, rank: int, places: list[NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """Coordinates along the tensor's own axes, from those in the order of storage."""
    by_dimension = dict(zip(sparsity.order, places, strict=True))
    sizes = dict(
        zip(sparsity.order, (entry.dense_size for entry in sparsity.dimensions), strict=True)
    )
    coordinates = [by_dimension[axis] for axis in range(rank)]
    for block, axis in enumerate(sparsity.block_map):
        inner = rank + block
        coordinates[axis] = coordinates[axis] * sizes[inner] + by_dimension[inner]
    return coordinates
