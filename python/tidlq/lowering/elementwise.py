"""Lowering of element-wise layers and softmax."""

from __future__ import annotations

import numpy as np

from tidlq.graph.layers import AxisAttributes, FunctionAttributes, Layer, SumAttributes
from tidlq.graph.parameters import operand_index, operand_values
from tidlq.graph.statements import unrounded_features
from tidlq.lowering.builder import Layout, NetworkBuilder, Placed, identity, permuted
from tidlq.lowering.functions import exponential_table, function_table
from tidlq.lowering.requantize import by_operand, by_ratio, by_shift
from tidlq.spec import FeatureQuant, Requantization


def _joint_layout(builder: NetworkBuilder, layer: Layer) -> Layout:
    """The layout of the first operand that has the output's rank; ONNX's where none has."""
    rank = len(builder.shape(layer.output))
    for name in layer.inputs:
        if builder.graph.constant(name) is None and len(builder.shape(name)) == rank:
            return builder.any_layout(name)
    return identity(rank)


def _operand(builder: NetworkBuilder, layer: Layer, index: int, layout: Layout) -> int:
    """An operand with the output's rank and layout, broadcast axes of size 1 in front."""
    name = layer.inputs[index]
    rank = len(layout)
    shape = builder.shape(name)
    full = (1,) * (rank - len(shape)) + shape
    if index == operand_index(builder.graph, layer):
        quant, values = (
            builder.plan.layers[layer.name].operand,
            operand_values(builder.graph, layer),
        )
        assert quant is not None
        assert values is not None
        q = np.rint(values / quant.scale) + quant.zero_point
        q = np.clip(q, quant.type.lowest, quant.type.highest)
        q = q.reshape(full).transpose(layout)
        return builder.add_tensor(f"{layer.name}/operand", q.shape, quant, q)
    if len(shape) == rank:
        return builder.integer(name, layout)
    feature = builder.feature(name)
    x = builder.integer(name, identity(len(shape)))
    x = builder.reshape(f"{layer.name}/operand", x, full, feature)
    placed = Placed(x, identity(rank))
    return builder.change_layout(f"{layer.name}/operand", placed, full, layout, feature)


def _operand_quants(builder: NetworkBuilder, layer: Layer) -> list[FeatureQuant]:
    quants: list[FeatureQuant] = []
    for name in layer.inputs:
        operand = builder.plan.layers[layer.name].operand
        constant = builder.graph.constant(name) is not None
        quants.append(operand if constant and operand else builder.feature(name))
    return quants


def lower_sum(builder: NetworkBuilder, layer: Layer) -> None:
    """Add and Sub: every operand has its multiplier, one rounding at the end."""
    assert isinstance(layer.attributes, SumAttributes)
    layout = _joint_layout(builder, layer)
    operands = [_operand(builder, layer, i, layout) for i in range(len(layer.inputs))]
    quants = _operand_quants(builder, layer)
    scales = [s * q.scale for s, q in zip(layer.attributes.signs, quants, strict=True)]
    mode = builder.plan.layers[layer.name].requantization
    target = builder.feature(layer.output)
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, operands, output).sum
    op.requantize.CopyFrom(by_operand(mode, scales, target, layer.clamp))


def lower_product(builder: NetworkBuilder, layer: Layer) -> None:
    """Mul, and Div by a constant."""
    layout = _joint_layout(builder, layer)
    operands = [_operand(builder, layer, i, layout) for i in range(len(layer.inputs))]
    scales = [quant.scale for quant in _operand_quants(builder, layer)]
    quant = builder.plan.layers[layer.name]
    target = builder.feature(layer.output)
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, operands, output).product
    if quant.requantization is Requantization.SHIFT:
        op.requantize.CopyFrom(by_shift(quant.shift, target, layer.clamp))
    elif quant.requantization is Requantization.FLOAT:
        op.requantize.CopyFrom(by_operand(quant.requantization, scales, target, layer.clamp))
    else:
        op.requantize.CopyFrom(by_ratio(quant.requantization, [scales], target, layer.clamp))


def lower_clamp(builder: NetworkBuilder, layer: Layer) -> None:
    """A ReLU or Clip that stands alone is a rescale that saturates early."""
    source = layer.inputs[0]
    layout = builder.any_layout(source)
    x = builder.integer(source, layout)
    output = builder.new_integer(layer.output, layout)
    mode = builder.plan.layers[layer.name].requantization
    ratio = [(builder.feature(source).scale,)]
    message = by_ratio(mode, ratio, builder.feature(layer.output), layer.clamp)
    builder.add_layer(layer.name, [x], output).rescale.requantize.CopyFrom(message)


def lower_function(builder: NetworkBuilder, layer: Layer) -> None:
    """A function of one variable is a table."""
    assert isinstance(layer.attributes, FunctionAttributes)
    source = layer.inputs[0]
    layout = builder.any_layout(source)
    x = builder.integer(source, layout)
    output = builder.new_integer(layer.output, layout)
    table = function_table(layer.attributes, builder.feature(source), builder.feature(layer.output))
    builder.add_layer(layer.name, [x], output).lookup.value.extend(table)


def lower_softmax(builder: NetworkBuilder, layer: Layer) -> None:
    """Softmax over the last physical axis, integers in, float out (integers in a stated plan)."""
    assert isinstance(layer.attributes, AxisAttributes)
    axis = layer.attributes.axis
    shape = builder.shape(layer.output)
    layout = (*(a for a in range(len(shape)) if a != axis), axis)
    x = builder.integer(layer.inputs[0], layout)
    output = builder.add_tensor(f"{layer.output}/float", permuted(shape, layout), None)
    builder.place_float(layer.output, output, layout)
    table = exponential_table(builder.feature(layer.inputs[0]))
    builder.add_layer(layer.name, [x], output).softmax.exponential.extend(table)
    if builder.plan.is_stated and layer.output not in unrounded_features(builder.graph):
        builder.round_float(layer.output)
