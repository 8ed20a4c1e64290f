"""Windows of Resize that are wider than two positions: cubic ones, and those that filter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.interpolation import AxisWindows

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class WindowRule:
    """How the positions around a place are weighted.

    Attributes:
        is_cubic: by a cubic function of the distance that is 0 from 2 on; else by a linear one that
            is 0 from 1 on.
        coefficient: of the cubic function.
        filters: where the output is smaller, distances shrink by the ratio of the sizes.
        excludes_outside: positions outside have no weight; else they count as those at the edge.
    """

    is_cubic: bool
    coefficient: float = -0.75
    filters: bool = False
    excludes_outside: bool = False

    @property
    def reach(self) -> int:
        """Distance from which on there is no weight."""
        return 2 if self.is_cubic else 1

    def weight(self, distance: float) -> float:
        """Weight at a distance, before weights are divided by their sum."""
        d, a = abs(distance), self.coefficient
        if not self.is_cubic:
            return max(0.0, 1.0 - d)
        if d <= 1:
            return ((a + 2) * d - (a + 3)) * d * d + 1
        return (((d - 5) * d + 8) * d - 4) * a if d < self.reach else 0.0


def axis_windows(
    axis: int, size: int, places: NDArray[np.float32], scale: float, rule: WindowRule
) -> AxisWindows | None:
    """The window of every output position along an axis, in float64.

    Args:
        axis: logical axis.
        size: of the input.
        places: float32 [outputs], in positions of the input; may lie outside. Where NaN, nothing
            has a weight.
        scale: of the output to the input.
        rule: for the weights.

    Returns:
        Windows of equally many positions; None where no position around a place has a weight.
    """
    stretch = max(1.0 / scale, 1.0) if rule.filters else 1.0
    rows = [_shares(float(place), size, stretch, rule) for place in places]
    if any(row is None for row in rows):
        return None
    shares = np.stack([row for row in rows if row is not None])
    used = shares != 0
    first = np.argmax(used, axis=1)
    last = np.where(used.any(axis=1), size - 1 - np.argmax(used[:, ::-1], axis=1), 0)
    taps = int((last - first).max()) + 1
    first = np.minimum(first, size - taps)
    positions = first[:, np.newaxis] + np.arange(taps)
    return AxisWindows(
        axis,
        tuple(map(tuple, positions.tolist())),
        tuple(map(tuple, np.take_along_axis(shares, positions, axis=1).tolist())),
    )


def _shares(place: float, size: int, stretch: float, rule: WindowRule) -> Float64 | None:
    """Share of every position of the input: float64 [size], with the sum 1 or all 0."""
    reach = rule.reach * stretch
    if math.isnan(place):
        return np.zeros(size)
    if rule.filters:
        low, high = math.floor(place - reach + 1), math.floor(place + reach + 1)
    else:
        low, high = math.floor(place) - rule.reach + 1, math.floor(place) + rule.reach + 1
    shares = np.zeros(size)
    for position in range(low, high):
        weight = rule.weight((position - place) / stretch)
        if 0 <= position < size or not rule.excludes_outside:
            shares[min(max(position, 0), size - 1)] += weight
    total = shares.sum()
    return None if total == 0 else shares / total
