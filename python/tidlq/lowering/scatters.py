"""Lowering of scatters: what they write takes the place of elements, or joins them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import GatherAttributes, Layer
from tidlq.graph.scattering import (
    ScatterAttributes,
    ScatteredProductAttributes,
    ScatterReduction,
)
from tidlq.lowering.builder import NetworkBuilder, identity
from tidlq.lowering.gathers import take_elements
from tidlq.lowering.requantize import by_operand
from tidlq.lowering.rescaling import rescaled
from tidlq.spec import FeatureQuant


def lower_scatter(builder: NetworkBuilder, layer: Layer) -> None:
    """ScatterElements and ScatterND at constant positions."""
    attributes = layer.attributes
    if isinstance(attributes, GatherAttributes):
        parts = [_in_target(builder, layer, name) for name in layer.inputs]
        joined = _joined(builder, layer, parts, builder.feature(layer.output))
        x = take_elements(
            builder, layer, joined, attributes.elements, builder.feature(layer.output)
        )
    else:
        assert isinstance(attributes, ScatterAttributes)
        is_sum = attributes.reduction is ScatterReduction.SUM
        add = _add_sum if is_sum else _add_extremum
        x = add(builder, layer, attributes)
    out = builder.shape(layer.output)
    x = builder.reshape(layer.output, x, out, builder.feature(layer.output))
    builder.place_integer(layer.output, x, identity(len(out)))


def lower_scattered_product(builder: NetworkBuilder, layer: Layer) -> None:
    """Updates that multiply, at constant positions."""
    attributes = layer.attributes
    assert isinstance(attributes, ScatteredProductAttributes)
    layout = identity(len(builder.shape(layer.output)))
    factors = [_factor(builder, layer, name) for name in layer.inputs]
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, factors, output).scattered_product
    op.target.extend(attributes.targets)
    op.gain = 1.0 / builder.feature(layer.output).scale


def _factor(builder: NetworkBuilder, layer: Layer, name: str) -> int:
    """An input in ONNX's layout; a constant has the layer's own quantization for it."""
    shape, values = builder.shape(name), builder.graph.constant(name)
    if values is None:
        return builder.integer(name, identity(len(shape)))
    quant = builder.plan.layers[layer.name].operand
    assert quant is not None, layer.name
    return builder.add_tensor(f"{layer.name}/{name}", shape, quant, _integers(values, quant))


def _integers(values: NDArray[np.generic], quant: FeatureQuant) -> NDArray[np.float64]:
    q = np.rint(values.astype(np.float64) / quant.scale) + quant.zero_point
    return np.asarray(np.clip(q, quant.type.lowest, quant.type.highest), np.float64)


def _in_target(builder: NetworkBuilder, layer: Layer, name: str) -> int:
    """A flattened input in the quantization of the output."""
    target = builder.feature(layer.output)
    x, quant = _flat(builder, layer, name)
    return x if quant == target else rescaled(builder, layer, f"{layer.name}/{name}", x, quant)


def _flat(builder: NetworkBuilder, layer: Layer, name: str) -> tuple[int, FeatureQuant]:
    """A flattened input; a constant has the quantization of the output."""
    shape, values = builder.shape(name), builder.graph.constant(name)
    flat = (math.prod(shape),)
    if values is not None:
        target = builder.feature(layer.output)
        q = _integers(values, target).reshape(-1)
        return builder.add_tensor(f"{layer.name}/{name}", flat, target, q), target
    quant = builder.feature(name)
    x = builder.integer(name, identity(len(shape)))
    return builder.reshape(f"{layer.name}/{name}/flat", x, flat, quant), quant


def _joined(builder: NetworkBuilder, layer: Layer, parts: list[int], quant: FeatureQuant) -> int:
    """Flattened tensors of one quantization, one behind the other."""
    total = sum(builder.network.tensors[part].shape[0] for part in parts)
    joined = builder.add_tensor(f"{layer.name}/joined", (total,), quant)
    builder.add_layer(f"{layer.name}/joined", parts, joined).concat.axis = 0
    return joined


def _add_extremum(builder: NetworkBuilder, layer: Layer, attributes: ScatterAttributes) -> int:
    """Where no update joins an element, the element is compared with itself."""
    target = builder.feature(layer.output)
    parts = [_in_target(builder, layer, name) for name in layer.inputs]
    joined = _joined(builder, layer, parts, target)
    size = len(attributes.passes[0])
    operands = [parts[0]]
    for updates in attributes.passes:
        elements = [element if u < 0 else size + u for element, u in enumerate(updates)]
        taken = take_elements(builder, layer, joined, elements, target)
        operands.append(builder.reshape(f"{layer.name}/taken/flat", taken, (size,), target))
    output = builder.add_tensor(f"{layer.name}/compared", (size,), target)
    op = builder.add_layer(layer.name, operands, output).extremum
    op.least = attributes.reduction is ScatterReduction.LEAST
    op.SetInParent()
    return output


def _add_sum(builder: NetworkBuilder, layer: Layer, attributes: ScatterAttributes) -> int:
    """Where no update joins an element, an integer that stands for zero does."""
    target = builder.feature(layer.output)
    (x, own), (updates, quant) = (_flat(builder, layer, name) for name in layer.inputs)
    zero = builder.add_tensor(f"{layer.name}/zero", (1,), quant, np.array([quant.zero_point]))
    joined = _joined(builder, layer, [zero, updates], quant)
    size = len(attributes.passes[0])
    operands = [x]
    for chosen in attributes.passes:
        taken = take_elements(builder, layer, joined, [1 + u for u in chosen], quant)
        operands.append(builder.reshape(f"{layer.name}/taken/flat", taken, (size,), quant))
    output = builder.add_tensor(f"{layer.name}/added", (size,), target)
    op = builder.add_layer(layer.name, operands, output).sum
    mode = builder.plan.layers[layer.name].requantization
    scales = [own.scale, *[quant.scale] * len(attributes.passes)]
    op.requantize.CopyFrom(by_operand(mode, scales, target))
    return output
