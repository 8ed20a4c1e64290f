"""Lowering of layers that move elements."""

from __future__ import annotations

from tidlq.graph.layers import (
    AxisAttributes,
    Layer,
    PadAttributes,
    PadMode,
    SliceAttributes,
    TransposeAttributes,
)
from tidlq.lowering import network_pb2 as pb
from tidlq.lowering.builder import Layout, NetworkBuilder, identity, permuted
from tidlq.lowering.rescaling import rescaled

_PAD_MODES = {
    PadMode.CONSTANT: pb.Pad.MODE_CONSTANT,
    PadMode.REFLECT: pb.Pad.MODE_REFLECT,
    PadMode.EDGE: pb.Pad.MODE_EDGE,
}


def _rescaled(builder: NetworkBuilder, layer: Layer, name: str, layout: Layout) -> int:
    """An input in the scale of the layer's output."""
    x = builder.integer(name, layout)
    return rescaled(builder, layer, f"{layer.name}/{name}", x, builder.feature(name))


def lower_concat(builder: NetworkBuilder, layer: Layer) -> None:
    """Concat: inputs of another scale are rescaled first, or all are dequantized."""
    assert isinstance(layer.attributes, AxisAttributes)
    layout = builder.any_layout(layer.inputs[0])
    if layer.output in builder.joined_in_float:
        floats = [builder.floating(name, layout) for name in layer.inputs]
        shape = permuted(builder.shape(layer.output), layout)
        index = builder.add_tensor(f"{layer.output}/float", shape, None)
        builder.place_float(layer.output, index, layout)
        builder.add_layer(layer.name, floats, index).concat.axis = layout.index(
            layer.attributes.axis
        )
        return
    parts = [_rescaled(builder, layer, name, layout) for name in layer.inputs]
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, parts, output).concat
    op.axis = layout.index(layer.attributes.axis)


def lower_reshape(builder: NetworkBuilder, layer: Layer) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the element order is ONNX's."""
    source, target = layer.inputs[0], layer.output
    before = identity(len(builder.shape(source)))
    after = identity(len(builder.shape(target)))
    if builder.is_float_only(source):
        x = builder.floating(source, before)
        index = builder.reshape(f"{target}/float", x, builder.shape(target), None)
        builder.place_float(target, index, after)
        return
    x = builder.integer(source, before)
    index = builder.reshape(target, x, builder.shape(target), builder.feature(target))
    builder.place_integer(target, index, after)


def lower_transpose(builder: NetworkBuilder, layer: Layer) -> None:
    """Transpose: only the layout's bookkeeping changes."""
    assert isinstance(layer.attributes, TransposeAttributes)
    perm = layer.attributes.perm
    source = layer.inputs[0]
    before = builder.any_layout(source)
    after = tuple(perm.index(axis) for axis in before)
    if builder.is_float_only(source):
        builder.place_float(layer.output, builder.floating(source, before), after)
    else:
        builder.place_integer(layer.output, builder.integer(source, before), after)


def lower_pad(builder: NetworkBuilder, layer: Layer) -> None:
    """Pad; a constant is written as the nearest integer."""
    attributes = layer.attributes
    assert isinstance(attributes, PadAttributes)
    layout = builder.any_layout(layer.inputs[0])
    x = _rescaled(builder, layer, layer.inputs[0], layout)
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, [x], output).pad
    op.begin.extend(permuted(attributes.begin, layout))
    op.end.extend(permuted(attributes.end, layout))
    op.mode = _PAD_MODES[attributes.mode]
    if attributes.mode is PadMode.CONSTANT:
        op.value = builder.feature(layer.output).quantize(attributes.value)


def lower_slice(builder: NetworkBuilder, layer: Layer) -> None:
    """Slice, and each part of a Split."""
    attributes = layer.attributes
    assert isinstance(attributes, SliceAttributes)
    source, target = layer.inputs[0], layer.output
    layout = builder.any_layout(source)
    if builder.is_float_only(source):
        x = builder.floating(source, layout)
        output = builder.add_tensor(
            f"{target}/float", permuted(builder.shape(target), layout), None
        )
        builder.place_float(target, output, layout)
    else:
        x = builder.integer(source, layout)
        output = builder.new_integer(target, layout)
    op = builder.add_layer(layer.name, [x], output).slice
    op.start.extend(permuted(attributes.start, layout))
    op.step.extend(permuted(attributes.step, layout))
