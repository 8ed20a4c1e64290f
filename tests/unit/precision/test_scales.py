"""Scales from ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.precision.scales import (
    DEAD_FEATURE_SCALE,
    LARGEST_SCALE,
    SMALLEST_SCALE,
    asymmetric_feature,
    is_fitting,
    parameter_scales,
    shifted_feature,
    symmetric_feature,
)
from tidlq.quantproto import tidl_scale
from tidlq.spec import Range, ScaleRule


def parameter_scale(largest: float, rule: ScaleRule, *, full_code: bool) -> float:
    (scale,) = parameter_scales(np.array([largest]), 8, rule, full_code=full_code)
    return float(scale)


finite = st.floats(-(2.0**99), 2.0**99, allow_nan=False, width=32)
ranges = st.tuples(finite, finite).map(lambda pair: Range(min(pair), max(pair)))


def test_published_sample_weight_scale() -> None:
    scale = parameter_scale(float(np.float32(0.00886716694)), ScaleRule.REAL, full_code=True)
    assert tidl_scale(scale) == 14435.275390625


def test_published_sample_output_scale_and_largest_code() -> None:
    weight = parameter_scale(float(np.float32(0.00886716694)), ScaleRule.REAL, full_code=True)
    feature, shift = shifted_feature(Range(0.0, 4.09663105), 1.0 * weight, 8)
    assert shift == 8
    assert not feature.type.signed
    assert tidl_scale(feature.scale) == 56.387794494628906
    assert feature.quantize(4.09663105) == 231


@pytest.mark.parametrize("rule", [ScaleRule.REAL, ScaleRule.POWER_OF_TWO])
def test_published_sample_input_scale_is_one(rule: ScaleRule) -> None:
    feature = symmetric_feature(Range(0.0, 255.0), 8, rule)
    assert (feature.scale, feature.zero_point, feature.type.signed) == (1.0, 0, False)


def test_power_of_two_parameter_scale_is_the_next_coarser_one() -> None:
    assert parameter_scale(1.0, ScaleRule.POWER_OF_TWO, full_code=True) == 2.0**-7
    assert parameter_scale(1.01, ScaleRule.POWER_OF_TWO, full_code=True) == 2.0**-6


def test_a_parameter_of_zeros_has_scale_one() -> None:
    assert parameter_scale(0.0, ScaleRule.REAL, full_code=False) == 1.0


def test_a_range_without_extent_has_a_small_scale() -> None:
    assert asymmetric_feature(Range(0.0, 0.0), 8).scale == DEAD_FEATURE_SCALE
    assert symmetric_feature(Range(0.0, 0.0), 8, ScaleRule.REAL).scale == DEAD_FEATURE_SCALE


def test_scales_of_absurd_ranges_stay_within_their_limits() -> None:
    widest = Range(-3e38, 3e38)
    assert asymmetric_feature(widest, 8).scale <= LARGEST_SCALE
    with pytest.raises(ValueError, match="too large"):
        shifted_feature(widest, 1e60, 8)
    feature, shift = shifted_feature(Range(0.0, 1e-38), 1e-33, 8)
    assert feature.scale == float(np.float32(math.ldexp(1e-33, shift)))
    assert feature.scale >= SMALLEST_SCALE


def test_a_denormal_range_keeps_a_usable_scale() -> None:
    feature = asymmetric_feature(Range(0.0, 1e-40), 8)
    assert feature.scale > 0
    assert math.isfinite(1.0 / feature.scale)


@given(ranges, st.sampled_from([8, 16]))
def test_asymmetric_features_represent_zero_exactly_and_cover_the_range(
    value_range: Range, bits: int
) -> None:
    feature = asymmetric_feature(value_range, bits)
    assert feature.quantize(0.0) == feature.zero_point
    assert float(np.float32(feature.scale)) == feature.scale
    # One step at either end: zero is moved to the nearest integer.
    low = (feature.type.lowest - feature.zero_point - 1) * feature.scale
    high = (feature.type.highest - feature.zero_point + 1) * feature.scale
    assert low <= value_range.min
    assert value_range.max <= high


@given(ranges, st.sampled_from([8, 16]))
def test_power_of_two_features_are_the_finest_that_fit(value_range: Range, bits: int) -> None:
    feature = symmetric_feature(value_range, bits, ScaleRule.POWER_OF_TWO)
    assert math.frexp(feature.scale)[0] == 0.5
    widened = value_range.with_zero()
    assert is_fitting(widened, feature.scale, feature.type)
    if widened.absolute_max > 1e-25:
        assert not is_fitting(widened, feature.scale / 2, feature.type)


@given(
    st.lists(st.floats(2.0**-80, 2.0**80), min_size=1, max_size=5),
    st.sampled_from([8, 16]),
    st.sampled_from([ScaleRule.REAL, ScaleRule.POWER_OF_TWO]),
    st.booleans(),
)
def test_parameter_scales_use_the_integers_of_their_width(
    largest: list[float], bits: int, rule: ScaleRule, full_code: bool
) -> None:
    array = np.array(largest)
    codes = array / parameter_scales(array, bits, rule, full_code=full_code)
    highest = 2 ** (bits - 1) - (0 if full_code else 1)
    assert np.all(codes <= highest * (1 + 2.0**-23))
    least = highest / 2 if rule is ScaleRule.POWER_OF_TWO else highest
    assert np.all(codes >= least * (1 - 2.0**-23))


@given(ranges, st.floats(1e-12, 1e6), st.sampled_from([8, 16]))
def test_shifted_features_are_the_finest_right_shift_that_fits(
    value_range: Range, accumulator_scale: float, bits: int
) -> None:
    feature, shift = shifted_feature(value_range, accumulator_scale, bits)
    exact = math.ldexp(accumulator_scale, shift)
    widened = value_range.with_zero()
    assert shift >= 0
    assert feature.scale == float(np.float32(exact))
    assert is_fitting(widened, exact, feature.type)
    if shift > 0:
        assert not is_fitting(widened, exact / 2, feature.type)
