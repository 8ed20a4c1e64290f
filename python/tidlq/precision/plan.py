"""QuantPlan from ranges: pure functions, one rule per kind of layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import ModelError, QuantProtoError
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_index
from tidlq.graph.partition import Partition, StageKind
from tidlq.precision.scales import (
    asymmetric_feature,
    parameter_scales,
    shifted_feature,
    symmetric_feature,
)
from tidlq.precision.weights import bias_bits, weight_quant
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    LayerQuant,
    ParameterQuant,
    ParameterRole,
    QuantPlan,
    Range,
    Ranges,
    Requantization,
    ScaleRule,
    Scheme,
    parameter_name,
)

IsAsymmetric = Callable[[LayerKind | None], bool]
"""Whether the output of a kind of layer (None: a network input) may have a zero point."""

FREE_SHIFT = -64
"""Least shift of layers whose multipliers can also refine their inputs' scale."""


def make_plan(
    graph: Graph,
    partition: Partition,
    ranges: Ranges,
    scheme: Scheme,
    *,
    bits: int = 8,
    is_asymmetric: IsAsymmetric | None = None,
) -> QuantPlan:
    """Decides scale, zero point and sign of every feature, and every layer's requantization.

    Args:
        graph: the canonical Graph.
        partition: its fixed and float stages.
        ranges: a range for every tensor that `ranged_features` lists, and every parameter.
        scheme: the rules.
        bits: width of features and parameters.
        is_asymmetric: a device's restriction of asymmetric schemes; None means there is none.

    Raises:
        QuantProtoError: A range is missing.
        ModelError: Ranges are too large for integers and shifts.
    """
    planner = _Planner(graph, ranges, scheme, bits, is_asymmetric or (lambda _: True))
    for stage in partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        for name in stage.inputs:
            if name not in planner.features:
                planner.features[name] = planner.free_feature(None, name)
        for layer in stage.layers:
            planner.add(layer)
    return QuantPlan(scheme, planner.features, planner.layers)


def ranged_features(partition: Partition) -> tuple[str, ...]:
    """Feature maps whose range decides a scale: stage inputs and outputs with a scale of their own.

    Outputs that merely share their input's quantization are left out.
    """
    names: dict[str, None] = {}
    for stage in partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        kept = {layer.output for layer in stage.layers if layer.keeps_quantization}
        names |= dict.fromkeys(stage.inputs)
        names |= dict.fromkeys(x.output for x in stage.layers if x.output not in kept)
    return tuple(names)


class _Planner:
    """Accumulates decisions in execution order."""

    def __init__(
        self, graph: Graph, ranges: Ranges, scheme: Scheme, bits: int, is_asymmetric: IsAsymmetric
    ) -> None:
        self.graph = graph
        self.ranges = ranges
        self.scheme = scheme
        self.bits = bits
        self.is_asymmetric = is_asymmetric
        self.features: dict[str, FeatureQuant] = {}
        self.layers: dict[str, LayerQuant] = {}

    @property
    def is_shift(self) -> bool:
        return self.scheme.requantization is Requantization.SHIFT

    @property
    def exact_mode(self) -> Requantization:
        """Mode of layers whose inputs may have unrelated scales."""
        return Requantization.FIXED if self.is_shift else self.scheme.requantization

    def feature_range(self, name: str) -> Range:
        try:
            return self.ranges.features[name]
        except KeyError:
            raise QuantProtoError(f"The range of feature map {name!r} is missing.") from None

    def parameter_range(self, layer: Layer, role: ParameterRole) -> Range:
        key = parameter_name(layer.name, role)
        try:
            return self.ranges.parameters[key]
        except KeyError:
            raise QuantProtoError(
                f"The range of the {role.value} of layer {layer.name!r} is missing."
            ) from None

    def free_feature(self, kind: LayerKind | None, name: str) -> FeatureQuant:
        """A scale from the range alone."""
        value_range = self.feature_range(name)
        if self.scheme.asymmetric_features and self.is_asymmetric(kind):
            return asymmetric_feature(value_range, self.bits)
        return symmetric_feature(value_range, self.bits, self.scheme.free_rule)

    def output_feature(
        self, layer: Layer, accumulator_scale: float, least_shift: int
    ) -> tuple[FeatureQuant, int]:
        """A layer's output: shifted from its accumulator where the scheme says so."""
        if self.scheme.feature_rule is ScaleRule.SHIFTED_ACCUMULATOR:
            value_range = self.feature_range(layer.output)
            try:
                return shifted_feature(value_range, accumulator_scale, self.bits, least_shift)
            except ValueError as error:
                raise ModelError(
                    f"Layer {layer.name!r} cannot be quantized by shifts: {error}; its input or "
                    "its weights are far too large."
                ) from None
        return self.free_feature(layer.kind, layer.output), 0

    def add(self, layer: Layer) -> None:
        """Plans one layer; its inputs are planned already."""
        if layer.keeps_quantization:
            self.features[layer.output] = self.features[layer.inputs[0]]
            self.layers[layer.name] = LayerQuant(self.exact_mode)
        elif layer.kind.has_weight:
            self._add_weighted(layer)
        elif layer.kind is LayerKind.PRODUCT:
            self._add_product(layer)
        elif layer.kind in (LayerKind.FUNCTION, LayerKind.SOFTMAX):
            self.features[layer.output] = self.free_feature(layer.kind, layer.output)
            self.layers[layer.name] = LayerQuant(self.exact_mode)
        else:
            self._add_joined(layer)

    def _add_weighted(self, layer: Layer) -> None:
        x = self.features[layer.inputs[0]]
        whole = self.parameter_range(layer, ParameterRole.WEIGHT)
        channels = self.ranges.channels.get(parameter_name(layer.name, ParameterRole.WEIGHT), ())
        if self.scheme.channel_wise and not channels:
            raise QuantProtoError(
                f"The channel ranges of the weight of layer {layer.name!r} are missing."
            )
        bias = self._bias(layer)
        weight = weight_quant(self.scheme, self.bits, whole, channels, bias, x.scale)
        coarsest = max(weight.scales)
        feature, shift = self.output_feature(layer, x.scale * coarsest, 0)
        self.features[layer.output] = feature
        shifts: tuple[int, ...] = ()
        if self.is_shift:
            shifts = tuple(shift + round(math.log2(coarsest / s)) for s in weight.scales)
        self.layers[layer.name] = LayerQuant(
            self.scheme.requantization,
            weight,
            shift=shifts,
            bias=() if bias is None else tuple(bias.tolist()),
            bias_bits=bias_bits(self.scheme),
        )

    def _bias(self, layer: Layer) -> NDArray[np.float64] | None:
        own = layer_parameters(self.graph, layer).bias
        given = self.ranges.biases.get(parameter_name(layer.name, ParameterRole.BIAS))
        return own if given is None else np.asarray(given, np.float64)

    def _operand(self, layer: Layer) -> FeatureQuant | None:
        if operand_index(self.graph, layer) is None:
            return None
        value_range = self.parameter_range(layer, ParameterRole.WEIGHT)
        return symmetric_feature(value_range, self.bits, self.scheme.weight_rule)

    def _add_product(self, layer: Layer) -> None:
        operand = self._operand(layer)
        scales = [self.features[n].scale for n in layer.inputs if n in self.features]
        if operand is not None:
            scales.append(operand.scale)
        feature, shift = self.output_feature(layer, math.prod(scales), 0)
        self.features[layer.output] = feature
        self.layers[layer.name] = LayerQuant(
            self.scheme.requantization, operand=operand, shift=(shift,) if self.is_shift else ()
        )

    def _add_joined(self, layer: Layer) -> None:
        """Sums, concats, averages, clamps and PReLU: inputs are scaled to the output's scale."""
        inputs = [self.features[name] for name in layer.inputs if name in self.features]
        least = 0 if layer.kind is LayerKind.CONCAT else FREE_SHIFT
        finest = min(feature.scale for feature in inputs)
        self.features[layer.output], _ = self.output_feature(layer, finest, least)
        slope = None
        if layer.kind is LayerKind.PRELU:
            largest = np.array([self.parameter_range(layer, ParameterRole.SLOPE).absolute_max])
            rule, full = self.scheme.weight_rule, self.scheme.full_weight_code
            type_ = IntegerType(self.bits, signed=True)
            (scale,) = parameter_scales(largest, self.bits, rule, full_code=full).tolist()
            slope = ParameterQuant(type_, (scale,), type_.lowest if full else type_.lowest + 1)
        self.layers[layer.name] = LayerQuant(
            self.exact_mode, weight=slope, operand=self._operand(layer)
        )
