"""Lowering of layers that take elements by constant positions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import GatherAttributes, Layer, RearrangementAttributes
from tidlq.lowering.builder import Layout, NetworkBuilder, identity, permuted
from tidlq.spec import FeatureQuant


def _read(builder: NetworkBuilder, name: str, layout: Layout) -> tuple[int, FeatureQuant | None]:
    """A form of a tensor and its quantization: float32 where the tensor has no other form."""
    if builder.is_float_only(name):
        return builder.floating(name, layout), None
    return builder.integer(name, layout), builder.feature(name)


def _place(
    builder: NetworkBuilder, name: str, index: int, layout: Layout, quant: FeatureQuant | None
) -> None:
    if quant is None:
        builder.place_float(name, index, layout)
    else:
        builder.place_integer(name, index, layout)


def gather_axis(
    builder: NetworkBuilder,
    name: str,
    x: int,
    axis: int,
    positions: Sequence[int],
    quant: FeatureQuant | None,
) -> int:
    """Positions along one physical axis."""
    shape = list(builder.network.tensors[x].shape)
    shape[axis] = len(positions)
    index = builder.add_tensor(name, shape, quant)
    op = builder.add_layer(name, [x], index).gather
    op.axis = axis
    op.index.extend(positions)
    return index


def lower_gather(builder: NetworkBuilder, layer: Layer) -> None:
    """Positions along axes, in the layout of the input where the output has its axes."""
    attributes = layer.attributes
    assert isinstance(attributes, GatherAttributes)
    source, target = layer.inputs[0], layer.output
    shape, out = builder.shape(source), builder.shape(target)
    sizes = dict(attributes.axes)
    is_alike = not attributes.elements and not attributes.view and len(out) == len(shape)
    is_alike = is_alike and all(
        size == len(sizes.get(axis, range(shape[axis]))) for axis, size in enumerate(out)
    )
    layout = builder.any_layout(source) if is_alike else identity(len(shape))
    x, quant = _read(builder, source, layout)
    if attributes.elements:
        x = take_elements(builder, layer, x, attributes.elements, quant)
    else:
        view = attributes.view or shape
        if not is_alike:
            x = builder.reshape(f"{layer.name}/view", x, view, quant)
        for axis, positions in attributes.axes:
            place = layout.index(axis) if is_alike else axis
            x = gather_axis(builder, f"{layer.name}/axis-{axis}", x, place, positions, quant)
    after = layout if is_alike else identity(len(out))
    suffix = "/float" if quant is None else ""
    x = builder.reshape(f"{target}{suffix}", x, permuted(out, after), quant)
    _place(builder, target, x, after, quant)


def take_elements(
    builder: NetworkBuilder,
    layer: Layer,
    x: int,
    elements: Sequence[int],
    quant: FeatureQuant | None,
) -> int:
    """Elements of a flattened tensor, in stretches as long as the positions allow."""
    total = math.prod(builder.network.tensors[x].shape)
    positions = np.array(elements, np.int64)
    stretch = _stretch(positions, total)
    x = builder.reshape(f"{layer.name}/elements", x, (total // stretch, stretch), quant)
    rows = (positions[::stretch] // stretch).tolist()
    return gather_axis(builder, f"{layer.name}/taken", x, 0, rows, quant)


def _stretch(positions: NDArray[np.int64], total: int) -> int:
    """The longest stretch of neighbours, from a multiple of its length, that all positions form."""
    limit = math.gcd(positions.size, total)
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    limit = math.gcd(limit, int(np.gcd.reduce(breaks))) if breaks.size else limit
    starts = positions[::limit]
    return math.gcd(limit, int(np.gcd.reduce(starts)))


def lower_rearrangement(builder: NetworkBuilder, layer: Layer) -> None:
    """One transpose between the parts of axes, in the layout of the input."""
    attributes = layer.attributes
    assert isinstance(attributes, RearrangementAttributes)
    source, target = layer.inputs[0], layer.output
    layout = builder.any_layout(source)
    x, quant = _read(builder, source, layout)
    ends = list(itertools.accumulate(map(len, attributes.parts), initial=0))
    order = [part for axis in layout for part in range(ends[axis], ends[axis + 1])]
    sizes = list(itertools.chain.from_iterable(attributes.parts))
    x = builder.reshape(f"{layer.name}/parts", x, [sizes[part] for part in order], quant)
    after = [part for axis in layout for part in attributes.joins[axis]]
    moved = builder.add_tensor(f"{layer.name}/moved", [sizes[part] for part in after], quant)
    op = builder.add_layer(layer.name, [x], moved).transpose
    op.perm.extend(order.index(part) for part in after)
    suffix = "/float" if quant is None else ""
    shape = permuted(builder.shape(target), layout)
    _place(
        builder, target, builder.reshape(f"{target}{suffix}", moved, shape, quant), layout, quant
    )
