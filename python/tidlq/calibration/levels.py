"""Calibration levels: how the range of a feature follows from its statistics."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping

from tidlq.calibration.features import FeatureStatistics
from tidlq.spec import Range, RangeOrigin


class CalibrationLevel(enum.Enum):
    """TIDL's `accuracy_level`, by its number."""

    MEAN_OF_FRAMES = 0
    EXTREMES = 2


def select_ranges(
    level: CalibrationLevel, statistics: Mapping[str, FeatureStatistics]
) -> dict[str, Range]:
    """Selects one range per feature.

    Level 0: min = mean over frames of the frame's min, max = mean over frames of the frame's max.
    Level 2: the smallest min and the largest max of all frames.

    Args:
        level: which rule.
        statistics: features that `measure_features` saw, by tensor name.

    Returns:
        Ranges of origin MEASURED, by tensor name. Exact but for one rounding to float32; the order
        of the frames has no influence.
    """
    rule = _RULES[level]
    return {name: rule(feature) for name, feature in statistics.items()}


def _mean_of_frames(feature: FeatureStatistics) -> Range:
    frames = len(feature.frame_minima)
    return Range(
        math.fsum(feature.frame_minima) / frames,
        math.fsum(feature.frame_maxima) / frames,
        RangeOrigin.MEASURED,
    )


def _extremes(feature: FeatureStatistics) -> Range:
    return Range(feature.tensor.min, feature.tensor.max, RangeOrigin.MEASURED)


_RULES: Mapping[CalibrationLevel, Callable[[FeatureStatistics], Range]] = {
    CalibrationLevel.MEAN_OF_FRAMES: _mean_of_frames,
    CalibrationLevel.EXTREMES: _extremes,
}
