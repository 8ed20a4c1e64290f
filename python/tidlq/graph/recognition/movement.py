"""Layers that move elements: concat, reshape, transpose, pad, slice, split."""

from __future__ import annotations

import math

from tidlq.graph.layers import (
    AxisAttributes,
    Layer,
    LayerKind,
    PadAttributes,
    PadMode,
    SliceAttributes,
    TransposeAttributes,
)
from tidlq.graph.recognition.reading import NodeReader, RefusedError


def recognise_concat(node: NodeReader) -> Layer:
    """Concat of computed feature maps."""
    inputs = tuple(node.feature(index) for index in range(len(node.inputs)))
    axis = node.axis(node.integer("axis", 1), len(node.float_shape(inputs[0])))
    return node.layer(LayerKind.CONCAT, AxisAttributes(axis), inputs=inputs)


def recognise_reshape(node: NodeReader) -> Layer:
    """Flatten, Reshape, Squeeze and Unsqueeze to a known shape."""
    return node.layer(LayerKind.RESHAPE)


def recognise_transpose(node: NodeReader) -> Layer:
    """Transpose of up to 6 axes."""
    rank = len(node.float_shape(node.feature(0)))
    perm = node.integers("perm", tuple(reversed(range(rank))))
    return node.layer(LayerKind.TRANSPOSE, TransposeAttributes(perm))


def read_pads(node: NodeReader, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a Pad adds before and after every axis; negative where it takes away."""
    pads = node.listed(1, "pads", "list of pads")
    if pads is None:
        raise RefusedError("it has no pads")
    axes = tuple(range(len(shape)))
    if node.has_input(3):
        listed = node.constant(3, "list of axes").reshape(-1).tolist()
        axes = tuple(node.axis(int(axis), len(shape)) for axis in listed)
    if len(pads) != 2 * len(axes):
        raise RefusedError("its pads do not match its axes")
    begin, end = [0] * len(shape), [0] * len(shape)
    for position, axis in enumerate(axes):
        begin[axis], end[axis] = pads[position], pads[position + len(axes)]
    return tuple(begin), tuple(end)


def recognise_pad(node: NodeReader) -> Layer:
    """Pad with a constant, by reflection or by the edge."""
    shape = node.float_shape(node.feature(0))
    begin, end = read_pads(node, shape)
    if min(*begin, *end, 0) < 0:
        raise RefusedError("its pads are negative")
    try:
        mode = PadMode(node.text("mode", "constant"))
    except ValueError as error:
        raise RefusedError(f"pad mode {node.text('mode', '')!r} has no kernel") from error
    if mode is PadMode.REFLECT and any(
        max(b, e) >= size for b, e, size in zip(begin, end, shape, strict=True)
    ):
        raise RefusedError("it reflects more than the input holds")
    value = node.real("value", 0.0)
    if node.has_input(2):
        value = float(node.constant(2, "pad value").reshape(-1)[0])
    if math.isnan(value):
        raise RefusedError("it pads with NaN")
    return node.layer(LayerKind.PAD, PadAttributes(begin, end, mode, value))


def recognise_slice(node: NodeReader) -> Layer:
    """Slice with constant bounds and any step."""
    shape = node.float_shape(node.feature(0))
    starts = node.listed(1, "starts", "list of starts")
    ends = node.listed(2, "ends", "list of ends")
    if starts is None or ends is None:
        raise RefusedError("its bounds are missing")
    axes = node.listed(3, "axes", "list of axes") or tuple(range(len(starts)))
    steps = node.listed(4, "steps", "list of steps") or (1,) * len(starts)
    start, step = [0] * len(shape), [1] * len(shape)
    for first, stride, listed_axis in zip(starts, steps, axes, strict=True):
        axis = node.axis(listed_axis, len(shape))
        size = shape[axis]
        begin = first + size if first < 0 else first
        start[axis] = min(max(begin, 0), size - 1 if stride < 0 else size)
        step[axis] = stride
    return node.layer(LayerKind.SLICE, SliceAttributes(tuple(start), tuple(step)))


def recognise_split(node: NodeReader) -> tuple[Layer, ...]:
    """Split, as one slice per used output."""
    shape = node.float_shape(node.feature(0))
    axis = node.axis(node.integer("axis", 0), len(shape))
    layers: list[Layer] = []
    start = 0
    sizes = node.listed(1, "split", "list of sizes")
    for index, output in enumerate(node.outputs):
        if sizes is not None:
            size = sizes[index]
        else:
            # Equal parts, the last one smaller where they do not come out even.
            size = min(-(-shape[axis] // len(node.outputs)), shape[axis] - start)
        begin = tuple(start if position == axis else 0 for position in range(len(shape)))
        start += size
        if not output or not node.is_used(output):
            continue
        if node.float_shape(output)[axis] != size:
            raise RefusedError(f"its part {output!r} does not have {size} elements")
        layers.append(
            Layer(
                name=node.name if index == 0 else f"{node.name}:{index}",
                kind=LayerKind.SLICE,
                op_type=node.op_type,
                nodes=(node.name,),
                inputs=(node.inputs[0],),
                output=output,
                attributes=SliceAttributes(begin, (1,) * len(shape)),
            )
        )
    if start != shape[axis]:
        raise RefusedError(f"its parts add up to {start}, not to {shape[axis]}")
    return tuple(layers)
