"""Sparse constants become the dense ones that they list."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.importers.tflite.contents import SparseDimension, Sparsity, StoredTensor
from tidlq.importers.tflite.sparse import densify

Array = NDArray[np.float32]


def tensor(shape: tuple[int, ...], sparsity: Sparsity) -> StoredTensor:
    return StoredTensor(0, "w", "FLOAT32", shape, shape, sparsity=sparsity)


def sparsify(
    dense: Array, order: tuple[int, ...], blocks: dict[int, int], compressed: set[int]
) -> tuple[Array, Sparsity]:
    """The sparse form, made position by position from the definition.

    Args:
        dense: the constant.
        order: of dimensions, then of block dimensions.
        blocks: size of the block of an axis.
        compressed: places in the order that list their indices.
    """
    axes = list(blocks)
    sizes = [n // blocks.get(axis, 1) for axis, n in enumerate(dense.shape)] + list(blocks.values())

    def element(position: dict[int, int]) -> np.float32:
        own = [position[axis] for axis in range(dense.ndim)]
        for i, axis in enumerate(axes):
            own[axis] = own[axis] * blocks[axis] + position[dense.ndim + i]
        return np.float32(dense[tuple(own)])

    def values_below(position: dict[int, int]) -> list[np.float32]:
        rest = [d for d in order if d not in position]
        places = itertools.product(*(range(sizes[d]) for d in rest))
        return [element({**position, **dict(zip(rest, p, strict=True))}) for p in places]

    rows: list[dict[int, int]] = [{}]
    dimensions: list[SparseDimension] = []
    for place, dimension in enumerate(order):
        following: list[dict[int, int]] = []
        segments, indices = [0], []
        for row in rows:
            for i in range(sizes[dimension]):
                longer = {**row, dimension: i}
                if place not in compressed or any(values_below(longer)):
                    following.append(longer)
                    indices.append(i)
            segments.append(len(indices))
        rows = following
        if place in compressed:
            found = SparseDimension(sizes[dimension], tuple(segments), tuple(indices))
        else:
            found = SparseDimension(sizes[dimension])
        dimensions.append(found)
    elements = np.array([element(row) for row in rows], np.float32)
    return elements, Sparsity(order, tuple(axes), tuple(dimensions))


@given(data=st.data())
def test_a_sparse_constant_becomes_what_it_was_made_of(data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.sampled_from([0, 1]), unique=True))
    blocks = {axis: data.draw(st.sampled_from([1, 2])) for axis in axes}
    sizes = st.integers(1, 3).map(lambda n: 2 * n)
    shape = (data.draw(sizes), data.draw(sizes))
    cells = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=shape[0] * shape[1], max_size=36)
    dense = np.array(data.draw(cells)[: shape[0] * shape[1]], np.float32).reshape(shape)
    rank = 2 + len(blocks)
    order = (*data.draw(st.permutations(range(2))), *data.draw(st.permutations(range(2, rank))))
    compressed = data.draw(st.sets(st.integers(0, 1)))
    elements, sparsity = sparsify(dense, order, blocks, compressed)
    np.testing.assert_array_equal(densify(tensor(shape, sparsity), elements), dense)


@pytest.mark.parametrize(
    "sparsity",
    [
        Sparsity((0, 0), (), (SparseDimension(2), SparseDimension(2))),
        Sparsity((0, 1), (), (SparseDimension(2),)),
        Sparsity((0, 1), (), (SparseDimension(2), SparseDimension(1 << 30))),
        Sparsity((0, 1), (), (SparseDimension(2), SparseDimension(2, (0, 1), (0,)))),
        Sparsity((0, 1), (), (SparseDimension(2), SparseDimension(2, (0, 1, 9), (0, 1)))),
        Sparsity((0, 1), (), (SparseDimension(2), SparseDimension(2, (0, 1, 2), (0, 7)))),
        Sparsity((0, 1), (), (SparseDimension(2), SparseDimension(2, (0, 2, 1), (0, 1)))),
        Sparsity((0, 1), (), (SparseDimension(2), SparseDimension(2, (), ()))),
        Sparsity((0, 1, 2), (5,), (SparseDimension(2),) * 3),
        Sparsity((0, 1), (), (SparseDimension(-1), SparseDimension(2))),
        Sparsity((0, 1), (), (SparseDimension(2, (0, 0), ()), SparseDimension(2))),
    ],
)
def test_lists_that_do_not_fit_are_refused(sparsity: Sparsity) -> None:
    with pytest.raises(ModelError, match="sparse constant 'w' of shape"):
        densify(tensor((2, 2), sparsity), np.ones(2, np.float32))
