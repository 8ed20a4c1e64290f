"""Scales of weights, and how a bias that does not fit changes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.precision.scales import SMALLEST_SCALE, next_power_of_two, parameter_scales
from tidlq.spec import (
    IntegerType,
    ParameterQuant,
    Range,
    Requantization,
    ScaleRule,
    Scheme,
    absolute_maxima,
)

Float64 = NDArray[np.float64]

CLIPPED_BIAS_BITS = 16
DEAD_CHANNEL_BIAS_BITS = 24
LARGEST_CHANNEL_SHIFT = 24
# A scale is rounded to float32 after a bias was fitted to it.
_SCALE_ROUNDING = 2.0**-22
_MARGIN = 2.0**-20


def bias_bits(scheme: Scheme, feature_bits: int = 8, parameter_bits: int = 8) -> int:
    """Signed bits that a layer's bias is stored in.

    Layers of 8 bits: the scheme's, 16 where biases are clipped. A 16-bit operand makes the bias's
    step so fine that 16 bits would clip nearly all of it, so its bits are the scheme's wide ones.

    Args:
        scheme: the rules.
        feature_bits: of the layer's input.
        parameter_bits: of its weight.
    """
    if max(feature_bits, parameter_bits) > 8:
        return scheme.wide_bias_bits
    return CLIPPED_BIAS_BITS if scheme.bias_clipping else scheme.bias_bits


def largest_bias_code(scheme: Scheme, bits: int) -> float:
    """The largest integer of a bias; infinite where one that does not fit leaves the scales alone.

    Args:
        scheme: the rules.
        bits: of features and parameters.
    """
    if scheme.bias_clipping:
        return math.inf
    return 2.0 ** (bias_bits(scheme, bits, bits) - 1) - 2


def parameter_type(scheme: Scheme, bits: int) -> tuple[IntegerType, int]:
    """The integer type of a symmetric parameter, and the lowest integer in use."""
    type_ = IntegerType(bits, signed=True)
    return type_, type_.lowest if scheme.full_weight_code else type_.lowest + 1


def weight_quant(
    scheme: Scheme,
    bits: int,
    whole: Range,
    channels: Sequence[Range],
    bias: Float64 | None,
    input_scale: float,
    *,
    stored_bias_bits: int | None = None,
) -> ParameterQuant:
    """Scales of a weighted layer's weight.

    Args:
        scheme: rules for scales and bias.
        bits: width of the weight.
        whole: range of the whole weight.
        channels: range of each output channel; used by channel-wise schemes.
        bias: float64 [C_out], values or magnitudes, or None.
        input_scale: scale of the layer's input, which with the weight's makes the bias's.
        stored_bias_bits: of the bias; None: those of a layer with 8-bit operands.

    Unless the scheme clips biases, a scale grows until the bias fits:
    |bias| <= (2^(bias bits - 1) - 1) * input_scale * weight_scale.
    """
    magnitudes = np.abs(bias) if bias is not None else np.zeros(max(len(channels), 1))
    if not scheme.channel_wise:
        channels, magnitudes = (whole,), magnitudes.max(keepdims=True)
    stored = bias_bits(scheme) if stored_bias_bits is None else stored_bias_bits
    scales = _fitted(scheme, bits, absolute_maxima(channels), magnitudes, input_scale, stored)
    if is_aligned(scheme):
        scales = _aligned(scales)
    type_, lowest = parameter_type(scheme, bits)
    return ParameterQuant(type_, tuple(scales.astype(np.float32).tolist()), lowest)


def is_aligned(scheme: Scheme) -> bool:
    """Channel scales differ by powers of two, so that a shift per channel joins them."""
    return scheme.channel_wise and scheme.requantization is Requantization.SHIFT


def _fitted(
    scheme: Scheme,
    bits: int,
    largest: Float64,
    bias_magnitudes: Float64,
    input_scale: float,
    stored_bits: int,
) -> Float64:
    """One scale per channel, from its largest weight and its bias."""
    full_code = scheme.full_weight_code
    scales = parameter_scales(largest, bits, scheme.weight_rule, full_code=full_code)
    # A channel without weights is its bias alone: its scale is free, so it serves the bias.
    is_bias_alone = (largest == 0) & (bias_magnitudes > 0)
    scales = np.where(is_bias_alone, SMALLEST_SCALE, scales)
    fitted_bits = np.where(is_bias_alone, min(stored_bits, DEAD_CHANNEL_BIAS_BITS), stored_bits)
    # One unit below the limit leaves room for the rounding of the scale to float32.
    needed = bias_magnitudes / (input_scale * (2.0 ** (fitted_bits - 1) - 2))
    needed = needed * (1 + _SCALE_ROUNDING)
    if scheme.bias_clipping:
        needed = np.where(is_bias_alone, needed, 0.0)
    if scheme.weight_rule is ScaleRule.POWER_OF_TWO:
        needed = np.where(needed > 0, next_power_of_two(needed), 0.0)
    scales = np.maximum(scales, needed)
    # A channel without weights and bias is zero at any scale: it must not coarsen the others.
    is_dead = (largest == 0) & (bias_magnitudes == 0)
    if is_dead.any() and not is_dead.all():
        scales = np.where(is_dead, scales[~is_dead].min(), scales)
    return scales


def _aligned(scales: Float64) -> Float64:
    """Each scale the finest  max(scales) / 2^k  that is not finer than the channel's own."""
    coarsest = float(np.float32(scales.max()))
    steps = np.floor(np.log2(coarsest / scales) + 1e-6)
    return np.ldexp(coarsest, -np.clip(steps, 0, LARGEST_CHANNEL_SHIFT).astype(np.int64))


def coarser(scheme: Scheme, quant: ParameterQuant, factors: Float64) -> ParameterQuant:
    """The quantization with coarser scales that obey the scheme's rule.

    Args:
        scheme: the rules.
        quant: of a weight.
        factors: float64, one per scale. Least factor of each; 1 leaves a scale as it is.
    """
    if is_aligned(scheme) or scheme.weight_rule is ScaleRule.POWER_OF_TWO:
        factors = next_power_of_two(factors)
    scales = np.asarray(quant.scales, np.float64) * factors
    return ParameterQuant(quant.type, tuple(scales.astype(np.float32).tolist()), quant.lowest)


def fitting_bias(steps: Float64, bits: int) -> Float64:
    """The largest magnitudes of a bias that need no coarser scale than a layer has.

    Args:
        steps: float64. input scale * weight scale, of each channel or of all.
        bits: of the bias.
    """
    return steps * ((2.0 ** (bits - 1) - 2) * (1 - _MARGIN))
