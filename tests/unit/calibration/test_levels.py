from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tidlq._core import TensorStatistics
from tidlq.calibration import (
    FeatureStatistics,
    RangeChoice,
    RangeRule,
    RangeSearch,
    select_range,
)
from tidlq.spec import FeatureScales, Range, RangeOrigin

EIGHT = FeatureScales(8, asymmetric=True)
SIXTEEN = FeatureScales(16, asymmetric=True)


def feature_of(*frames: list[float]) -> FeatureStatistics:
    tensor = TensorStatistics()
    extremes = [tensor.update(np.array(frame, np.float32)) for frame in frames]
    minima, maxima = np.array(extremes, np.float32).T
    return FeatureStatistics(tensor, minima, maxima)


def search(rule: RangeRule) -> RangeSearch:
    return RangeSearch(rule, 99.0)


def test_level_0_is_the_mean_of_the_frames_extremes():
    feature = feature_of([-1, 2], [-3, 6], [1, 4])
    found = select_range(RangeSearch(RangeRule.MEAN_OF_FRAMES), feature, EIGHT)
    assert found == Range(-1, 4, RangeOrigin.MEASURED)


def test_level_2_is_the_extremes_of_all_frames():
    feature = feature_of([-1, 2], [-3, 6], [1, 4])
    found = select_range(RangeSearch(RangeRule.EXTREMES), feature, EIGHT)
    assert found == Range(-3, 6, RangeOrigin.MEASURED)


@pytest.mark.parametrize("rule", list(RangeRule))
def test_the_order_of_frames_has_no_influence(rule):
    rng = np.random.default_rng(5)
    frames = [list(rng.normal(scale=10.0**i, size=9)) for i in range(-6, 7)]
    forward = select_range(search(rule), feature_of(*frames), EIGHT)
    assert select_range(search(rule), feature_of(*frames[::-1]), EIGHT) == forward


@pytest.mark.parametrize("rule", list(RangeRule))
def test_a_constant_feature_has_an_empty_interval(rule):
    feature = feature_of([0.1], [0.1], [0.1])
    assert select_range(search(rule), feature, EIGHT) == Range(0.1, 0.1)


@pytest.mark.parametrize("rule", [rule for rule in RangeRule if rule.is_search])
def test_a_search_leaves_room_beyond_the_extremes_at_16_bits(rule):
    found = select_range(search(rule), feature_of([-2, 4]), SIXTEEN)
    assert found == Range(-3, 6, RangeOrigin.MEASURED)


def test_the_room_never_moves_an_end_across_zero_or_out_of_float32():
    rule = RangeSearch(RangeRule.MSE)
    assert select_range(rule, feature_of([1, 4]), SIXTEEN) == Range(1, 6)
    huge = float(np.finfo(np.float32).max)
    assert select_range(rule, feature_of([-huge, huge]), SIXTEEN) == Range(-huge, huge)


def test_frames_that_differ_ask_for_more_room_at_16_bits_than_frames_that_agree():
    rule = RangeSearch(RangeRule.MSE)
    agreeing = [[-1, 4 - 0.01 * (k % 3)] for k in range(50)]
    differing = [[-1, 4 - (k % 3)] for k in range(50)]
    small, large = (select_range(rule, feature_of(*x), SIXTEEN) for x in (agreeing, differing))
    assert 4 < small.max < 4.5 < 7 < large.max
    assert small.min == large.min < -1


def test_a_gumbel_sample_is_exceeded_by_one_frame_in_ten_thousand():
    rng = np.random.default_rng(3)
    frames = rng.gumbel(10, 1, (400, 1)).astype(np.float32).tolist()
    found = select_range(RangeSearch(RangeRule.MSE), feature_of(*frames), SIXTEEN)
    # Its quantile is 10 + ln 10000; three standard errors of a deviation from 400 frames.
    assert abs(found.max - (10 + np.log(10_000))) < 3 * np.log(10_000) / np.sqrt(400)


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_room_at_16_bits_holds_what_was_seen_in_whatever_order(values):
    rule = RangeSearch(RangeRule.MSE)
    frames = [[float(x)] for x in values]
    found = select_range(rule, feature_of(*frames), SIXTEEN)
    assert found == select_range(rule, feature_of(*frames[::-1]), SIXTEEN)
    assert found.min <= values.min() <= values.max() <= found.max
    assert (found.min < 0) == (values.min() < 0)
    assert (found.max > 0) == (values.max() > 0)


def test_what_the_model_states_wins_and_is_remembered():
    stated = Range(0, 6, RangeOrigin.STATED)
    statistics = {"x": feature_of([-1, 2]), "y": feature_of([-1, 2])}
    choice = RangeChoice(RangeSearch(RangeRule.EXTREMES), statistics, {"x": stated})
    assert choice("x", EIGHT) is stated
    assert choice("y", EIGHT) == Range(-1, 2)
    assert choice.chosen == {"x": stated, "y": Range(-1, 2)}


def test_rare_large_values_weigh_more_where_a_scale_may_be_any_number():
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(0, 1, 20_000), rng.uniform(4, 12, 40)])
    feature = feature_of(values.astype(np.float32).tolist())
    free, doubling = FeatureScales(8, asymmetric=True), FeatureScales(8, unit=1.0)
    chosen = select_range(RangeSearch(RangeRule.MSE), feature, free)
    unweighted = feature.tensor.select_range("mse", 8, True, 0.0, -(2**31), 1.0)
    assert unweighted[1] < chosen.max < 12
    of_powers = select_range(RangeSearch(RangeRule.MSE), feature, doubling)
    low, high = feature.tensor.select_range("mse", 8, False, 1.0, -(2**31), 1.0)
    assert (of_powers.min, of_powers.max) == (low, high)
