"""Scales from ranges, one function per rule.

Every scale is returned as a float32 value between `SMALLEST_SCALE` and `LARGEST_SCALE`, so that its
reciprocal and its products with other scales stay normal numbers. A feature map without extent (a
dead layer) gets `DEAD_FEATURE_SCALE`: the biases that follow are multiples of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tidlq.spec import FeatureQuant, IntegerType, Range, ScaleRule

Float64 = NDArray[np.float64]

SMALLEST_SCALE = 2.0**-100
LARGEST_SCALE = 2.0**122
DEAD_FEATURE_SCALE = 2.0**-16


def _float32(scale: float) -> float:
    return float(np.float32(min(max(scale, SMALLEST_SCALE), LARGEST_SCALE)))


def feature_type(value_range: Range, bits: int) -> IntegerType:
    """Symmetric features: unsigned where the range has no negative values, else signed."""
    return IntegerType(bits, signed=value_range.min < 0)


def is_fitting(value_range: Range, scale: float, type_: IntegerType) -> bool:
    """Both ends of a range round to integers of the type:  lowest <= round(x / scale) <= highest.

    Halves count as rounded up, as the engine does.
    """
    low = math.floor(value_range.min / scale + 0.5)
    high = math.floor(value_range.max / scale + 0.5)
    return type_.lowest <= low and high <= type_.highest


def symmetric_feature(value_range: Range, bits: int, rule: ScaleRule) -> FeatureQuant:
    """A feature map with zero point 0 whose scale no accumulator restricts.

    REAL: scale = max / highest (unsigned) or max(|min|, |max|) / highest (signed).
    POWER_OF_TWO: the smallest power of two whose integers reach both ends of the range.
    """
    value_range = value_range.with_zero()
    type_ = feature_type(value_range, bits)
    if value_range.absolute_max == 0:
        return FeatureQuant(type_, DEAD_FEATURE_SCALE)
    real = value_range.absolute_max / type_.highest
    if rule is not ScaleRule.POWER_OF_TWO:
        return FeatureQuant(type_, _float32(real))
    scale = 2.0 ** (math.floor(math.log2(real)) - 1)
    while not is_fitting(value_range, scale, type_):
        scale *= 2
    return FeatureQuant(type_, _float32(scale))


def asymmetric_feature(value_range: Range, bits: int) -> FeatureQuant:
    """A feature map with a zero point:  scale = (max - min) / (2^bits - 1).

    The range is widened to contain zero, which is represented exactly:
    zero point = round(-min / scale). Unsigned.
    """
    value_range = value_range.with_zero()
    type_ = IntegerType(bits, signed=False)
    extent = value_range.max - value_range.min
    if extent == 0:
        return FeatureQuant(type_, DEAD_FEATURE_SCALE)
    scale = _float32(extent / type_.highest)
    zero_point = min(max(round(-value_range.min / scale), 0), type_.highest)
    return FeatureQuant(type_, scale, zero_point)


def next_power_of_two(values: Float64) -> Float64:
    """The smallest power of two that is not below each value: float64 [n], positive."""
    mantissas, exponents = np.frexp(values)
    return np.asarray(np.ldexp(1.0, exponents - (mantissas == 0.5)), np.float64)


def parameter_scales(largest: Float64, bits: int, rule: ScaleRule, *, full_code: bool) -> Float64:
    """Scales of a symmetric parameter, float32 values as float64 [n].

    Args:
        largest: float64 [n]. Largest magnitude of the parameter, or of each channel; 0 gives 1.
        bits: width of the integer.
        rule: REAL, or POWER_OF_TWO: the next coarser power of two.
        full_code: TIDL's symmetric schemes map the largest magnitude to 2^(bits-1), which saturates
            by one step on the positive side; otherwise it maps to 2^(bits-1) - 1.
    """
    codes = 1 << (bits - 1)
    scales = np.where(largest == 0, 1.0, largest / (codes if full_code else codes - 1))
    if rule is ScaleRule.POWER_OF_TWO:
        scales = next_power_of_two(scales)
    return np.maximum(scales, SMALLEST_SCALE).astype(np.float32).astype(np.float64)


def shifted_feature(
    value_range: Range, accumulator_scale: float, bits: int, least_shift: int = 0
) -> tuple[FeatureQuant, int]:
    """The finest scale  accumulator_scale * 2^shift,  shift >= least_shift,  that fits a range.

    Returns:
        The feature's quantization and the shift in bits.

    Raises:
        ValueError: The accumulator's own scale is beyond `LARGEST_SCALE`.
    """
    if accumulator_scale > LARGEST_SCALE:
        raise ValueError(f"an accumulator scale of {accumulator_scale:g} is too large")
    value_range = value_range.with_zero()
    type_ = feature_type(value_range, bits)
    shift = least_shift
    if value_range.absolute_max > 0:
        real = value_range.absolute_max / (type_.highest + 1)
        shift = max(least_shift, math.floor(math.log2(real / accumulator_scale)) - 1)
    scale = math.ldexp(accumulator_scale, shift)
    while scale < SMALLEST_SCALE or not is_fitting(value_range, scale, type_):
        shift, scale = shift + 1, scale * 2
    return FeatureQuant(type_, _float32(scale)), shift
