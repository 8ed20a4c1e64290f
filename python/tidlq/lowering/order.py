"""Lowering of layers that put elements in order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tidlq.graph.layers import Layer, OrderAttributes
from tidlq.lowering.builder import (
    Layout,
    NetworkBuilder,
    identity,
    is_same_memory,
    permuted,
)
from tidlq.lowering.network_pb2 import TopK


def lower_top_k(builder: NetworkBuilder, layer: Layer) -> None:
    """The elements, in the layout of the input."""
    assert isinstance(layer.attributes, OrderAttributes)
    layout = builder.any_layout(layer.inputs[0])
    x, sizes = _ordered_axis(builder, layer, layout)
    target = builder.feature(layer.output)
    picked = builder.add_tensor(f"{layer.name}/picked", sizes, target)
    builder.add_layer(layer.name, [x], picked).top_k.CopyFrom(_operator(layer.attributes))
    shape = permuted(builder.shape(layer.output), layout)
    builder.place_integer(
        layer.output, builder.reshape(layer.output, picked, shape, target), layout
    )


def lower_positions(builder: NetworkBuilder, layer: Layer) -> None:
    """The positions, in ONNX's layout: nothing but the network's outputs and islands reads them."""
    assert isinstance(layer.attributes, OrderAttributes)
    source, shape = layer.inputs[0], builder.shape(layer.inputs[0])
    ordered = layer.attributes.axis
    layout = builder.any_layout(source)
    left = [size if axis != ordered else 1 for axis, size in enumerate(shape)]
    if layer.attributes.count > 1:
        left[ordered] = layer.attributes.count
    if not is_same_memory(left, layout, identity(len(shape))):
        layout = identity(len(shape))
    x, sizes = _ordered_axis(builder, layer, layout)
    value = builder.graph.values[layer.output]
    bits = 64 if value.dtype is None else value.dtype.numpy().itemsize * 8
    found = builder.add_positions(f"{layer.name}/found", sizes, bits)
    builder.add_layer(layer.name, [x], found).top_k.CopyFrom(_operator(layer.attributes))
    out = builder.shape(layer.output)
    index = builder.add_positions(layer.output, out, bits)
    builder.add_layer(f"{layer.name}/shape", [found], index).reshape.SetInParent()
    builder.place_float(layer.output, index, identity(len(out)))


def _operator(attributes: OrderAttributes) -> TopK:
    return TopK(least=attributes.least, higher_first=attributes.higher_first)


def _ordered_axis(
    builder: NetworkBuilder, layer: Layer, layout: Layout
) -> tuple[int, Sequence[int]]:
    """The input as (outer, ordered axis, inner), and the output's sizes in that form."""
    assert isinstance(layer.attributes, OrderAttributes)
    source = layer.inputs[0]
    sizes = permuted(builder.shape(source), layout)
    place = layout.index(layer.attributes.axis)
    outer, inner = math.prod(sizes[:place]), math.prod(sizes[place + 1 :])
    x = builder.integer(source, layout)
    x = builder.reshape(
        f"{layer.name}/rows", x, (outer, sizes[place], inner), builder.feature(source)
    )
    return x, (outer, layer.attributes.count, inner)
