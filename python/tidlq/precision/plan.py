"""QuantPlan from ranges: one rule per kind of layer, in execution order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tidlq.errors import ModelError, QuantProtoError
from tidlq.graph.layers import ConvolutionAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_index
from tidlq.graph.partition import Partition, StageKind
from tidlq.precision.accumulators import Interval, input_terms, output_integers
from tidlq.precision.scales import (
    LARGEST_SCALE,
    asymmetric_feature,
    parameter_scales,
    shifted_feature,
    symmetric_feature,
)
from tidlq.precision.weighted_layers import (
    BiasValues,
    WeightDecision,
    WeightedLayer,
    decide_weight,
    real_bias,
)
from tidlq.precision.weights import parameter_type, weight_quant
from tidlq.spec import (
    FeatureQuant,
    FeatureScales,
    LayerQuant,
    ParameterQuant,
    ParameterRole,
    Precision,
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

ChooseRange = Callable[[str, FeatureScales], Range]
"""The range of a feature map, by its tensor's name and the scales that it may have."""

_FREE = frozenset(
    {
        LayerKind.FUNCTION,
        LayerKind.SOFTMAX,
        LayerKind.NORMALIZATION,
        LayerKind.REDUCTION,
        LayerKind.DIVISION,
        LayerKind.POWER,
        LayerKind.SCATTERED_PRODUCT,
        LayerKind.WINDOWED_RESIZE,
        LayerKind.GRID_SAMPLE,
    }
)
"""Kinds whose output's scale follows from its range alone."""


@dataclass(frozen=True)
class _LayerDecision:
    """A layer and what it writes; one that writes positions has no feature."""

    layer: LayerQuant
    feature: FeatureQuant | None
    integers: Interval | None


@dataclass
class PlanMemory:
    """What plans that differ in precision alone have in common.

    Attributes:
        weights: decisions, and biases in real units, by layer and by all that they depend on.
        layers: likewise the whole of what is decided about a layer.
    """

    weights: dict[tuple[object, ...], tuple[WeightDecision, tuple[float, ...]]] = field(
        default_factory=dict
    )
    layers: dict[tuple[object, ...], _LayerDecision] = field(default_factory=dict)


FREE_SHIFT = -64
"""Least shift of layers whose multipliers can also refine their inputs' scale."""


def make_plan(
    graph: Graph,
    partition: Partition,
    ranges: Ranges,
    scheme: Scheme,
    *,
    precision: Precision | None = None,
    is_asymmetric: IsAsymmetric | None = None,
    choose: ChooseRange | None = None,
    memory: PlanMemory | None = None,
) -> QuantPlan:
    """Decides scale, zero point and sign of every feature, and every layer's requantization.

    A feature that keeps or shares its input's quantization has its input's bits.

    Args:
        graph: gives weights and biases.
        partition: only its fixed stages are planned.
        ranges: of every stage input, every layer output with a scale of its own, every parameter.
        scheme: the rules.
        precision: bits of features and parameters; None: 8 everywhere.
        is_asymmetric: a device's restriction of asymmetric schemes; None means there is none.
        choose: asked for the range of every feature with a scale of its own, in execution order and
            as soon as the possible scales are known; `ranges.features` is not read then. A plan
            made later from the chosen ranges is the same plan.
        memory: of earlier plans that differ in precision alone; the plan is the same without.
            `choose` is asked only where none of them decided the same.

    Raises:
        QuantProtoError: A range is missing, or a feature is to have other bits than it can have.
        ModelError: Ranges are too large for integers and shifts, or a layer sums too much for its
            accumulator.
    """
    planner = _Planner(
        graph,
        ranges,
        scheme,
        precision or Precision(),
        is_asymmetric or (lambda _: True),
        choose,
        PlanMemory() if memory is None else memory,
    )
    for stage in partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        for name in stage.inputs:
            planner.add_input(name)
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
        own = (x for x in stage.layers if x.output not in kept and not x.writes_positions)
        names |= dict.fromkeys(x.output for x in own)
    return tuple(names)


class _Planner:
    """Accumulates decisions in execution order."""

    def __init__(
        self,
        graph: Graph,
        ranges: Ranges,
        scheme: Scheme,
        precision: Precision,
        is_asymmetric: IsAsymmetric,
        choose: ChooseRange | None,
        memory: PlanMemory,
    ) -> None:
        self.graph = graph
        self.ranges = ranges
        self.scheme = scheme
        self.precision = precision
        self.is_asymmetric = is_asymmetric
        self.choose = choose
        self.memory = memory
        self.features: dict[str, FeatureQuant] = {}
        self.layers: dict[str, LayerQuant] = {}
        # What the integers of a feature can be.
        self.integers: dict[str, Interval] = {}

    @property
    def is_shift(self) -> bool:
        return self.scheme.requantization is Requantization.SHIFT

    @property
    def exact_mode(self) -> Requantization:
        """Mode of layers whose inputs may have unrelated scales."""
        return Requantization.FIXED if self.is_shift else self.scheme.requantization

    def feature_range(self, name: str, scales: FeatureScales) -> Range:
        if self.choose is not None:
            return self.choose(name, scales)
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
        bits, rule = self.precision.feature_bits(name), self.scheme.free_rule
        if self.scheme.asymmetric_features and self.is_asymmetric(kind):
            scales = FeatureScales(bits, asymmetric=True)
            return asymmetric_feature(self.feature_range(name, scales), bits)
        unit = 1.0 if rule is ScaleRule.POWER_OF_TWO else None
        value_range = self.feature_range(name, FeatureScales(bits, unit=unit))
        return symmetric_feature(value_range, bits, rule)

    def output_feature(
        self, layer: Layer, accumulator_scale: float, least_shift: int
    ) -> tuple[FeatureQuant, int]:
        """A layer's output: shifted from its accumulator where the scheme says so."""
        if self.scheme.feature_rule is not ScaleRule.SHIFTED_ACCUMULATOR:
            return self.free_feature(layer.kind, layer.output), 0
        if accumulator_scale > LARGEST_SCALE:
            raise ModelError(
                f"Layer {layer.name!r} cannot be quantized by shifts: an accumulator scale of "
                f"{accumulator_scale:g} is too large; its input or its weights are far too large."
            )
        bits = self.precision.feature_bits(layer.output)
        scales = FeatureScales(bits, unit=accumulator_scale, least_shift=least_shift)
        value_range = self.feature_range(layer.output, scales)
        return shifted_feature(value_range, accumulator_scale, bits, least_shift)

    def add_input(self, name: str) -> None:
        """Plans a feature that enters a stage from outside."""
        if name not in self.features:
            feature = self.free_feature(None, name)
            self.features[name] = feature
            self.integers[name] = Interval(feature.type.lowest, feature.type.highest)

    def add(self, layer: Layer) -> None:
        """Plans one layer; its inputs are planned already."""
        key = (
            layer.name,
            self.precision.features.get(layer.output),
            self.precision.feature_bits(layer.output),
            self.precision.parameter_bits(layer.name),
            *((self.features.get(name), self.integers.get(name)) for name in layer.inputs),
        )
        decision = self.memory.layers.get(key)
        if decision is None:
            self._decide(layer)
            decision = self.memory.layers[key] = _LayerDecision(
                self.layers[layer.name],
                self.features.get(layer.output),
                self.integers.get(layer.output),
            )
        self.layers[layer.name] = decision.layer
        if decision.feature is not None and decision.integers is not None:
            self.features[layer.output] = decision.feature
            self.integers[layer.output] = decision.integers

    def _decide(self, layer: Layer) -> None:
        if layer.writes_positions:
            self.layers[layer.name] = LayerQuant(self.exact_mode)
            return
        if layer.keeps_quantization:
            self._add_kept(layer)
        elif layer.kind.has_weight:
            self._add_weighted(layer)
        elif layer.kind in (LayerKind.PRODUCT, LayerKind.MATRIX_PRODUCT):
            self._add_product(layer)
        elif layer.kind is LayerKind.DEFORMABLE_CONVOLUTION:
            self._add_deformable(layer)
        elif layer.kind in _FREE:
            self.features[layer.output] = self.free_feature(layer.kind, layer.output)
            self.layers[layer.name] = LayerQuant(self.exact_mode, operand=self._operand(layer))
        else:
            self._add_joined(layer)
        source = next(name for name in layer.inputs if name in self.features)
        self.integers[layer.output] = output_integers(
            layer, self.features[layer.output], self.integers[source]
        )

    def _add_kept(self, layer: Layer) -> None:
        feature = self.features[layer.inputs[0]]
        stated = self.precision.features.get(layer.output, feature.type.bits)
        if stated != feature.type.bits:
            raise QuantProtoError(
                f"Layer {layer.name!r} is to have {stated} bits, but it hands on "
                f"{layer.inputs[0]!r}, which has {feature.type.bits}; give both the same."
            )
        self.features[layer.output] = feature
        self.layers[layer.name] = LayerQuant(self.exact_mode)

    def _add_weighted(self, layer: Layer) -> None:
        x = self.features[layer.inputs[0]]
        whole = self.parameter_range(layer, ParameterRole.WEIGHT)
        channels = self.ranges.channels.get(parameter_name(layer.name, ParameterRole.WEIGHT), ())
        if self.scheme.channel_wise and not channels:
            raise QuantProtoError(
                f"The channel ranges of the weight of layer {layer.name!r} are missing."
            )
        bits = self.precision.parameter_bits(layer.name)
        terms = input_terms(layer, self.integers[layer.inputs[0]], x.zero_point)
        key = (layer.name, x.scale, x.type.bits, terms, bits)
        if key not in self.memory.weights:
            self.memory.weights[key] = self._decide_weighted(layer, whole, channels, x, terms)
        decision, bias = self.memory.weights[key]
        scales = decision.weight.scales
        coarsest = max(scales)
        feature, shift = self.output_feature(layer, x.scale * coarsest, 0)
        self.features[layer.output] = feature
        shifts: tuple[int, ...] = ()
        if self.is_shift:
            shifts = tuple(shift + round(math.log2(coarsest / scale)) for scale in scales)
        self.layers[layer.name] = LayerQuant(
            self.scheme.requantization,
            decision.weight,
            shift=shifts,
            bias=bias,
            bias_bits=decision.bias_bits,
            headroom_bits=decision.headroom_bits,
            largest_bias=decision.largest_bias,
        )

    def _add_deformable(self, layer: Layer) -> None:
        """Real sums: no accumulator ties the output's scale, and no bias that of the weight."""
        key = parameter_name(layer.name, ParameterRole.WEIGHT)
        weight = weight_quant(
            self.scheme,
            self.precision.parameter_bits(layer.name),
            self.parameter_range(layer, ParameterRole.WEIGHT),
            self.ranges.channels.get(key, ()),
            None,
            self.features[layer.inputs[0]].scale,
        )
        self.features[layer.output] = self.free_feature(layer.kind, layer.output)
        bias = real_bias(self.graph, layer, self.ranges)
        self.layers[layer.name] = LayerQuant(
            self.exact_mode, weight, bias=bias, is_bias_real=bool(bias)
        )

    def _decide_weighted(
        self,
        layer: Layer,
        whole: Range,
        channels: Sequence[Range],
        x: FeatureQuant,
        terms: Interval,
    ) -> tuple[WeightDecision, tuple[float, ...]]:
        """The quantization of a weight, and the bias in real units."""
        parameters = layer_parameters(self.graph, layer)
        given = self.ranges.biases.get(parameter_name(layer.name, ParameterRole.BIAS))
        bias = BiasValues.of(parameters.bias, given, len(parameters.weight))
        decision = decide_weight(
            self._weight_scheme(layer),
            WeightedLayer(
                layer.name,
                parameters.weight,
                whole,
                channels,
                bias,
                x.scale,
                terms,
                x.type.bits,
                self.precision.parameter_bits(layer.name),
            ),
        )
        return decision, () if bias.values is None else tuple(bias.values.tolist())

    def _weight_scheme(self, layer: Layer) -> Scheme:
        """One scale for the weight of a grouped transposed convolution: ONNX names no channels."""
        attributes = layer.attributes
        is_transposed = layer.kind is LayerKind.TRANSPOSED_CONVOLUTION
        is_grouped = isinstance(attributes, ConvolutionAttributes) and attributes.groups > 1
        if is_transposed and is_grouped:
            return replace(self.scheme, channel_wise=False)
        return self.scheme

    def _operand(self, layer: Layer) -> FeatureQuant | None:
        if operand_index(self.graph, layer) is None:
            return None
        value_range = self.parameter_range(layer, ParameterRole.WEIGHT)
        bits = self.precision.parameter_bits(layer.name)
        return symmetric_feature(value_range, bits, self.scheme.weight_rule)

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
        slope = self._slope(layer) if layer.kind is LayerKind.PRELU else None
        self.layers[layer.name] = LayerQuant(
            self.exact_mode, weight=slope, operand=self._operand(layer)
        )

    def _slope(self, layer: Layer) -> ParameterQuant:
        largest = np.array([self.parameter_range(layer, ParameterRole.SLOPE).absolute_max])
        bits = self.precision.parameter_bits(layer.name)
        rule, full = self.scheme.weight_rule, self.scheme.full_weight_code
        (scale,) = parameter_scales(largest, bits, rule, full_code=full).tolist()
        type_, lowest = parameter_type(self.scheme, bits)
        return ParameterQuant(type_, (scale,), lowest)
