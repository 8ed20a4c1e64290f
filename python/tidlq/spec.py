"""Quantization vocabulary: ranges, scales, schemes and plans.

A real value x and its integer q are tied by  x = scale * (q - zero_point).  Scales are float32
values held as Python floats, so every stage (plan, Network, QDQ, proto) sees the same number.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

_FLOAT32_PAIR = struct.Struct("<ff")
_BLOCK_ELEMENTS = 1 << 15


class RangeOrigin(enum.Enum):
    """How a range was obtained."""

    MEASURED = "measured"
    STATED = "stated"
    PARAMETER = "parameter"
    SAVED = "saved"


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of a tensor: float32 values, min <= max, both finite."""

    min: float
    max: float
    origin: RangeOrigin = RangeOrigin.MEASURED

    def __post_init__(self) -> None:
        try:
            low, high = _FLOAT32_PAIR.unpack(_FLOAT32_PAIR.pack(self.min, self.max))
        except OverflowError:
            low, high = math.inf, math.inf
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"a range needs finite min <= max, found [{self.min}, {self.max}]")
        object.__setattr__(self, "min", low)
        object.__setattr__(self, "max", high)

    @property
    def absolute_max(self) -> float:
        """max(|min|, |max|)."""
        return max(abs(self.min), abs(self.max))

    def clipped(self, other: Range) -> Range:
        """This range with both ends moved into another one; itself where it lies inside."""
        low = min(max(self.min, other.min), other.max)
        high = min(max(self.max, other.min), other.max)
        return self if (low, high) == (self.min, self.max) else Range(low, high, other.origin)

    def with_zero(self) -> Range:
        """The same range, widened to contain zero."""
        return Range(min(self.min, 0.0), max(self.max, 0.0), self.origin)


@dataclass(frozen=True, eq=False)
class ChannelRanges(Sequence[Range]):
    """The ranges of many channels, held as arrays; each becomes a Range when asked for.

    Attributes:
        low, high: float32 [C], finite, low <= high.
        origin: of all of them.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    origin: RangeOrigin = RangeOrigin.MEASURED

    def __post_init__(self) -> None:
        is_valid = np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high)
        if not is_valid.all():
            raise ValueError("ranges of channels need finite min <= max")

    @overload
    def __getitem__(self, index: int) -> Range: ...
    @overload
    def __getitem__(self, index: slice) -> ChannelRanges: ...
    def __getitem__(self, index: int | slice) -> Range | ChannelRanges:
        if isinstance(index, slice):
            return ChannelRanges(self.low[index], self.high[index], self.origin)
        return Range(float(self.low[index]), float(self.high[index]), self.origin)

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> ChannelRanges:
        """Measured ranges as arrays; each of them a range of float32 values."""
        return cls(minima(ranges), maxima(ranges))

    def __len__(self) -> int:
        return len(self.low)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def minima(ranges: Sequence[Range]) -> NDArray[np.float32]:
    """Smallest value of each range, float32 [len(ranges)]."""
    if isinstance(ranges, ChannelRanges):
        return ranges.low
    return np.array([item.min for item in ranges], np.float32)


def maxima(ranges: Sequence[Range]) -> NDArray[np.float32]:
    """Largest value of each range, float32 [len(ranges)]."""
    if isinstance(ranges, ChannelRanges):
        return ranges.high
    return np.array([item.max for item in ranges], np.float32)


def absolute_maxima(ranges: Sequence[Range]) -> NDArray[np.float64]:
    """max(|min|, |max|) of each range, float64 [len(ranges)]."""
    return np.maximum(np.abs(minima(ranges)), np.abs(maxima(ranges))).astype(np.float64)


class Fusion(enum.Enum):
    """What is computed without rounding in between; each can be left out.

    SILU, HARD_SWISH, MISH, GELU: an activation that several nodes spell out is one table.
    SCALED_ACTIVATION: so is an activation with numbers that multiply it and are added to it.
    LAYER_NORM, RMS_NORM: a normalization that several nodes spell out is one layer.
    WIDE_PRE_ACTIVATION: what only functions read has 16 bits where all else has 8.
    WIDE_OUTPUT: so has what only leaves a network of several heads.
    """

    SILU = "silu"
    HARD_SWISH = "hard-swish"
    MISH = "mish"
    GELU = "gelu"
    SCALED_ACTIVATION = "scaled-activation"
    LAYER_NORM = "layer-norm"
    RMS_NORM = "rms-norm"
    WIDE_PRE_ACTIVATION = "wide-pre-activation"
    WIDE_OUTPUT = "wide-output"


class ParameterRole(enum.Enum):
    """What a parameter does in its layer."""

    WEIGHT = "weight"
    BIAS = "bias"
    SLOPE = "slope"


def parameter_name(layer: str, role: ParameterRole) -> str:
    """Name of a parameter as its layer uses it (folded, transposed, scaled): `conv1.weight`."""
    return f"{layer}.{role.value}"


@dataclass(frozen=True)
class Equalization:
    """Channels rescaled between layers before anything is quantized; empty where none is.

    Attributes:
        factors: by layer that writes rescaled channels, one per output channel: its outputs are
            divided by them.
        bounds: by layer whose output a Clip bounds: the largest bound after the division, where
            each channel has its own, min(clip / factor, bound). Other layers keep their Clip.
    """

    factors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.factors)


@dataclass(frozen=True)
class Ranges:
    """Everything that data (or a saved proto) decided about a graph.

    Attributes:
        features: one range per feature map, by tensor name.
        parameters: one range per weight, bias and slope, by `parameter_name`.
        channels: one range per output channel of a weight, by `parameter_name`.
        biases: bias values that stand in for the model's own, or that a layer without a bias gets,
            by `parameter_name`.
        equalization: rescaling of channels, after which all the ranges are.
    """

    features: Mapping[str, Range]
    parameters: Mapping[str, Range]
    channels: Mapping[str, Sequence[Range]]
    biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    equalization: Equalization = field(default_factory=Equalization)


class Requantization(enum.Enum):
    """How accumulators become output integers; `fixed.rs` defines each exactly."""

    SHIFT = "shift"
    FIXED = "fixed"
    FLOAT = "float"
    TWICE_ROUNDED = "twice-rounded"


class ScaleRule(enum.Enum):
    """Which scales a tensor may have."""

    REAL = "real"
    POWER_OF_TWO = "power-of-two"
    SHIFTED_ACCUMULATOR = "shifted-accumulator"


@dataclass(frozen=True)
class FeatureScales:
    """The scales that a feature map may have: what a search for its range chooses among.

    Attributes:
        bits: 8 or 16.
        asymmetric: unsigned with a zero point and any real scale; otherwise the zero point is 0.
        unit: None: any real scale; otherwise the scale is unit * 2^k: 1.0 for plain powers of two,
            the accumulator's scale for shifted features.
        least_shift: k >= least_shift; None where k has no bound.
    """

    bits: int
    asymmetric: bool = False
    unit: float | None = None
    least_shift: int | None = None


@dataclass(frozen=True)
class Precision:
    """Bits of features (by tensor) and of parameters (by layer), 8 or 16.

    Attributes:
        default: where a name is not listed.
        features: by tensor.
        parameters: weight, slope or constant operand, by layer.
    """

    default: int = 8
    features: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)

    def feature_bits(self, tensor: str) -> int:
        """Bits of a feature map."""
        return self.features.get(tensor, self.default)

    def parameter_bits(self, layer: str) -> int:
        """Bits of a layer's parameters."""
        return self.parameters.get(layer, self.default)


@dataclass(frozen=True)
class Scheme:
    """A quantization scheme as data.

    Attributes:
        name: short name for reports.
        asymmetric_features: features may have a zero point other than 0.
        channel_wise: one weight scale per output channel.
        feature_rule: scales of the outputs of layers with an accumulator.
        free_rule: scales of network inputs and of table outputs, which have no accumulator.
        weight_rule: scales of parameters.
        requantization: of every layer with parameters.
        full_weight_code: the largest weight maps to 2^(bits-1), not to 2^(bits-1) - 1.
        bias_bits: signed bits that the bias of an 8-bit layer must fit into.
        wide_bias_bits: the same for a layer whose input or parameters have 16 bits.
        bias_clipping: a bias that does not fit is clipped; otherwise the weight scale grows.
    """

    name: str
    asymmetric_features: bool
    channel_wise: bool
    feature_rule: ScaleRule
    free_rule: ScaleRule
    weight_rule: ScaleRule
    requantization: Requantization
    full_weight_code: bool
    bias_bits: int = 32
    wide_bias_bits: int = 48
    bias_clipping: bool = False


@dataclass(frozen=True)
class IntegerType:
    """A signed or unsigned integer type of 8, 16, 32 or (of a bias) 64 bits."""

    bits: int
    signed: bool

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The numpy dtype of this width and sign."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits // 8}")


@dataclass(frozen=True)
class FeatureQuant:
    """Quantization of a feature map: x = scale * (q - zero_point)."""

    type: IntegerType
    scale: float
    zero_point: int = 0

    @property
    def range(self) -> Range:
        """The real values of the lowest and the highest integer."""
        low, high = (
            (q - self.zero_point) * self.scale for q in (self.type.lowest, self.type.highest)
        )
        return Range(low, high, RangeOrigin.STATED)

    def quantize(self, value: float) -> int:
        """The integer nearest to a real value (halves to even), saturated to the type."""
        if not math.isfinite(value):
            return self.type.highest if value > 0 else self.type.lowest
        q = round(value / self.scale) + self.zero_point
        return min(max(q, self.type.lowest), self.type.highest)


@dataclass(frozen=True)
class StatedParameter:
    """How a pre-quantized model stores a parameter:  x = scale * (q - zero_point).

    Attributes:
        type: the stored integer type.
        scales: a single one, or one per index of `axis`.
        zero_points: likewise.
        axis: of the constant; without meaning where there is a single scale.
    """

    type: IntegerType
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class StatedQuantization:
    """What a pre-quantized model says about its tensors, by the names that these have in the Graph.

    Attributes:
        features: feature maps that the model quantizes.
        parameters: weights, slopes and constant operands that the model stores as integers; the
            Graph holds their real values. Biases of 16-bit features as well, where their type
            decides the arithmetic.
        biases: integers of biases whose scale is that of the layer's accumulator.
        requantization: the arithmetic of the software that the model is made for.
        unrounded: feature maps that float nodes and the network's outputs see as they are before
            quantization, although `features` has them; only our own exports say so.
        float_nodes: nodes that run in float although their quantization is stated; likewise.
        is_exported: it is one of our own exports, so every kind of layer computes what it stated.
        real_biases: biases that the model adds in float32 behind a layer, before it quantizes.
    """

    features: Mapping[str, FeatureQuant]
    parameters: Mapping[str, StatedParameter]
    biases: Mapping[str, tuple[int, ...]]
    requantization: Requantization = Requantization.FLOAT
    unrounded: frozenset[str] = frozenset()
    float_nodes: frozenset[str] = frozenset()
    is_exported: bool = False
    real_biases: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ParameterQuant:
    """Symmetric quantization of a parameter, zero point 0.

    Attributes:
        type: the stored integer type.
        scales: one scale, or one per output channel (axis 0).
        lowest: smallest stored integer; -127 where a scheme keeps weights symmetric.
    """

    type: IntegerType
    scales: tuple[float, ...]
    lowest: int

    def quantize(self, values: NDArray[np.floating]) -> NDArray[np.signedinteger]:
        """Integers of the type:  round(values / scale), halves to even, saturated.

        Args:
            values: float32 or float64 [C_out, ...].
        """
        scales = np.asarray(self.scales, np.float64).reshape(-1, 1)
        flat = values.reshape(len(values), -1)
        integers = np.empty(flat.shape, self.type.dtype)
        # In blocks that stay in the cache; a whole weight in float64 would not.
        rows = max(1, _BLOCK_ELEMENTS // flat.shape[1])
        for start in range(0, len(flat), rows):
            block = slice(start, start + rows)
            q = flat[block] / (scales if len(scales) == 1 else scales[block])
            np.rint(q, out=q)
            np.maximum(q, self.lowest, out=q)
            np.minimum(q, self.type.highest, out=q)
            integers[block] = q
        return integers.reshape(values.shape)


def bias_integers(
    bias: NDArray[np.float64], weight: ParameterQuant, input_scale: float, bits: int
) -> NDArray[np.int64]:
    """Integers of a bias:  round(bias / (input scale * weight scale)), saturated to signed bits.

    Args:
        bias: float64 [C_out]. Real units.
        weight: quantization of the weight that the bias is added to.
        input_scale: scale of the layer's input.
        bits: of the bias.
    """
    scales = np.asarray(weight.scales, np.float64) * input_scale
    limit = float(1 << (bits - 1))
    q = np.minimum(np.maximum(np.rint(bias / scales), -limit), limit - 1)
    return np.asarray(q, np.float64).astype(np.int64)


@dataclass(frozen=True)
class LayerQuant:
    """The decisions for one layer.

    Attributes:
        requantization: mode of the layer's output.
        weight: quantization of the weight of a weighted layer, or of PReLU's slope.
        operand: quantization of the constant operand of a sum or product.
        shift: SHIFT only: bits, one per output channel or a single one.
        bias: values of a weighted layer's bias, real units, one per output channel; empty where
            there is none.
        bias_bits: signed bits that the bias is saturated to.
        is_bias_real: the bias is added to the scaled accumulator, not to the accumulator: in
            float32, and in float64 in a deformable convolution.
        headroom_bits: weighted layers only: bits of the accumulator that its largest possible
            value leaves unused, the sign aside; of the worst channel.
        largest_bias: weighted layers only: the largest magnitude of each output channel's bias
            that leaves the scales of the plan as they are; real units.
    """

    requantization: Requantization
    weight: ParameterQuant | None = None
    operand: FeatureQuant | None = None
    shift: tuple[int, ...] = ()
    bias: tuple[float, ...] = ()
    bias_bits: int = 32
    is_bias_real: bool = False
    headroom_bits: float | None = None
    largest_bias: tuple[float, ...] = ()

    def quantize_bias(self, input_scale: float) -> NDArray[np.int64]:
        """Integers of the bias:  round(bias / (input scale * weight scale)), saturated to its bits.

        Halves go to even.

        Args:
            input_scale: scale of the layer's input.

        Returns:
            int64 [C_out]; empty where the layer has no bias.
        """
        assert self.weight is not None
        return bias_integers(np.asarray(self.bias), self.weight, input_scale, self.bias_bits)


@dataclass(frozen=True)
class QuantPlan:
    """Scale, zero point, bits and sign of every feature; precision and requantization per layer.

    Attributes:
        scheme: the rules behind it.
        features: by tensor.
        layers: by name.
        is_stated: made from what a pre-quantized model states: every feature is rounded to its
            integers, also where it only leaves the network.
    """

    scheme: Scheme
    features: Mapping[str, FeatureQuant]
    layers: Mapping[str, LayerQuant]
    is_stated: bool = False
