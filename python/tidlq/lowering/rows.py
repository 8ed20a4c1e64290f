"""Lowering of layers that compute with whole rows."""

from __future__ import annotations

import math

import numpy as np

from tidlq.graph.layers import Layer, NormalizationAttributes
from tidlq.lowering import twice_rounded
from tidlq.lowering.builder import Layout, NetworkBuilder, identity, permuted
from tidlq.lowering.requantize import by_ratio, by_shift
from tidlq.lowering.twice_rounded import scale_ratio
from tidlq.spec import Requantization


def lower_matrix_product(builder: NetworkBuilder, layer: Layer) -> None:
    """MatMul of two feature maps: rows of the first with columns of the second."""
    first, second = layer.inputs
    rank = len(builder.shape(second))
    layout = identity(len(builder.shape(layer.output)))
    a = builder.integer(first, layout)
    b = builder.integer(second, (*range(rank - 2), rank - 1, rank - 2))
    sources, target = (
        [builder.feature(name) for name in layer.inputs],
        builder.feature(layer.output),
    )
    quant = builder.plan.layers[layer.name]
    scales = [source.scale for source in sources]
    op = builder.add_layer(layer.name, [a, b], builder.new_integer(layer.output, layout))
    if quant.requantization is Requantization.SHIFT:
        message = by_shift(quant.shift, target, layer.clamp)
    elif quant.requantization is Requantization.TWICE_ROUNDED:
        ratio = scale_ratio(*scales, over=target.scale)
        message = twice_rounded.by_real_ratio(ratio, target, layer.clamp)
    else:
        message = by_ratio(quant.requantization, [scales], target, layer.clamp)
    op.matrix_product.requantize.CopyFrom(message)


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
