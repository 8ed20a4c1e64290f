from __future__ import annotations

import numpy as np
import pytest

from tidlq._core import TensorStatistics
from tidlq.calibration import CalibrationLevel, FeatureStatistics, select_ranges
from tidlq.spec import Range, RangeOrigin


def feature_of(*frames: list[float]) -> FeatureStatistics:
    tensor = TensorStatistics()
    extremes = [tensor.update(np.array(frame, np.float32)) for frame in frames]
    minima, maxima = np.array(extremes, np.float32).T
    return FeatureStatistics(tensor, minima, maxima)


def test_level_0_is_the_mean_of_the_frames_extremes():
    statistics = {"x": feature_of([-1, 2], [-3, 6], [1, 4])}
    ranges = select_ranges(CalibrationLevel.MEAN_OF_FRAMES, statistics)
    assert ranges == {"x": Range(-1, 4, RangeOrigin.MEASURED)}


def test_level_2_is_the_extremes_of_all_frames():
    statistics = {"x": feature_of([-1, 2], [-3, 6], [1, 4])}
    ranges = select_ranges(CalibrationLevel.EXTREMES, statistics)
    assert ranges == {"x": Range(-3, 6, RangeOrigin.MEASURED)}


@pytest.mark.parametrize("level", list(CalibrationLevel))
def test_the_order_of_frames_has_no_influence(level):
    rng = np.random.default_rng(5)
    frames = [list(rng.normal(scale=10.0**i, size=9)) for i in range(-6, 7)]
    forward = select_ranges(level, {"x": feature_of(*frames)})
    assert select_ranges(level, {"x": feature_of(*frames[::-1])}) == forward


@pytest.mark.parametrize("level", list(CalibrationLevel))
def test_a_constant_feature_has_an_empty_interval(level):
    assert select_ranges(level, {"x": feature_of([0.1], [0.1], [0.1])})["x"] == Range(0.1, 0.1)


def test_levels_bear_tidls_numbers():
    assert [level.value for level in CalibrationLevel] == [0, 2]
