"""Weights of layers with an accumulator: scales under which weights, biases and sums fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.precision.accumulators import Interval, WeightSums, accumulator_bits, headroom_bits
from tidlq.precision.weights import bias_bits, coarser, fitting_bias, weight_quant
from tidlq.spec import (
    ParameterQuant,
    ParameterRole,
    Range,
    Ranges,
    Scheme,
    absolute_maxima,
    bias_integers,
    parameter_name,
)

Float64 = NDArray[np.float64]

# So that the rounding of the weights does not ask for one more.
_RAISE_MARGIN = 2.0**-10
_SCALE_MARGIN = 2.0**-20


@dataclass(frozen=True)
class BiasValues:
    """The bias of a layer, real units.

    Attributes:
        values: float64 [C_out]. What is added; None where the layer has no bias.
        magnitudes: float64 [C_out]. What the weight's scale has to hold: the larger one of the
            model's own bias and of the one that stands in for it, so that a calibrated bias within
            the plan's limits leaves every scale as it is.
    """

    values: Float64 | None
    magnitudes: Float64

    @classmethod
    def of(cls, own: Float64 | None, given: Sequence[float] | None, channels: int) -> BiasValues:
        """Joins the model's own bias and a given one."""
        magnitudes = np.zeros(channels) if own is None else np.abs(own)
        if given is None:
            return cls(own, magnitudes)
        values = np.asarray(given, np.float64)
        return cls(values, np.maximum(magnitudes, np.abs(values)))


def real_bias(graph: Graph, layer: Layer, ranges: Ranges) -> tuple[float, ...]:
    """The bias of a layer that adds it to real sums: float32 values, a given one first.

    Args:
        graph: gives the model's own.
        layer: with output channels.
        ranges: give the one that stands in for it.

    Returns:
        One value for each output channel; empty where the layer has no bias.
    """
    parameters = layer_parameters(graph, layer)
    given = ranges.biases.get(parameter_name(layer.name, ParameterRole.BIAS))
    values = BiasValues.of(parameters.bias, given, len(parameters.weight)).values
    return () if values is None else tuple(values.astype(np.float32).tolist())


@dataclass(frozen=True)
class WeightedLayer:
    """What decides the weight's quantization of one layer.

    Attributes:
        name: the layer's.
        weight: float32 or float64 [C_out, ...].
        whole: range of the whole weight.
        channels: range of each output channel; used by channel-wise schemes.
        bias: of the layer.
        input_scale: of the layer's input.
        terms: the integers q - zero_point of the input.
        feature_bits: of the input.
        parameter_bits: of the weight.
    """

    name: str
    weight: NDArray[np.floating]
    whole: Range
    channels: Sequence[Range]
    bias: BiasValues
    input_scale: float
    terms: Interval
    feature_bits: int
    parameter_bits: int


@dataclass(frozen=True)
class WeightDecision:
    """Attributes as in `LayerQuant`."""

    weight: ParameterQuant
    bias_bits: int
    headroom_bits: float
    largest_bias: tuple[float, ...]


def decide_weight(scheme: Scheme, layer: WeightedLayer) -> WeightDecision:
    """Scales of a weight: as the scheme has them, coarser where the accumulator would not fit.

    Raises:
        ModelError: No scale makes the accumulator fit.
    """
    stored_bits = bias_bits(scheme, layer.feature_bits, layer.parameter_bits)
    bits = accumulator_bits(layer.feature_bits, layer.parameter_bits)
    first = weight_quant(
        scheme,
        layer.parameter_bits,
        layer.whole,
        layer.channels,
        layer.bias.magnitudes,
        layer.input_scale,
        stored_bias_bits=stored_bits,
    )
    quant, sums = _fit_accumulator(scheme, layer, first, stored_bits, bits)
    values = layer.bias.values
    integers = 0 if values is None else bias_integers(values, quant, layer.input_scale, stored_bits)
    low, high = sums.bounds(layer.terms, integers)
    is_raised = np.asarray(quant.scales) != np.asarray(first.scales)
    largest = _largest_bias(scheme, layer, quant, sums, is_raised, stored_bits, bits)
    return WeightDecision(
        quant, stored_bits, headroom_bits(low, high, bits), tuple(largest.tolist())
    )


def _fit_accumulator(
    scheme: Scheme, layer: WeightedLayer, first: ParameterQuant, stored_bits: int, bits: int
) -> tuple[ParameterQuant, WeightSums]:
    """Raises scales until every accumulator fits, whatever the signs of the biases."""
    limit = 2.0 ** (bits - 1) - 1
    quant = first
    while True:
        sums = WeightSums.of(quant.quantize(layer.weight))
        held = bias_integers(layer.bias.magnitudes, quant, layer.input_scale, stored_bits)
        reach = sums.reach(layer.terms) + held
        if reach.max() <= int(limit):
            return quant, sums
        excess = reach / limit
        factors = np.where(excess > 1, excess * (1 + _RAISE_MARGIN), 1.0)
        if len(quant.scales) == 1:
            factors = factors.max(keepdims=True)
        quant = coarser(scheme, quant, factors)
        if (np.asarray(quant.scales) / np.asarray(first.scales)).max() > 2.0 ** (
            quant.type.bits - 1
        ):
            terms = layer.weight[0].size
            raise ModelError(
                f"Layer {layer.name!r} sums {terms} products of {layer.feature_bits} and "
                f"{layer.parameter_bits} bits, which does not fit an accumulator of {bits} bits at "
                "any weight scale; keep it in float (deny_list:layer_name)."
            )


def _largest_bias(
    scheme: Scheme,
    layer: WeightedLayer,
    quant: ParameterQuant,
    sums: WeightSums,
    is_raised: NDArray[np.bool_],
    stored_bits: int,
    bits: int,
) -> Float64:
    """Largest |bias| of each channel that changes no scale."""
    steps = np.asarray(quant.scales, np.float64) * layer.input_scale
    # One unit for the rounding of the bias, another for that of the scale to float32.
    room = 2.0 ** (bits - 1) - 3 - sums.reach(layer.terms).astype(np.float64)
    room = np.maximum(room, 0.0) * (1 - _SCALE_MARGIN)
    largest = np.minimum(fitting_bias(steps, stored_bits), room * steps)
    channels = layer.channels if scheme.channel_wise else (layer.whole,)
    # A scale that was made for the bias follows it.
    is_made_for_bias = is_raised | (absolute_maxima(channels) == 0)
    largest = np.where(is_made_for_bias, 0.0, largest)
    return np.maximum(largest, layer.bias.magnitudes)
