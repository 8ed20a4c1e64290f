"""Lowering of element-wise layers and softmax."""

from __future__ import annotations

import math

import numpy as np

from tidlq.graph.layers import (
    AxisAttributes,
    ExtremumAttributes,
    FunctionAttributes,
    Layer,
    SumAttributes,
)
from tidlq.graph.parameters import operand_index, operand_values
from tidlq.graph.statements import unrounded_features
from tidlq.lowering import twice_rounded
from tidlq.lowering.builder import Layout, NetworkBuilder, Placed, identity, permuted
from tidlq.lowering.functions import exponential_table, function_table, requantization_table
from tidlq.lowering.requantize import by_operand, by_ratio, by_shift
from tidlq.lowering.rescaling import rescaled
from tidlq.lowering.runtime_arithmetic import (
    is_linear_kernel,
    real,
    softmax_scale,
    softmax_table,
    sum_scales,
)
from tidlq.lowering.tflite_functions import litert_table
from tidlq.lowering.tflite_softmax import narrow_exponentials, reciprocals, wide_exponentials
from tidlq.lowering.twice_rounded import scale_ratio
from tidlq.spec import FeatureQuant, Requantization

LONGEST_NARROW_ROW = 4095
LONGEST_WIDE_ROW = 65535
"""Elements of 8 and of 16 bits over which the engine has an integer softmax."""

_PAIR = 2


def joint_layout(builder: NetworkBuilder, layer: Layer) -> Layout:
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
    if builder.graph.constant(name) is not None:
        return _shared_constant(builder, layer, name, full, layout)
    return placed_feature(builder, layer, name, layout)


def placed_feature(builder: NetworkBuilder, layer: Layer, name: str, layout: Layout) -> int:
    """A feature map in a layout of at least its rank, axes of size 1 in front."""
    shape, rank = builder.shape(name), len(layout)
    if len(shape) == rank:
        return builder.integer(name, layout)
    full = (1,) * (rank - len(shape)) + shape
    feature = builder.feature(name)
    x = builder.integer(name, identity(len(shape)))
    x = builder.reshape(f"{layer.name}/operand", x, full, feature)
    placed = Placed(x, identity(rank))
    return builder.change_layout(f"{layer.name}/operand", placed, full, layout, feature)


def _shared_constant(
    builder: NetworkBuilder, layer: Layer, name: str, full: tuple[int, ...], layout: Layout
) -> int:
    """A constant in the quantization of the layer's output."""
    values, target = builder.graph.constant(name), builder.feature(layer.output)
    assert values is not None
    q = np.rint(values.astype(np.float64) / target.scale) + target.zero_point
    q = np.clip(q, target.type.lowest, target.type.highest).reshape(full).transpose(layout)
    return builder.add_tensor(f"{layer.name}/{name}", q.shape, target, q)


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
    layout = joint_layout(builder, layer)
    operands = [_operand(builder, layer, i, layout) for i in range(len(layer.inputs))]
    quants = _operand_quants(builder, layer)
    scales = [s * q.scale for s, q in zip(layer.attributes.signs, quants, strict=True)]
    mode = builder.plan.layers[layer.name].requantization
    target = builder.feature(layer.output)
    output = builder.new_integer(layer.output, layout)
    is_plain = len(scales) == _PAIR and set(layer.attributes.signs) == {1.0}
    if is_plain and is_linear_kernel(mode, (*quants, target), layer.clamp):
        first, second, constant = sum_scales(quants[0], quants[1], target)
        pairs = [(operands[0], first), (operands[1], second)]
        # The one that repeats is added to the constant first, else the second.
        if _is_repeated(builder, operands[0], output):
            pairs.reverse()
        op = builder.add_layer(layer.name, [x for x, _ in pairs], output).sum
        numbers = [*(scale for _, scale in pairs), constant]
        op.requantize.CopyFrom(real(target, layer.clamp, numbers))
        return
    op = builder.add_layer(layer.name, operands, output).sum
    if mode is Requantization.TWICE_ROUNDED:
        op.requantize.CopyFrom(twice_rounded.by_sum(quants, target, layer.clamp))
        if min(layer.attributes.signs) < 0:
            op.subtracted.extend(sign < 0 for sign in layer.attributes.signs)
        return
    op.requantize.CopyFrom(by_operand(mode, scales, target, layer.clamp))


def _is_repeated(builder: NetworkBuilder, operand: int, output: int) -> bool:
    tensors = builder.network.tensors
    return math.prod(tensors[operand].shape) < math.prod(tensors[output].shape)


def lower_product(builder: NetworkBuilder, layer: Layer) -> None:
    """Mul, and Div by a constant."""
    layout = joint_layout(builder, layer)
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
    elif quant.requantization is Requantization.TWICE_ROUNDED:
        ratio = scale_ratio(*scales, over=target.scale)
        op.requantize.CopyFrom(twice_rounded.by_real_ratio(ratio, target, layer.clamp))
    else:
        op.requantize.CopyFrom(by_ratio(quant.requantization, [scales], target, layer.clamp))


def lower_division(builder: NetworkBuilder, layer: Layer) -> None:
    """Div of two operands."""
    layout = joint_layout(builder, layer)
    operands = [_operand(builder, layer, i, layout) for i in range(len(layer.inputs))]
    dividend, divisor = (quant.scale for quant in _operand_quants(builder, layer))
    target = builder.feature(layer.output)
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, operands, output).division
    mode = builder.plan.layers[layer.name].requantization
    if mode is Requantization.FLOAT:
        numbers = [dividend, divisor]
        op.requantize.CopyFrom(by_operand(mode, numbers, target, layer.clamp))
    else:
        op.requantize.CopyFrom(by_ratio(mode, [(dividend / divisor,)], target, layer.clamp))


def lower_extremum(builder: NetworkBuilder, layer: Layer) -> None:
    """Max and Min: integers of one scale are compared."""
    assert isinstance(layer.attributes, ExtremumAttributes)
    layout = joint_layout(builder, layer)
    operands = [
        rescaled(
            builder,
            layer,
            f"{layer.name}/{name}",
            _operand(builder, layer, index, layout),
            builder.plan.features.get(name, builder.feature(layer.output)),
        )
        for index, name in enumerate(layer.inputs)
    ]
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, operands, output).extremum
    op.least = layer.attributes.least
    op.SetInParent()


def lower_clamp(builder: NetworkBuilder, layer: Layer) -> None:
    """A ReLU or Clip that stands alone is a rescale that saturates early; so is an Identity.

    In float it is a table of what DequantizeLinear, the bounds and QuantizeLinear give.
    """
    source = layer.inputs[0]
    layout = builder.any_layout(source)
    x = builder.integer(source, layout)
    output = builder.new_integer(layer.output, layout)
    mode = builder.plan.layers[layer.name].requantization
    before, after = builder.feature(source), builder.feature(layer.output)
    added = builder.add_layer(layer.name, [x], output)
    if mode is Requantization.FLOAT:
        added.lookup.value.extend(requantization_table(before, after, layer.clamp))
    elif mode is Requantization.TWICE_ROUNDED:
        # QUANTIZE divides scales in float64, RELU and the like in float32.
        is_quantize = layer.op_type == "Identity"
        single = scale_ratio(before.scale, over=after.scale)
        ratio = before.scale / after.scale if is_quantize else single
        message = twice_rounded.by_real_ratio(ratio, after, layer.clamp)
        added.rescale.requantize.CopyFrom(message)
    else:
        message = by_ratio(mode, [(before.scale,)], after, layer.clamp)
        added.rescale.requantize.CopyFrom(message)


def lower_function(builder: NetworkBuilder, layer: Layer) -> None:
    """A function of one variable is a table."""
    assert isinstance(layer.attributes, FunctionAttributes)
    source = layer.inputs[0]
    layout = builder.any_layout(source)
    x = builder.integer(source, layout)
    output = builder.new_integer(layer.output, layout)
    before, after = builder.feature(source), builder.feature(layer.output)
    table = None
    is_litert = builder.plan.layers[layer.name].requantization is Requantization.TWICE_ROUNDED
    if is_litert and layer.attributes.is_plain:
        table = litert_table(layer.attributes, before, after)
    table = table or function_table(layer.attributes, before, after)
    builder.add_layer(layer.name, [x], output).lookup.value.extend(table)


def _has_integer_softmax(builder: NetworkBuilder, layer: Layer, size: int) -> bool:
    """LiteRT's softmax, where the engine has it: rows of up to 4,095 bytes or 65,535 words."""
    mode = builder.plan.layers[layer.name].requantization
    if mode is not Requantization.TWICE_ROUNDED:
        return False
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    if source.type.bits == 8:
        return size <= LONGEST_NARROW_ROW
    return size <= LONGEST_WIDE_ROW and target.type.bits == 16 and target.zero_point == 0


def _has_runtime_softmax(builder: NetworkBuilder, layer: Layer) -> bool:
    """ONNX Runtime's softmax to integers."""
    features = [builder.feature(name) for name in (layer.inputs[0], layer.output)]
    return is_linear_kernel(builder.plan.layers[layer.name].requantization, features, None)


def lower_softmax(builder: NetworkBuilder, layer: Layer) -> None:
    """Softmax over the last physical axis, integers in, float out (integers in a stated plan)."""
    assert isinstance(layer.attributes, AxisAttributes)
    axis = layer.attributes.axis
    shape = builder.shape(layer.output)
    layout = (*(a for a in range(len(shape)) if a != axis), axis)
    x = builder.integer(layer.inputs[0], layout)
    if _has_integer_softmax(builder, layer, shape[axis]):
        _lower_integer_softmax(builder, layer, x, layout)
        return
    is_rounded = builder.plan.is_stated and layer.output not in unrounded_features(builder.graph)
    if is_rounded and _has_runtime_softmax(builder, layer):
        _lower_runtime_softmax(builder, layer, x, layout)
        return
    output = builder.add_tensor(f"{layer.output}/float", permuted(shape, layout), None)
    builder.place_float(layer.output, output, layout)
    table = exponential_table(builder.feature(layer.inputs[0]))
    builder.add_layer(layer.name, [x], output).softmax.exponential.extend(table)
    if is_rounded:
        builder.round_float(layer.output)


def _lower_integer_softmax(builder: NetworkBuilder, layer: Layer, x: int, layout: Layout) -> None:
    """LiteRT's."""
    source = builder.feature(layer.inputs[0])
    op = builder.add_layer(layer.name, [x], builder.new_integer(layer.output, layout))
    if source.type.bits == 8:
        op.integer_softmax.exponential.extend(narrow_exponentials(source))
    else:
        op.integer_softmax.exponential.extend(wide_exponentials(source))
        op.integer_softmax.reciprocal.extend(reciprocals())


def _lower_runtime_softmax(builder: NetworkBuilder, layer: Layer, x: int, layout: Layout) -> None:
    """ONNX Runtime's."""
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    op = builder.add_layer(layer.name, [x], builder.new_integer(layer.output, layout)).softmax
    op.exponential.extend(softmax_table(source, builder.shape(layer.output)[layout[-1]]))
    op.requantize.CopyFrom(real(target, None, [softmax_scale(target)]))
