"""Layers that take elements by constant positions: gathers, scatters, repetitions, blocks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import (
    GatherAttributes,
    Layer,
    LayerKind,
    RearrangementAttributes,
)
from tidlq.graph.recognition import movement
from tidlq.graph.recognition.elementwise import read_operand
from tidlq.graph.recognition.functions import refuse_stated
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.graph.scattering import (
    ScatterAttributes,
    ScatteredProductAttributes,
    ScatterReduction,
)

Positions = NDArray[np.int64]

MOST_ELEMENTS = 1 << 22
"""Elements whose positions are listed one by one."""


def refuse_restated(node: NodeReader) -> None:
    """Leaves a node in float whose output a pre-quantized model states otherwise than its input."""
    stated = node.graph.stated
    if stated is None:
        return
    before, after = (stated.features.get(name) for name in (node.inputs[0], node.outputs[0]))
    if before is not None and after is not None and before != after:
        raise RefusedError("the model quantizes its output otherwise than its input")


def gathered(node: NodeReader, axes: dict[int, Positions], view: tuple[int, ...] = ()) -> Layer:
    """The layer of a node that takes positions along axes.

    Args:
        node: its first input is gathered.
        axes: positions by axis.
        view: the input's shape, where the axes belong to another than its own.
    """
    refuse_restated(node)
    if sum(positions.size for positions in axes.values()) > MOST_ELEMENTS:
        raise RefusedError(f"it has more than {MOST_ELEMENTS} positions")
    listed = tuple((axis, tuple(axes[axis].tolist())) for axis in sorted(axes))
    return node.layer(LayerKind.GATHER, GatherAttributes(listed, view))


def _integers(node: NodeReader, index: int, what: str) -> Positions:
    return np.asarray(node.constant(index, what), np.int64)


def _within(positions: Positions, sizes: Positions | int) -> Positions:
    """Positions counted from the front; what lies outside is the model's fault."""
    resolved = np.where(positions < 0, positions + sizes, positions)
    if ((resolved < 0) | (resolved >= sizes)).any():
        raise RefusedError("an index of it is outside its input")
    return np.asarray(resolved, np.int64)


def recognise_gather(node: NodeReader) -> Layer:
    """Gather by constant indices."""
    shape = node.float_shape(node.feature(0))
    axis = node.axis(node.integer("axis", 0), len(shape))
    indices = _integers(node, 1, "list of indices")
    return gathered(node, {axis: _within(indices, shape[axis]).reshape(-1)})


def _numbered(shape: tuple[int, ...]) -> Positions:
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def _taken(node: NodeReader, elements: Positions) -> Layer:
    """The layer whose flattened output has these elements of the flattened input."""
    refuse_restated(node)
    if elements.size > MOST_ELEMENTS:
        raise RefusedError(f"it takes more than {MOST_ELEMENTS} elements one by one")
    listed = tuple(elements.reshape(-1).tolist())
    return node.layer(LayerKind.GATHER, GatherAttributes(elements=listed))


def recognise_gather_elements(node: NodeReader) -> Layer:
    """GatherElements by constant indices."""
    shape = node.float_shape(node.feature(0))
    axis = node.axis(node.integer("axis", 0), len(shape))
    return _taken(node, _along(node, shape, axis))


def _along(node: NodeReader, shape: tuple[int, ...], axis: int) -> Positions:
    """Flat positions in the first input of the elements that indices along an axis name."""
    indices = _within(_integers(node, 1, "list of indices"), shape[axis])
    if any(own > full for own, full in zip(indices.shape, shape, strict=True)) and any(
        own > full
        for place, (own, full) in enumerate(zip(indices.shape, shape, strict=True))
        if place != axis
    ):
        raise RefusedError("its indices reach beyond its input")
    grid = np.indices(indices.shape)
    grid[axis] = indices
    return _numbered(shape)[tuple(grid)]


def _named(node: NodeReader, shape: tuple[int, ...], batch: int = 0) -> Positions:
    """Flat positions, [..., elements of a slice], of what index tuples name."""
    indices = _integers(node, 1, "list of indices")
    depth = indices.shape[-1]
    if batch + depth > len(shape):
        raise RefusedError("its indices have more entries than its input has axes")
    sizes = np.array(shape[batch : batch + depth], np.int64)
    indices = _within(indices, sizes)
    table = _numbered(shape).reshape(*shape[: batch + depth], -1)
    leading = np.indices(indices.shape[:batch]) if batch else np.zeros((0,), np.int64)
    spread = (1,) * (indices.ndim - 1 - batch)
    first = [place.reshape(*place.shape, *spread) for place in leading]
    return np.asarray(table[(*first, *np.moveaxis(indices, -1, 0))], np.int64)


def recognise_gather_nd(node: NodeReader) -> Layer:
    """GatherND by constant indices."""
    shape = node.float_shape(node.feature(0))
    return _taken(node, _named(node, shape, node.integer("batch_dims", 0)))


def _scattered(node: NodeReader, targets: Positions) -> Layer:
    """The layer that writes the third input's elements at positions of the first one's."""
    refuse_stated(node)
    if node.is_constant(0) and node.is_constant(2):
        raise RefusedError("all that it reads is constant")
    operands = (read_operand(node, 0), read_operand(node, 2))
    size = math.prod(node.float_shape(operands[0]))
    if max(size, targets.size) > MOST_ELEMENTS:
        raise RefusedError(f"it has more than {MOST_ELEMENTS} elements")
    reduction = node.text("reduction", "none")
    if reduction == "mul":
        product = ScatteredProductAttributes(tuple(targets.reshape(-1).tolist()))
        return node.layer(LayerKind.SCATTERED_PRODUCT, product, inputs=operands)
    if reduction != "none":
        attributes = ScatterAttributes(*_joining(targets.reshape(-1), size, reduction))
        return node.layer(LayerKind.SCATTER, attributes, inputs=operands)
    elements = np.arange(size, dtype=np.int64)
    elements[targets.reshape(-1)] = size + np.arange(targets.size, dtype=np.int64)
    taken = GatherAttributes(elements=tuple(elements.tolist()))
    return node.layer(LayerKind.SCATTER, taken, inputs=operands)


def _joining(
    targets: Positions, size: int, reduction: str
) -> tuple[tuple[tuple[int, ...], ...], ScatterReduction]:
    """For each pass, which update joins each element."""
    if reduction not in {known.value for known in ScatterReduction}:
        raise RefusedError(f"it reduces ({reduction}) what it writes")
    most = int(np.bincount(targets).max())
    if most * size > MOST_ELEMENTS:
        raise RefusedError(f"it writes {most} elements to one of {size} places")
    passes = np.full((most, size), -1, np.int64)
    seen = np.zeros(size, np.int64)
    for update, target in enumerate(targets.tolist()):
        passes[seen[target], target] = update
        seen[target] += 1
    return tuple(map(tuple, passes.tolist())), ScatterReduction(reduction)


def recognise_scatter_elements(node: NodeReader) -> Layer:
    """ScatterElements at constant indices, without or with a reduction."""
    shape = node.float_shape(node.inputs[0])
    axis = node.axis(node.integer("axis", 0), len(shape))
    return _scattered(node, _along(node, shape, axis))


def recognise_scatter_nd(node: NodeReader) -> Layer:
    """ScatterND at constant indices, without or with a reduction."""
    return _scattered(node, _named(node, node.float_shape(node.inputs[0])))


def recognise_repetition(node: NodeReader) -> Layer:
    """Expand and Tile to a known shape."""
    shape, out = node.float_shape(node.feature(0)), node.float_shape(node.output())
    view = (1,) * (len(out) - len(shape)) + shape
    sizes = enumerate(zip(view, out, strict=True))
    axes = {
        axis: np.arange(size, dtype=np.int64) % own for axis, (own, size) in sizes if own != size
    }
    return gathered(node, axes, view if view != shape else ())


def recognise_pad(node: NodeReader) -> Layer:
    """Pad in every mode, by negative pads too."""
    # What wraps, shortens or reflects beyond its input is a gather along each axis.
    mode = node.text("mode", "constant")
    shape = node.float_shape(node.feature(0))
    begin, end = movement.read_pads(node, shape)
    is_short = min(*begin, *end, 0) < 0
    is_far = mode == "reflect" and any(
        max(b, e) >= size for b, e, size in zip(begin, end, shape, strict=True)
    )
    if mode == "constant" and is_short and max(*begin, *end, 0) > 0:
        raise RefusedError("it adds a constant on one side and shortens another")
    if mode != "wrap" and not is_short and not is_far:
        return movement.recognise_pad(node)
    refuse_stated(node)
    axes: dict[int, Positions] = {}
    for axis, (before, after, size) in enumerate(zip(begin, end, shape, strict=True)):
        if before or after:
            axes[axis] = _padded(mode, np.arange(-before, size + after), size)
    return gathered(node, axes)


def _padded(mode: str, position: Positions, size: int) -> Positions:
    """The input position that each position shows, 0 being the input's first."""
    if mode == "wrap":
        return np.asarray(position % size, np.int64)
    if mode == "reflect":
        period = max(2 * (size - 1), 1)
        folded = position % period
        return np.asarray(np.where(folded >= size, period - folded, folded), np.int64)
    return np.clip(position, 0, size - 1)


def _blocks(node: NodeReader) -> tuple[tuple[int, ...], int]:
    shape, block = node.float_shape(node.feature(0)), node.integer("blocksize", 1)
    if len(shape) != 4:
        raise RefusedError(f"its input has {len(shape)} axes, not 4")
    refuse_restated(node)
    return shape, block


def recognise_depth_to_space(node: NodeReader) -> Layer:
    """DepthToSpace of rank 4 in both orders of the channels."""
    (count, channels, height, width), block = _blocks(node)
    left = channels // (block * block)
    if node.text("mode", "DCR") == "DCR":
        split, joins = (block, block, left), ((0,), (3,), (4, 1), (5, 2))
    else:
        split, joins = (left, block, block), ((0,), (1,), (4, 2), (5, 3))
    parts = ((count,), split, (height,), (width,))
    return node.layer(LayerKind.REARRANGEMENT, RearrangementAttributes(parts, joins))


def recognise_space_to_depth(node: NodeReader) -> Layer:
    """SpaceToDepth of rank 4."""
    (count, channels, height, width), block = _blocks(node)
    parts = ((count,), (channels,), (height // block, block), (width // block, block))
    is_depth_first = node.text("mode", "DCR") == "DCR"
    joins = ((0,), (3, 5, 1) if is_depth_first else (1, 3, 5), (2,), (4,))
    return node.layer(LayerKind.REARRANGEMENT, RearrangementAttributes(parts, joins))
