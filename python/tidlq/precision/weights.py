"""Scales of weights, and how a bias that does not fit changes them."""

from __future__ import annotations

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


def bias_bits(scheme: Scheme) -> int:
    """Signed bits that a bias is stored in: 16 where it is clipped."""
    return CLIPPED_BIAS_BITS if scheme.bias_clipping else scheme.bias_bits


def weight_quant(
    scheme: Scheme,
    bits: int,
    whole: Range,
    channels: Sequence[Range],
    bias: NDArray[np.float64] | None,
    input_scale: float,
) -> ParameterQuant:
    """Scales of a weighted layer's weight.

    Args:
        scheme: rules for scales and bias.
        bits: width of the weight.
        whole: range of the whole weight.
        channels: range of each output channel; used by channel-wise schemes.
        bias: float64 [C_out] or None.
        input_scale: scale of the layer's input, which with the weight's makes the bias's.

    Unless the scheme clips biases, a scale grows until the bias fits:
    |bias| <= (2^(bias bits - 1) - 1) * input_scale * weight_scale.
    """
    magnitudes = np.abs(bias) if bias is not None else np.zeros(max(len(channels), 1))
    if not scheme.channel_wise:
        channels, magnitudes = (whole,), magnitudes.max(keepdims=True)
    scales = _fitted(scheme, bits, absolute_maxima(channels), magnitudes, input_scale)
    if scheme.requantization is Requantization.SHIFT:
        scales = _aligned(scales)
    type_ = IntegerType(bits, signed=True)
    lowest = type_.lowest if scheme.full_weight_code else type_.lowest + 1
    return ParameterQuant(type_, tuple(scales.astype(np.float32).tolist()), lowest)


def _fitted(
    scheme: Scheme, bits: int, largest: Float64, bias_magnitudes: Float64, input_scale: float
) -> Float64:
    """One scale per channel, from its largest weight and its bias."""
    full_code = scheme.full_weight_code
    scales = parameter_scales(largest, bits, scheme.weight_rule, full_code=full_code)
    # A channel without weights is its bias alone: its scale is free, so it serves the bias.
    is_bias_alone = (largest == 0) & (bias_magnitudes > 0)
    scales = np.where(is_bias_alone, SMALLEST_SCALE, scales)
    dead_bits = min(bias_bits(scheme), DEAD_CHANNEL_BIAS_BITS)
    stored_bits = np.where(is_bias_alone, dead_bits, scheme.bias_bits)
    # One unit below the limit leaves room for the rounding of the scale to float32.
    needed = bias_magnitudes / (input_scale * (2.0 ** (stored_bits - 1) - 2)) * (1 + 2.0**-22)
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
    """Channel scales that differ by powers of two, so that shifts alone join them.

    Each is the finest  max(scales) / 2^k  that is not finer than the channel's own scale.
    """
    coarsest = float(np.float32(scales.max()))
    steps = np.floor(np.log2(coarsest / scales) + 1e-6)
    return np.ldexp(coarsest, -np.clip(steps, 0, LARGEST_CHANNEL_SHIFT).astype(np.int64))
