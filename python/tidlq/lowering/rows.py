"""Lowering of layers that compute with whole rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tidlq.graph.layers import Layer, NormalizationAttributes
from tidlq.lowering import twice_rounded
from tidlq.lowering.builder import Layout, NetworkBuilder, identity, permuted
from tidlq.lowering.gathers import gather_axis
from tidlq.lowering.network_pb2 import Requantize
from tidlq.lowering.requantize import by_ratio, by_shift
from tidlq.lowering.twice_rounded import scale_ratio
from tidlq.spec import Requantization


def lower_matrix_product(builder: NetworkBuilder, layer: Layer) -> None:
    """MatMul of two feature maps: rows of the first with columns of the second.

    Where the first is repeated along leading axes, the product is computed transposed.
    """
    first, second = layer.inputs
    rank = len(builder.shape(second))
    rows = _as_rows(builder, layer, first, identity(len(builder.shape(first))))
    columns = (*range(rank - 2), rank - 1, rank - 2) if rank > 1 else (0,)
    operands = [rows, _as_rows(builder, layer, second, columns)]
    leads = [tuple(builder.network.tensors[index].shape)[:-2] for index in operands]
    if not _covers(*leads) and not _covers(*leads[::-1]):
        operands[0] = _repeated(builder, layer, operands[0], leads)
        leads[0] = tuple(builder.network.tensors[operands[0]].shape)[:-2]
    is_exchanged = not _covers(*leads)
    out = len(builder.shape(layer.output))
    if 1 in (rank, len(builder.shape(first))):
        # One of the last two axes has the size 1 and is missing in the output.
        layout = identity(out)
    else:
        layout = (*range(out - 2), out - 1, out - 2) if is_exchanged else identity(out)
    if is_exchanged:
        operands.reverse()
    _add_product(builder, layer, operands, layout)


def _covers(lead: Sequence[int], other: Sequence[int]) -> bool:
    """Whether axes are repeated only in the other operand, which may lack some."""
    aligned = lead[max(len(lead) - len(other), 0) :]
    return len(other) <= len(lead) and all(
        size in (1, full) for size, full in zip(other, aligned, strict=True)
    )


def _repeated(
    builder: NetworkBuilder, layer: Layer, x: int, leads: Sequence[tuple[int, ...]]
) -> int:
    """The first operand with the leading axes of both."""
    name, feature = layer.inputs[0], builder.feature(layer.inputs[0])
    whole = np.broadcast_shapes(*leads)
    shape = tuple(builder.network.tensors[x].shape)
    padded = (1,) * (len(whole) + 2 - len(shape)) + shape
    x = builder.reshape(f"{layer.name}/{name}/padded", x, padded, feature)
    for axis, size in enumerate(whole):
        if padded[axis] != size:
            x = gather_axis(builder, f"{layer.name}/{name}/{axis}", x, axis, [0] * size, feature)
    return x


def _as_rows(builder: NetworkBuilder, layer: Layer, name: str, layout: Layout) -> int:
    """An operand in a layout with what is summed last; a vector as one row."""
    x = builder.integer(name, layout)
    if len(layout) > 1:
        return x
    shape = (1, *builder.shape(name))
    return builder.reshape(f"{layer.name}/{name}", x, shape, builder.feature(name))


def _add_product(
    builder: NetworkBuilder, layer: Layer, operands: list[int], layout: Layout
) -> None:
    """The products of all rows, in a layout of the output."""
    target = builder.feature(layer.output)
    a, b = (tuple(builder.network.tensors[index].shape) for index in operands)
    physical = (*a[:-1], b[-2])
    shape = permuted(builder.shape(layer.output), layout)
    if physical == shape:
        output = builder.new_integer(layer.output, layout)
    else:
        output = builder.add_tensor(f"{layer.name}/product", physical, target)
    op = builder.add_layer(layer.name, operands, output)
    op.matrix_product.requantize.CopyFrom(_product_requantize(builder, layer))
    if physical != shape:
        flat = builder.reshape(layer.output, output, shape, target)
        builder.place_integer(layer.output, flat, layout)


def _product_requantize(builder: NetworkBuilder, layer: Layer) -> Requantize:
    quant, target = builder.plan.layers[layer.name], builder.feature(layer.output)
    scales = [builder.feature(name).scale for name in layer.inputs]
    if quant.requantization is Requantization.SHIFT:
        return by_shift(quant.shift, target, layer.clamp)
    if quant.requantization is Requantization.TWICE_ROUNDED:
        ratio = scale_ratio(*scales, over=target.scale)
        return twice_rounded.by_real_ratio(ratio, target, layer.clamp)
    return by_ratio(quant.requantization, [scales], target, layer.clamp)


def lower_normalization(builder: NetworkBuilder, layer: Layer) -> None:
    """Layer, RMS and instance normalization: the axes that are normalized become one, the last."""
    attributes = layer.attributes
    assert isinstance(attributes, NormalizationAttributes)
    shape = builder.shape(layer.output)
    others = tuple(axis for axis in range(len(shape)) if axis not in attributes.axes)
    layout: Layout = (*others, *attributes.axes)
    physical = permuted(shape, layout)
    size = math.prod(shape[axis] for axis in attributes.axes)
    rows = (*physical[: len(others)], size)
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    x = builder.reshape(
        f"{layer.name}/rows", builder.integer(layer.inputs[0], layout), rows, source
    )
    is_flat = rows == physical
    name = f"{layer.name}/normalized"
    output = (
        builder.new_integer(layer.output, layout)
        if is_flat
        else builder.add_tensor(name, rows, target)
    )
    op = builder.add_layer(layer.name, [x], output).normalization
    op.centred = attributes.centred
    op.epsilon = attributes.epsilon * (size / source.scale) ** 2
    op.by_row = attributes.is_per_channel
    op.gain.extend(_numbers(builder, attributes.gain, 1.0, target.scale))
    op.shift.extend(_numbers(builder, attributes.shift, 0.0, target.scale))
    if not is_flat:
        placed = builder.reshape(layer.output, output, physical, target)
        builder.place_integer(layer.output, placed, layout)


def _numbers(
    builder: NetworkBuilder, constant: str | None, default: float, scale: float
) -> list[float]:
    """A real parameter in steps of the output; one entry where all are equal."""
    if constant is None:
        return [default / scale]
    array = builder.graph.constant(constant)
    assert array is not None
    values: list[float] = (np.asarray(array, np.float64).reshape(-1) / scale).tolist()
    return values
