"""How the range of a feature map follows from its statistics."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tidlq.calibration.features import FeatureStatistics
from tidlq.spec import FeatureScales, Range, RangeOrigin

WIDE_PERIOD = 10_000
"""16-bit ranges reach what one frame in so many exceeds: their steps are so fine that a value
outside costs far more than all the rounding."""

SATURATION_WEIGHT = 3.0
"""By how much an error by saturation counts more than one by rounding, where any scale is possible:
few frames show too little of the largest values. AIMET's value. Scales that differ by factors of
two leave room beyond a range as they are."""

_LARGEST_FINITE = 2.0**127
_EULER_GAMMA = 0.5772156649


class RangeRule(enum.Enum):
    """What decides a range.

    MEAN_OF_FRAMES: the mean over frames of each frame's min and max (TIDL's level 0).
    EXTREMES: the smallest min and the largest max of all frames (level 2).
    MSE: least expected squared error, with a weight on what is clipped (level 1).
    PERCENTILE: the central part of the values.
    ENTROPY: least Kullback-Leibler divergence.
    """

    MEAN_OF_FRAMES = "mean of frames"
    EXTREMES = "extremes"
    MSE = "mse"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"

    @property
    def is_search(self) -> bool:
        """The histogram is searched for a range that leaves outliers out."""
        return self in (RangeRule.MSE, RangeRule.PERCENTILE, RangeRule.ENTROPY)


@dataclass(frozen=True)
class RangeSearch:
    """A rule with its parameter.

    Attributes:
        rule: which.
        percent: PERCENTILE: part of the values that is kept.
    """

    rule: RangeRule
    percent: float = 100.0

    def parameter(self, scales: FeatureScales) -> float:
        """MSE: weight of the squared error of what is clipped; PERCENTILE: the percent."""
        if self.rule is RangeRule.MSE:
            return SATURATION_WEIGHT if scales.unit is None else 1.0
        return self.percent


def select_range(search: RangeSearch, feature: FeatureStatistics, scales: FeatureScales) -> Range:
    """Selects the range of one feature map.

    A search is for 8 bits; at 16 bits the extremes are widened instead, see `WIDE_PERIOD`.

    Args:
        search: the rule.
        feature: what calibration saw.
        scales: the scales that the feature map may have.

    Returns:
        A range of origin MEASURED; the order of the frames has no influence.
    """
    if search.rule is RangeRule.MEAN_OF_FRAMES:
        frames = len(feature.frame_minima)
        low, high = (
            math.fsum(feature.frame_minima) / frames,
            math.fsum(feature.frame_maxima) / frames,
        )
        return Range(low, high, RangeOrigin.MEASURED)
    tensor = feature.tensor
    if search.rule is RangeRule.EXTREMES:
        return Range(tensor.min, tensor.max, RangeOrigin.MEASURED)
    if scales.bits > 8:
        return _widened(feature)
    least_shift = _NO_SHIFT if scales.least_shift is None else scales.least_shift
    low, high = tensor.select_range(
        search.rule.value,
        scales.bits,
        scales.asymmetric,
        scales.unit or 0.0,
        least_shift,
        search.parameter(scales),
    )
    return Range(low, high, RangeOrigin.MEASURED)


_NO_SHIFT = -(2**31)


def _widened(feature: FeatureStatistics) -> Range:
    """Both ends moved away from zero, to where few frames come.

    The largest values of frames are taken to have Gumbel's distribution, fitted by its moments:
    with their mean m and deviation d, one frame in n exceeds  m + d sqrt(6) / pi (ln n - 0.5772)
    (Gumbel, "Statistics of Extremes", 1958). Few frames tell little of d, and of what was seen.
    """
    low, high = feature.tensor.min, feature.tensor.max
    below = -_exceeded_rarely([-float(x) for x in feature.frame_minima]) if low < 0 else low
    above = _exceeded_rarely([float(x) for x in feature.frame_maxima]) if high > 0 else high
    return Range(min(below, low), max(above, high), RangeOrigin.MEASURED)


def _exceeded_rarely(largest: Sequence[float]) -> float:
    """A value that one frame in `WIDE_PERIOD` exceeds, by what the largest values of some were.

    The sums are exact: the order of the frames has no influence.
    """
    frames = len(largest)
    if max(largest) >= _LARGEST_FINITE:
        return max(largest)
    mean = math.fsum(largest) / frames
    squares = math.fsum((x - mean) ** 2 for x in largest)
    deviation = math.sqrt(squares / (frames - 1)) if frames > 1 else 0.0
    scale = deviation * math.sqrt(6) / math.pi * (1 + 2 / frames)
    level = mean + scale * (math.log(WIDE_PERIOD) - _EULER_GAMMA)
    least = max(largest) * (1 + 0.5 / math.sqrt(frames))
    return min(max(level, least), _LARGEST_FINITE)


@dataclass
class RangeChoice:
    """Answers a planner that asks for ranges, and remembers the answers.

    Attributes:
        search: rule for what the model does not state.
        statistics: by tensor name.
        stated: ranges that the model states; they win.
        relevant: intervals that hold all that matters, by bits; searched ranges end there.
        chosen: what was answered so far.
    """

    search: RangeSearch
    statistics: Mapping[str, FeatureStatistics]
    stated: Mapping[str, Range]
    relevant: Mapping[int, Mapping[str, Range]] = field(default_factory=dict)
    chosen: dict[str, Range] = field(default_factory=dict)

    def __call__(self, name: str, scales: FeatureScales) -> Range:
        """The range of a feature map with these possible scales."""
        found = self.stated.get(name)
        if found is None:
            found = select_range(self.search, self.statistics[name], scales)
            relevant = self.relevant.get(scales.bits, {}).get(name)
            if relevant is not None and self.search.rule.is_search:
                found = replace(found.clipped(relevant), origin=found.origin)
        self.chosen[name] = found
        return found
