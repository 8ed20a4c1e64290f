"""Exact requantization numbers from real ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tidlq.graph.layers import Clamp
from tidlq.lowering.network_pb2 import Requantize
from tidlq.spec import FeatureQuant, Requantization

LARGEST_SHIFT = 62
MANTISSA_BITS = 31
SUM_MANTISSA_BITS = 30


def fixed_multiplier(ratio: float) -> tuple[int, int]:
    """The multiplier and shift nearest to a ratio:  ratio ~ multiplier / 2^shift.

    The multiplier has 31 bits, fewer where the shift would pass 62.

    Raises:
        ValueError: |ratio| is 2^31 or more, or not finite.
    """
    if not math.isfinite(ratio) or abs(ratio) >= 2.0**MANTISSA_BITS:
        raise ValueError(f"ratio {ratio} is outside (-2^31, 2^31)")
    if ratio == 0:
        return 0, 0
    _, exponent = math.frexp(ratio)
    shift = min(MANTISSA_BITS - exponent, LARGEST_SHIFT)
    multiplier = round(math.ldexp(ratio, shift))
    if abs(multiplier) == 1 << MANTISSA_BITS:
        multiplier, shift = multiplier // 2, shift - 1
    return (multiplier, shift) if shift >= 0 else (round(ratio), 0)


def clamp_integers(feature: FeatureQuant, clamp: Clamp | None) -> tuple[int, int]:
    """The integers that an output saturates to: its type's, narrowed by a fused ReLU or Clip."""
    low, high = feature.type.lowest, feature.type.highest
    if clamp is not None and clamp.low is not None:
        low = feature.quantize(clamp.low)
    if clamp is not None and clamp.high is not None:
        high = feature.quantize(clamp.high)
    return low, max(low, high)


def _requantize(
    mode: Requantize.Mode.ValueType, output: FeatureQuant, clamp: Clamp | None
) -> Requantize:
    low, high = clamp_integers(output, clamp)
    return Requantize(mode=mode, zero_point=output.zero_point, clamp_min=low, clamp_max=high)


def by_shift(shifts: Sequence[int], output: FeatureQuant, clamp: Clamp | None = None) -> Requantize:
    """Add half, shift right."""
    message = _requantize(Requantize.MODE_SHIFT, output, clamp)
    message.shift.extend(shifts)
    return message


def by_ratio(
    mode: Requantization,
    numerators: Sequence[Sequence[float]],
    output: FeatureQuant,
    clamp: Clamp | None = None,
) -> Requantize:
    """A real ratio per channel:  product of numerators / output scale.

    Args:
        mode: FIXED or FLOAT; FLOAT multiplies and divides in float32, as ONNX Runtime does.
        numerators: for each channel the factors of the accumulator's scale.
        output: the output's quantization.
        clamp: fused bounds.
    """
    if mode is Requantization.FLOAT:
        message = _requantize(Requantize.MODE_FLOAT, output, clamp)
        for factors in numerators:
            product = np.float32(factors[0])
            for factor in factors[1:]:
                product = np.float32(product * np.float32(factor))
            message.scale.append(float(np.float32(product / np.float32(output.scale))))
        return message
    message = _requantize(Requantize.MODE_FIXED, output, clamp)
    for factors in numerators:
        multiplier, shift = fixed_multiplier(math.prod(factors) / output.scale)
        message.multiplier.append(multiplier)
        message.shift.append(shift)
    return message


def by_operand(
    mode: Requantization,
    scales: Sequence[float],
    output: FeatureQuant,
    clamp: Clamp | None = None,
) -> Requantize:
    """A signed scale per operand of a sum; FIXED gives all multipliers one shift."""
    if mode is Requantization.FLOAT:
        message = _requantize(Requantize.MODE_FLOAT, output, clamp)
        message.scale.extend(scales)
        return message
    message = _requantize(Requantize.MODE_FIXED, output, clamp)
    ratios = [scale / output.scale for scale in scales]
    _, exponent = math.frexp(max(abs(ratio) for ratio in ratios))
    shift = max(min(SUM_MANTISSA_BITS - exponent, LARGEST_SHIFT), 0)
    message.multiplier.extend(round(math.ldexp(ratio, shift)) for ratio in ratios)
    message.shift.append(shift)
    return message
