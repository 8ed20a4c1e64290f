"""QuantPlan of a pre-quantized model: the scales that it states, new ones where these changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import QuantProtoError
from tidlq.graph.layers import InnerProductAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_index, operand_values
from tidlq.graph.partition import Partition, StageKind
from tidlq.graph.statements import (
    float_outputs,
    has_computed_gain,
    is_free_operand,
    resolve_features,
)
from tidlq.precision.accumulators import (
    Interval,
    WeightSums,
    accumulator_bits,
    headroom_bits,
    input_terms,
    output_integers,
)
from tidlq.precision.scales import asymmetric_feature, parameter_scales, symmetric_feature
from tidlq.precision.weighted_layers import real_bias
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
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
    StatedParameter,
    absolute_maxima,
    parameter_name,
)

_NARROW_BIAS_BITS = 32
_WIDE_BIAS_BITS = 48
_BYTE = IntegerType(8, signed=True)
_GAIN_CODE = 1 << 14


def stated_scheme(requantization: Requantization) -> Scheme:
    """The scheme of a model whose scales are its own.

    Args:
        requantization: the arithmetic of the software that the model is made for.
    """
    software = "TFLite" if requantization is Requantization.TWICE_ROUNDED else "QDQ"
    return Scheme(
        name=f"pre-quantized {software}",
        asymmetric_features=True,
        channel_wise=True,
        feature_rule=ScaleRule.REAL,
        free_rule=ScaleRule.REAL,
        weight_rule=ScaleRule.REAL,
        requantization=requantization,
        full_weight_code=False,
    )


def make_stated_plan(
    graph: Graph,
    partition: Partition,
    ranges: Ranges,
    scheme: Scheme,
    precision: Precision | None = None,
) -> QuantPlan:
    """Takes scales and zero points from a pre-quantized model, and makes those that it lacks.

    A stated quantization holds where the range of a tensor is the stated one and its bits are the
    stated ones; otherwise the range decides, and the layers around it requantize by our own
    arithmetic.

    Args:
        graph: with statements.
        partition: only its fixed stages are planned.
        ranges: of the features whose quantization is not stated or is to change, and of every
            parameter.
        scheme: the arithmetic, and the rules for what is not stated.
        precision: bits of features and parameters; what is not listed keeps its bits, or has those
            of the default where these are more.

    Raises:
        QuantProtoError: A range is missing.
    """
    planner = _StatedPlanner(graph, partition, ranges, scheme, precision or Precision())
    for stage in partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        for name in stage.inputs:
            planner.add_feature(name)
        for layer in stage.layers:
            planner.add(layer)
    return QuantPlan(scheme, planner.features, planner.layers, is_stated=True)


class _StatedPlanner:
    """Accumulates decisions in execution order."""

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        ranges: Ranges,
        scheme: Scheme,
        precision: Precision,
    ) -> None:
        assert graph.stated is not None
        self.graph = graph
        self.stated = graph.stated
        self.known = resolve_features(graph, partition.layers)
        # A range that is given all the same quantizes the output.
        self.floats = float_outputs(graph, partition.layers) - ranges.features.keys()
        self.ranges = ranges
        self.scheme = scheme
        self.precision = precision
        self.features: dict[str, FeatureQuant] = {}
        self.layers: dict[str, LayerQuant] = {}
        self.integers: dict[str, Interval] = {}

    def add_feature(self, name: str) -> None:
        """Plans a feature with a quantization of its own."""
        if name in self.features:
            return
        quant = self._feature(name)
        self.features[name] = quant
        self.integers[name] = Interval(quant.type.lowest, quant.type.highest)

    def _feature(self, name: str) -> FeatureQuant:
        stated, given = self.known.get(name), self.ranges.features.get(name)
        if stated is None:
            if given is None:
                raise QuantProtoError(f"The range of feature map {name!r} is missing.")
            return asymmetric_feature(given, self.precision.feature_bits(name))
        bits = self.precision.features.get(name, max(stated.type.bits, self.precision.default))
        own = stated.range
        if bits == stated.type.bits and (given is None or _is_same(given, own)):
            return stated
        if stated.type.signed and stated.zero_point == 0:
            return symmetric_feature(given or own, bits, ScaleRule.REAL)
        return asymmetric_feature(given or own, bits)

    def _is_as_stated(self, name: str) -> bool:
        return name not in self.features or self.features[name] == self.known.get(name)

    def add(self, layer: Layer) -> None:
        """Plans one layer; its inputs are planned already."""
        if layer.writes_positions:
            self.layers[layer.name] = LayerQuant(self.scheme.requantization)
            return
        if layer.output in self.floats:
            weight, _ = self._weight(layer)
            assert weight is not None
            self.layers[layer.name] = self._weighted(layer, weight, Requantization.FLOAT)
            return
        source = next(name for name in layer.inputs if name in self.features)
        if layer.keeps_quantization:
            self.features[layer.output] = self.features[source]
        else:
            self.add_feature(layer.output)
        weight, is_own = self._weight(layer)
        operand = self._operand(layer)
        is_own = is_own and (operand is None or operand == self._stated_operand(layer))
        is_own = is_own and all(map(self._is_as_stated, (*layer.inputs, layer.output)))
        mode = self._mode(layer, weight, operand, is_own=is_own)
        if layer.kind.has_weight:
            assert weight is not None
            self.layers[layer.name] = self._weighted(layer, weight, mode)
        else:
            has_bias = layer.kind.has_output_channels
            bias = real_bias(self.graph, layer, self.ranges) if has_bias else ()
            shift = self._product_shift(layer, mode, operand)
            self.layers[layer.name] = LayerQuant(
                mode, weight, operand, shift, bias, is_bias_real=bool(bias)
            )
        self.integers[layer.output] = output_integers(
            layer, self.features[layer.output], self.integers[source]
        )

    def _mode(
        self,
        layer: Layer,
        weight: ParameterQuant | None,
        operand: FeatureQuant | None,
        *,
        is_own: bool,
    ) -> Requantization:
        """The model's own arithmetic where all of the layer is as stated."""
        mode = self.scheme.requantization
        if mode is Requantization.SHIFT:
            products = (LayerKind.PRODUCT, LayerKind.MATRIX_PRODUCT)
            is_shifted = layer.kind.has_weight or layer.kind in products
            scales = () if weight is None else weight.scales
            is_whole = is_shifted and self._shifts(layer, scales, operand) is not None
            return mode if is_whole else Requantization.FIXED
        if mode is Requantization.TWICE_ROUNDED and not is_own:
            return Requantization.FIXED
        return mode

    def _stated_parameter(self, layer: Layer) -> StatedParameter | None:
        index = operand_index(self.graph, layer)
        name = layer.weight if index is None else layer.inputs[index]
        return None if name is None else self.stated.parameters.get(name)

    def _shifts(
        self, layer: Layer, scales: tuple[float, ...], operand: FeatureQuant | None
    ) -> tuple[int, ...] | None:
        """Whole bits between the accumulator's scales and the output's; None where not whole."""
        product = math.prod(self.features[n].scale for n in layer.inputs if n in self.features)
        if operand is not None:
            product *= operand.scale
        target = self.features[layer.output].scale
        bits = [math.log2(target / (product * scale)) for scale in scales or (1.0,)]
        shifts = tuple(round(value) for value in bits)
        is_whole = all(abs(b - s) < 2.0**-16 and s >= 0 for b, s in zip(bits, shifts, strict=True))
        return shifts if is_whole else None

    def _product_shift(
        self, layer: Layer, mode: Requantization, operand: FeatureQuant | None
    ) -> tuple[int, ...]:
        if mode is not Requantization.SHIFT:
            return ()
        return self._shifts(layer, (), operand) or ()

    # --- parameters

    def _parameter_range(self, layer: Layer) -> Range:
        role = ParameterRole.SLOPE if layer.kind is LayerKind.PRELU else ParameterRole.WEIGHT
        try:
            return self.ranges.parameters[parameter_name(layer.name, role)]
        except KeyError:
            raise QuantProtoError(
                f"The range of the {role.value} of layer {layer.name!r} is missing."
            ) from None

    def _weight(self, layer: Layer) -> tuple[ParameterQuant | None, bool]:
        """The weight's quantization, and whether it is the stated one."""
        if layer.weight is None:
            return None, True
        stated = self.stated.parameters.get(layer.weight)
        asked = self._asked_bits(layer)
        is_computed = has_computed_gain(self.graph, layer)
        own: ParameterQuant | None = None
        if is_computed:
            own = _exact_gain(layer_parameters(self.graph, layer).weight)
        elif stated is not None:
            own = _stored_weight(stated, layer_parameters(self.graph, layer).weight)
        if own is not None:
            kept = (None, own.type.bits, stated.type.bits if stated else own.type.bits)
            if asked in kept:
                return own, True
        bits = asked or 8
        key = parameter_name(layer.name, ParameterRole.WEIGHT)
        channels = self.ranges.channels.get(key) or (self._parameter_range(layer),)
        scales = parameter_scales(
            absolute_maxima(channels), bits, self.scheme.weight_rule, full_code=False
        )
        type_ = IntegerType(bits, signed=True)
        quant = ParameterQuant(type_, tuple(scales.astype(np.float32).tolist()), type_.lowest + 1)
        return quant, False

    def _asked_bits(self, layer: Layer) -> int | None:
        """Bits that the parameters are to have; None where the model's own will do."""
        default = None if self.precision.default == 8 else self.precision.default
        return self.precision.parameters.get(layer.name, default)

    def _stated_operand(self, layer: Layer) -> FeatureQuant | None:
        values = operand_values(self.graph, layer)
        if values is not None and is_free_operand(self.graph, layer):
            return FeatureQuant(_BYTE, float(np.float32(abs(values.flat[0]))) or 1.0)
        stated = self._stated_parameter(layer)
        if stated is None or len(stated.scales) > 1:
            return None
        return FeatureQuant(stated.type, stated.scales[0], stated.zero_points[0])

    def _operand(self, layer: Layer) -> FeatureQuant | None:
        if operand_index(self.graph, layer) is None:
            return None
        own, asked = self._stated_operand(layer), self._asked_bits(layer)
        if own is not None and asked in (None, own.type.bits):
            return own
        return symmetric_feature(self._parameter_range(layer), asked or 8, self.scheme.weight_rule)

    def _weighted(self, layer: Layer, weight: ParameterQuant, mode: Requantization) -> LayerQuant:
        x = self.features[layer.inputs[0]]
        parameters = layer_parameters(self.graph, layer)
        bias, is_whole = self._bias(layer, parameters.bias)
        is_wide = max(x.type.bits, weight.type.bits) > 8
        shifts = self._shifts(layer, weight.scales, None) if mode is Requantization.SHIFT else ()
        quant = LayerQuant(
            mode,
            weight,
            shift=shifts or (),
            bias=() if bias is None else tuple(bias.tolist()),
            bias_bits=self._bias_bits(layer) if is_wide else _NARROW_BIAS_BITS,
            is_bias_real=not is_whole and self._adds_real(layer, mode),
        )
        return _with_headroom(
            quant,
            WeightSums.of(weight.quantize(parameters.weight)),
            input_terms(layer, self.integers[layer.inputs[0]], x.zero_point),
            x,
        )

    def _adds_real(self, layer: Layer, mode: Requantization) -> bool:
        """Whether a bias that is not of the model's integers is added in float32."""
        is_behind = layer.bias in self.stated.real_biases and mode is Requantization.FLOAT
        return layer.output in self.floats or is_behind

    def _bias_bits(self, layer: Layer) -> int:
        """Bits of a wide layer's bias: TFLite's may have 32, which decides its arithmetic."""
        stored = None if layer.bias is None else self.stated.parameters.get(layer.bias)
        is_narrow = stored is not None and stored.type.bits <= _NARROW_BIAS_BITS
        return _NARROW_BIAS_BITS if is_narrow else _WIDE_BIAS_BITS

    def _bias(
        self, layer: Layer, own: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64] | None, bool]:
        """Real values of the bias: given ones, else the model's integers, else the Graph's.

        And whether they are the model's integers.
        """
        given = self.ranges.biases.get(parameter_name(layer.name, ParameterRole.BIAS))
        integers = self._bias_integers(layer, own)
        if integers is not None and _bias_factor(layer) == 1:
            stated = integers * self._stated_steps(layer)
            # A saved proto holds biases as float32.
            if given is None or _is_same_bias(given, stated):
                return stated, True
        return own if given is None else np.asarray(given, np.float64), False

    def _bias_integers(
        self, layer: Layer, own: NDArray[np.float64] | None
    ) -> NDArray[np.float64] | None:
        """The model's integers of a bias; those that ONNX Runtime gives to a float one.

        It divides by the accumulator's scale in float32. A float bias of a layer that writes
        float32, or that the model adds behind the layer, stays as it is.
        """
        if has_computed_gain(self.graph, layer):
            return None
        stated = None if layer.bias is None else self.stated.biases.get(layer.bias)
        if stated is not None:
            return np.asarray(stated, np.float64)
        is_known = layer.weight in self.stated.parameters and layer.inputs[0] in self.known
        is_runtime = self.scheme.requantization is Requantization.FLOAT
        if own is None or not (is_known and is_runtime):
            return None
        if layer.output in self.floats or layer.bias in self.stated.real_biases:
            return None
        assert layer.weight is not None
        scales = np.asarray(self.stated.parameters[layer.weight].scales, np.float32)
        steps = scales * np.float32(self.known[layer.inputs[0]].scale)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            integers = np.rint(own.astype(np.float32) / steps).astype(np.float64)
        return integers if np.isfinite(integers).all() else None

    def _stated_steps(self, layer: Layer) -> NDArray[np.float64]:
        """Real values of one unit of the stated bias: float64, one or [C_out]."""
        assert layer.weight is not None
        return (
            np.asarray(self.stated.parameters[layer.weight].scales, np.float64)
            * self.known[layer.inputs[0]].scale
        )


def _is_same_bias(given: Sequence[float], stated: NDArray[np.float64]) -> bool:
    return np.array_equal(np.asarray(given, np.float32), stated.astype(np.float32))


def _bias_factor(layer: Layer) -> float:
    attributes = layer.attributes
    return attributes.beta if isinstance(attributes, InnerProductAttributes) else 1.0


def _is_same(one: Range, other: Range) -> bool:
    return (one.min, one.max) == (other.min, other.max)


def _exact_gain(values: NDArray[np.floating]) -> ParameterQuant:
    """One integer for every channel's gain, 2^14, at a scale of its own.

    So the gain is exact and the bias, at a fraction of the input's step, nearly so.
    """
    gains = np.abs(values).astype(np.float32) / np.float32(_GAIN_CODE)
    type_ = IntegerType(16, signed=True)
    scales = np.where(gains > 0, gains, np.float32(1.0))
    return ParameterQuant(type_, tuple(scales.tolist()), type_.lowest)


def _stored_weight(stated: StatedParameter, values: NDArray[np.floating]) -> ParameterQuant:
    """Stated scales of a weight, and the signed type that its integers q - zero_point need."""
    scales = np.asarray(stated.scales, np.float64)
    rows = values.reshape(len(values), -1)
    integers = np.rint(rows / (scales if scales.size == 1 else scales[:, np.newaxis]))
    is_byte = integers.size == 0 or (
        integers.min() >= _BYTE.lowest and integers.max() <= _BYTE.highest
    )
    type_ = _BYTE if is_byte and stated.type.bits <= 8 else IntegerType(16, signed=True)
    return ParameterQuant(type_, stated.scales, type_.lowest)


def _with_headroom(
    quant: LayerQuant, sums: WeightSums, terms: Interval, source: FeatureQuant
) -> LayerQuant:
    assert quant.weight is not None
    is_summed = quant.bias and not quant.is_bias_real
    bias = quant.quantize_bias(source.scale) if is_summed else 0
    low, high = sums.bounds(terms, bias)
    bits = accumulator_bits(source.type.bits, quant.weight.type.bits)
    return replace(quant, headroom_bits=headroom_bits(low, high, bits))
