"""Scales of weights, and how a bias that does not fit changes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.precision.scales import SMALLEST_SCALE, parameter_scale
from tidlq.spec import IntegerType, ParameterQuant, Range, Requantization, ScaleRule, Scheme

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
    scales = [
        _fitted(scheme, bits, channel.absolute_max, float(magnitude), input_scale)
        for channel, magnitude in zip(channels, magnitudes, strict=True)
    ]
    if scheme.requantization is Requantization.SHIFT:
        scales = _aligned(scales)
    type_ = IntegerType(bits, signed=True)
    lowest = type_.lowest if scheme.full_weight_code else type_.lowest + 1
    return ParameterQuant(type_, tuple(float(np.float32(s)) for s in scales), lowest)


def _fitted(
    scheme: Scheme, bits: int, absolute_max: float, bias_magnitude: float, input_scale: float
) -> float:
    scale = parameter_scale(
        absolute_max, bits, scheme.weight_rule, full_code=scheme.full_weight_code
    )
    stored_bits = scheme.bias_bits
    if absolute_max == 0 and bias_magnitude > 0:
        # A channel without weights is its bias alone: its scale is free, so it serves the bias.
        scale, stored_bits = SMALLEST_SCALE, min(stored_bits, DEAD_CHANNEL_BIAS_BITS)
    elif scheme.bias_clipping:
        return scale
    # One unit below the limit leaves room for the rounding of the scale to float32.
    needed = bias_magnitude / (input_scale * ((1 << (stored_bits - 1)) - 2)) * (1 + 2.0**-22)
    if needed <= scale:
        return scale
    if scheme.weight_rule is ScaleRule.POWER_OF_TWO:
        return 2.0 ** math.ceil(math.log2(needed))
    return needed


def _aligned(scales: Sequence[float]) -> list[float]:
    """Channel scales that differ by powers of two, so that shifts alone join them.

    Each is the finest  max(scales) / 2^k  that is not finer than the channel's own scale.
    """
    coarsest = float(np.float32(max(scales)))
    steps = [math.floor(math.log2(coarsest / scale) + 1e-6) for scale in scales]
    return [math.ldexp(coarsest, -min(max(k, 0), LARGEST_CHANNEL_SHIFT)) for k in steps]
