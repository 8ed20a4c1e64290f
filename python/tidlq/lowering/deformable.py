"""Lowering of convolutions whose taps have moved."""

from __future__ import annotations

import math

import numpy as np

from tidlq.graph.layers import DeformableAttributes, Layer
from tidlq.graph.parameters import layer_parameters
from tidlq.lowering.builder import NetworkBuilder, channels_last
from tidlq.lowering.requantize import clamp_integers
from tidlq.spec import FeatureQuant


def lower_deformable_convolution(builder: NetworkBuilder, layer: Layer) -> None:
    """DeformConv: the weight as a convolution has it, gains and bias in steps of the output."""
    attributes = layer.attributes
    assert isinstance(attributes, DeformableAttributes)
    quant = builder.plan.layers[layer.name]
    weight = quant.weight
    assert weight is not None
    target = builder.feature(layer.output)
    layout = channels_last(len(builder.shape(layer.output)))
    inputs = [builder.integer(name, layout) for name in layer.inputs]
    integers = np.moveaxis(weight.quantize(layer_parameters(builder.graph, layer).weight), 1, -1)
    # The Network keeps one number per tensor; channel scales act through the gains.
    stored = FeatureQuant(weight.type, max(weight.scales))
    constant = builder.add_tensor(f"{layer.name}/weight", integers.shape, stored, integers)
    op = builder.add_layer(
        layer.name, inputs, builder.new_integer(layer.output, layout)
    ).deformable_convolution
    op.weight = constant
    op.stride.extend(attributes.window.stride)
    op.dilation.extend(attributes.window.dilation)
    op.pad.extend(attributes.window.pad_begin)
    op.groups, op.offset_groups = attributes.groups, attributes.offset_groups
    # What the offsets are scaled by is in positions, not in values.
    factors = [builder.feature(name).scale for name in (layer.inputs[0], *layer.inputs[2:])]
    step = math.prod(factors) / target.scale
    op.gain.extend(step * scale for scale in weight.scales)
    bias = np.asarray(quant.bias or (0.0,))
    op.shift.extend((bias / target.scale).tolist())
    op.clamp_min, op.clamp_max = clamp_integers(target, layer.clamp)
