"""Lowering of layers with parameters: convolution, inner product, batch-norm, PReLU."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import ConvolutionAttributes, Layer
from tidlq.graph.parameters import LayerParameters, layer_parameters
from tidlq.lowering import twice_rounded
from tidlq.lowering.builder import Layout, NetworkBuilder, channels_last, identity, permuted
from tidlq.lowering.network_pb2 import Convolution, Requantize, TransposedConvolution
from tidlq.lowering.requantize import by_ratio, by_shift, to_real
from tidlq.lowering.twice_rounded import scale_ratio
from tidlq.spec import FeatureQuant, LayerQuant, ParameterQuant, Requantization


def _weight_of(quant: LayerQuant) -> ParameterQuant:
    assert quant.weight is not None
    return quant.weight


def _bias_integers(parameters: LayerParameters, quant: LayerQuant, input_scale: float) -> list[int]:
    if not quant.bias or quant.is_bias_real:
        return [0] * parameters.weight.shape[0]
    integers: list[int] = quant.quantize_bias(input_scale).tolist()
    return integers


def _requantize(
    builder: NetworkBuilder, layer: Layer, quant: LayerQuant, source: FeatureQuant
) -> Requantize:
    scales = np.asarray(_weight_of(quant).scales, np.float64)
    factors = np.empty((scales.size, 2))
    factors[:, 0], factors[:, 1] = source.scale, scales
    if layer.output not in builder.plan.features:
        return to_real(factors, quant.bias if quant.is_bias_real else ())
    output = builder.feature(layer.output)
    if quant.requantization is Requantization.SHIFT:
        return by_shift(quant.shift, output, layer.clamp)
    if quant.requantization is Requantization.TWICE_ROUNDED:
        return _litert_requantize(layer, quant, source, output)
    bias = quant.bias if quant.is_bias_real else ()
    return by_ratio(quant.requantization, factors, output, layer.clamp, bias)


def _litert_requantize(
    layer: Layer, quant: LayerQuant, source: FeatureQuant, output: FeatureQuant
) -> Requantize:
    scales = _weight_of(quant).scales
    if layer.op_type == "Gemm":
        # FULLY_CONNECTED.
        ratios = twice_rounded.weight_ratios(source, scales, output)
        return twice_rounded.by_double(ratios, output, layer.clamp)
    # BATCH_MATMUL, and convolutions of unsigned integers.
    in_single = layer.op_type == "MatMul" or not source.type.signed
    ratios = twice_rounded.weight_ratios(source, scales, output, in_single=in_single)
    has_wide_sums = source.type.bits == 16 and quant.bias_bits > 32
    return twice_rounded.by_weights(ratios, output, layer.clamp, has_wide_sums=has_wide_sums)


def _weight_tensor(
    builder: NetworkBuilder,
    layer: Layer,
    weight: ParameterQuant,
    integers: NDArray[np.signedinteger],
) -> int:
    # The Network keeps one number per tensor; channel scales act through requantization.
    quant = FeatureQuant(weight.type, max(weight.scales))
    return builder.add_tensor(f"{layer.name}/weight", integers.shape, quant, integers)


def lower_convolution(builder: NetworkBuilder, layer: Layer) -> None:
    """Conv: weight (C_out, C_in / groups, *kernel) becomes (C_out, kh, kw, C_in / groups)."""
    x, output = _convolved(builder, layer)
    _fill_convolution(builder, layer, builder.add_layer(layer.name, [x], output).convolution)


def lower_transposed_convolution(builder: NetworkBuilder, layer: Layer) -> None:
    """ConvTranspose, with weights as a convolution has them."""
    x, output = _convolved(builder, layer)
    op = builder.add_layer(layer.name, [x], output).transposed_convolution
    _fill_convolution(builder, layer, op)


def _convolved(builder: NetworkBuilder, layer: Layer) -> tuple[int, int]:
    """Input and output of either kind of convolution."""
    layout = channels_last(len(builder.shape(layer.output)))
    x = builder.integer(layer.inputs[0], layout)
    return x, builder.new_output(layer.output, layout)


def _fill_convolution(
    builder: NetworkBuilder, layer: Layer, op: Convolution | TransposedConvolution
) -> None:
    assert isinstance(layer.attributes, ConvolutionAttributes)
    window, quant = layer.attributes.window, builder.plan.layers[layer.name]
    source = builder.feature(layer.inputs[0])
    parameters = layer_parameters(builder.graph, layer)
    integers = np.moveaxis(_weight_of(quant).quantize(parameters.weight), 1, -1)
    missing = 2 - len(window.kernel)
    if missing:
        integers = integers[:, np.newaxis]
    op.weight = _weight_tensor(builder, layer, _weight_of(quant), integers)
    op.bias.extend(_bias_integers(parameters, quant, source.scale))
    op.stride.extend([1] * missing + list(window.stride))
    op.dilation.extend([1] * missing + list(window.dilation))
    op.pad.extend([0] * missing + list(window.pad_begin))
    op.groups = layer.attributes.groups
    op.requantize.CopyFrom(_requantize(builder, layer, quant, source))


def lower_inner_product(builder: NetworkBuilder, layer: Layer) -> None:
    """Gemm and MatMul over the last axis."""
    quant = builder.plan.layers[layer.name]
    layout = identity(len(builder.shape(layer.output)))
    source = builder.feature(layer.inputs[0])
    parameters = layer_parameters(builder.graph, layer)
    x = builder.integer(layer.inputs[0], layout)
    output = builder.new_output(layer.output, layout)
    op = builder.add_layer(layer.name, [x], output).inner_product
    op.weight = _weight_tensor(
        builder, layer, _weight_of(quant), _weight_of(quant).quantize(parameters.weight)
    )
    op.bias.extend(_bias_integers(parameters, quant, source.scale))
    op.requantize.CopyFrom(_requantize(builder, layer, quant, source))


def lower_batch_norm(builder: NetworkBuilder, layer: Layer) -> None:
    """A batch-norm that stands alone is a depthwise convolution with a 1x1 kernel."""
    quant = builder.plan.layers[layer.name]
    shape = builder.shape(layer.output)
    layout = channels_last(len(shape))
    physical = permuted(shape, layout)
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    parameters = layer_parameters(builder.graph, layer)
    integers = _weight_of(quant).quantize(parameters.weight).reshape(-1, 1, 1, 1)
    x = builder.integer(layer.inputs[0], layout)
    pixels = (shape[0], 1, shape[1]) if len(shape) == 2 else physical
    x = builder.reshape(f"{layer.name}/pixels", x, pixels, source)
    if pixels == physical:
        output = builder.new_integer(layer.output, layout)
    else:
        output = builder.add_tensor(f"{layer.name}/normalized", pixels, target)
    op = builder.add_layer(layer.name, [x], output).convolution
    op.weight = _weight_tensor(builder, layer, _weight_of(quant), integers)
    op.bias.extend(_bias_integers(parameters, quant, source.scale))
    op.stride.extend([1, 1])
    op.dilation.extend([1, 1])
    op.pad.extend([0, 0])
    op.groups = shape[1]
    op.requantize.CopyFrom(_requantize(builder, layer, quant, source))
    if pixels != physical:
        flat = builder.reshape(layer.output, output, physical, target)
        builder.place_integer(layer.output, flat, layout)


def lower_prelu(builder: NetworkBuilder, layer: Layer) -> None:
    """PReLU: positive values are rescaled, negative ones multiplied by the slope first."""
    quant = builder.plan.layers[layer.name]
    weight = _weight_of(quant)
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    slopes = weight.quantize(layer_parameters(builder.graph, layer).weight)
    x, output, layout = _sloped(builder, layer)
    slope = builder.add_tensor(
        f"{layer.name}/slope", slopes.shape, FeatureQuant(weight.type, weight.scales[0]), slopes
    )
    op = builder.add_layer(layer.name, [x], output).prelu
    op.slope = slope
    factors = (source.scale,), (source.scale, weight.scales[0])
    for message, numbers in zip((op.positive, op.negative), factors, strict=True):
        if quant.requantization is Requantization.TWICE_ROUNDED:
            ratio = scale_ratio(*numbers, over=target.scale)
            message.CopyFrom(twice_rounded.by_real_ratio(ratio, target, layer.clamp))
        else:
            message.CopyFrom(by_ratio(quant.requantization, [numbers], target, layer.clamp))
    if layer.output not in builder.integer_forms:
        physical = permuted(builder.shape(layer.output), layout)
        flat = builder.reshape(layer.output, output, physical, target)
        builder.place_integer(layer.output, flat, layout)


def _sloped(builder: NetworkBuilder, layer: Layer) -> tuple[int, int, Layout]:
    """Input and output of a PReLU, and their layout, with what its slope varies along last."""
    assert layer.weight is not None
    name, shape = layer.inputs[0], builder.shape(layer.output)
    slope = builder.shape(layer.weight)
    own = (1,) * (len(shape) - len(slope)) + slope
    varied = tuple(axis for axis, size in enumerate(own) if size > 1)
    if not varied:
        layout = builder.any_layout(name)
        return builder.integer(name, layout), builder.new_integer(layer.output, layout), layout
    others = tuple(axis for axis in range(len(shape)) if axis not in varied)
    layout = (*others, *varied)
    x = builder.integer(name, layout)
    if len(varied) == 1:
        return x, builder.new_integer(layer.output, layout), layout
    joined = (*permuted(shape, others), math.prod(permuted(shape, varied)))
    x = builder.reshape(f"{layer.name}/joined", x, joined, builder.feature(name))
    target = builder.feature(layer.output)
    return x, builder.add_tensor(f"{layer.name}/sloped", joined, target), layout
