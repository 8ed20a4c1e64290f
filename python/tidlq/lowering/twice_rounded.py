"""Requantization numbers as LiteRT's reference kernels make them.

A real ratio becomes a 31-bit multiplier and a power of two; the product is rounded after the
multiplication and once more after the shift. LiteRT multiplies scales in float32 in some kernels
and in float64 in others, which decides the last bits of a multiplier: every function here says
which.

Source: tflite/kernels/internal/quantization_util.cc, kernel_util.cc and the kernels' Prepare
functions in LiteRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import Clamp
from tidlq.lowering.network_pb2 import Requantize
from tidlq.spec import FeatureQuant

Float64 = NDArray[np.float64]

MANTISSA_BITS = 31
LARGEST_SHIFT = 31
LEAST_EXPONENT = -31
_REDUCED_BITS = 16
_REDUCED_LARGEST = 0x7FFF0000
_SUM_LEFT_SHIFT = {8: 20, 16: 15}


def round_away(values: Float64) -> Float64:
    """Nearest integers, halves away from zero; exact."""
    whole = np.trunc(values)
    return np.asarray(whole + np.sign(values) * (np.abs(values - whole) >= 0.5), np.float64)


def scale_ratio(*factors: float, over: float) -> float:
    """product(factors) / over, multiplied and divided in float32 from left to right."""
    product = np.float32(factors[0])
    with np.errstate(over="ignore"):
        for factor in factors[1:]:
            product = np.float32(product * np.float32(factor))
        return float(np.float32(product / np.float32(over)))


@dataclass(frozen=True)
class Multiplier:
    """mantissa * 2^(exponent - 31), rounded twice when multiplied with.

    Attributes:
        mantissa: 2^30 .. 2^31 - 1 in magnitude, or 0.
        exponent: -31 or more; positive: the accumulator is shifted left first.
    """

    mantissa: int
    exponent: int

    @property
    def left_shift(self) -> int:
        """Bits that the accumulator is shifted left by before the product."""
        return min(max(self.exponent, 0), LARGEST_SHIFT)

    @property
    def shift(self) -> int:
        """Bits that the product is shifted right by."""
        return max(-self.exponent, 0)


def quantize_multipliers(ratios: Float64) -> list[Multiplier]:
    """The multipliers nearest to real ratios, halves away from zero; tiny ones become 0.

    Args:
        ratios: float64 [n], finite.
    """
    fractions, exponents = np.frexp(ratios)
    mantissas = round_away(np.ldexp(fractions, MANTISSA_BITS)).astype(np.int64)
    rounded_up = mantissas == 1 << MANTISSA_BITS
    mantissas = np.where(rounded_up, mantissas // 2, mantissas)
    exponents = exponents.astype(np.int64) + rounded_up
    is_tiny = exponents < LEAST_EXPONENT
    # LiteRT would hand -2^31 on, which its arithmetic cannot negate.
    mantissas = np.maximum(np.where(is_tiny, 0, mantissas), -(2**MANTISSA_BITS - 1))
    pairs = zip(mantissas.tolist(), np.where(is_tiny, 0, exponents).tolist(), strict=True)
    return [Multiplier(mantissa, exponent) for mantissa, exponent in pairs]


def quantize_multiplier(ratio: float) -> Multiplier:
    """The multiplier nearest to a real ratio."""
    return quantize_multipliers(np.array([ratio]))[0]


def clamp_bounds(feature: FeatureQuant, clamp: Clamp | None) -> tuple[int, int]:
    """The integers that an output saturates to.

        bound = zero_point + round_half_away(float32(value) / float32(scale))

    Args:
        feature: the output's quantization.
        clamp: a fused activation.
    """
    low, high = feature.type.lowest, feature.type.highest
    if clamp is not None and clamp.low is not None:
        low = min(max(low, _bound(feature, clamp.low)), high)
    if clamp is not None and clamp.high is not None:
        high = max(min(high, _bound(feature, clamp.high)), low)
    return low, high


def _bound(feature: FeatureQuant, value: float) -> int:
    steps = np.float32(value) / np.float32(feature.scale)
    # Beyond any type: a tiny scale may make the quotient infinite.
    limited = min(max(float(steps), -(2.0**31)), 2.0**31)
    return int(round_away(np.array([limited]))[0]) + feature.zero_point


def _requantize(
    mode: Requantize.Mode.ValueType, output: FeatureQuant, clamp: Clamp | None
) -> Requantize:
    low, high = clamp_bounds(output, clamp)
    return Requantize(mode=mode, zero_point=output.zero_point, clamp_min=low, clamp_max=high)


def by_multipliers(
    multipliers: Sequence[Multiplier], output: FeatureQuant, clamp: Clamp | None = None
) -> Requantize:
    """One multiplier, or one per channel."""
    message = _requantize(Requantize.MODE_TWICE_ROUNDED, output, clamp)
    message.multiplier.extend(m.mantissa for m in multipliers)
    message.left_shift.extend(m.left_shift for m in multipliers)
    message.shift.extend(m.shift for m in multipliers)
    return message


def by_real_ratio(ratio: float, output: FeatureQuant, clamp: Clamp | None = None) -> Requantize:
    """A single real ratio."""
    return by_multipliers([quantize_multiplier(ratio)], output, clamp)


def by_quotient(output: FeatureQuant, clamp: Clamp | None = None) -> Requantize:
    """The quotient of a sum of integers as they are."""
    return _requantize(Requantize.MODE_QUOTIENT, output, clamp)


def by_double(ratios: Float64, output: FeatureQuant, clamp: Clamp | None = None) -> Requantize:
    """One rounding of a product in float64."""
    message = _requantize(Requantize.MODE_DOUBLE, output, clamp)
    message.double_scale.extend(ratios.tolist())
    return message


def weight_ratios(
    source: FeatureQuant, scales: Sequence[float], output: FeatureQuant, *, in_single: bool = False
) -> Float64:
    """The accumulator's scale over the output's, per channel: float64 [channels].

    Args:
        source: the input's quantization.
        scales: of the weight; one, or one per channel.
        output: the output's quantization.
        in_single: the product of scales is rounded to float32.
    """
    products = np.asarray(scales, np.float64) * source.scale
    if in_single:
        products = products.astype(np.float32).astype(np.float64)
    return np.asarray(products / output.scale, np.float64)


def by_weights(
    ratios: Float64, output: FeatureQuant, clamp: Clamp | None = None, *, has_wide_sums: bool
) -> Requantize:
    """Of a convolution or a product of matrices.

    Args:
        ratios: float64, one, or one per channel.
        output: the output's quantization.
        clamp: a fused activation.
        has_wide_sums: the accumulator has 64 bits; then the multiplier is cut to 16 bits and the
            product rounded once.
    """
    multipliers = quantize_multipliers(ratios)
    if has_wide_sums:
        return _by_reduced_multipliers(multipliers, output, clamp)
    return by_multipliers(multipliers, output, clamp)


def _by_reduced_multipliers(
    multipliers: Sequence[Multiplier], output: FeatureQuant, clamp: Clamp | None
) -> Requantize:
    message = _requantize(Requantize.MODE_FIXED, output, clamp)
    for multiplier in multipliers:
        half = 1 << (_REDUCED_BITS - 1)
        reduced = min(multiplier.mantissa + half, _REDUCED_LARGEST) >> _REDUCED_BITS
        shift = MANTISSA_BITS - _REDUCED_BITS - multiplier.exponent
        # A ratio above 2^15 saturates whatever it meets but 0.
        message.multiplier.append(reduced if shift >= 0 else 2**MANTISSA_BITS - 1)
        message.shift.append(max(shift, 0))
    return message


def by_sum(
    operands: Sequence[FeatureQuant], output: FeatureQuant, clamp: Clamp | None = None
) -> Requantize:
    """Of a sum: each operand in half the steps of the coarsest one, shifted left, then the sum.

    Scales are divided in float64; twice the largest one is exact in float32.
    """
    left_shift = _SUM_LEFT_SHIFT[output.type.bits]
    unit = 2.0 * max(operand.scale for operand in operands)
    ratios = [operand.scale / unit for operand in operands]
    scaled = quantize_multipliers(np.array(ratios))
    total = quantize_multiplier(unit / (2.0**left_shift * output.scale))
    message = by_multipliers([*scaled, total], output, clamp)
    for index in range(len(operands)):
        message.left_shift[index] = left_shift
    return message


def by_mean(
    source: FeatureQuant, count: int, output: FeatureQuant, clamp: Clamp | None = None
) -> Requantize:
    """Of the mean of `count` elements: the multiplier is divided by their number, rounding down.

    The ratio of the scales is in float64.
    """
    multiplier = quantize_multiplier(source.scale / output.scale)
    shift = min(count.bit_length() - 1, 32, 31 + multiplier.exponent)
    divided = Multiplier((multiplier.mantissa << shift) // count, multiplier.exponent - shift)
    return by_multipliers([divided], output, clamp)
