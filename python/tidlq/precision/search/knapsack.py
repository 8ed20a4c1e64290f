"""The multiple-choice knapsack: one option of each class, the most gain for each budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

MOST_CHOICES = 1 << 15
"""Undominated choices that are kept; beyond, the ones nearest in cost are joined."""


@dataclass(frozen=True)
class Choice:
    """One option per class.

    Attributes:
        options: index of each class's option.
        cost, gain: their sums.
    """

    options: tuple[int, ...]
    cost: float
    gain: float


def solve_knapsack(classes: Sequence[Sequence[tuple[float, float]]], budget: float) -> list[Choice]:
    """All undominated choices within a budget, from the cheapest to the most gain.

    Classes are added one by one, and of the partial choices only those are kept that no other
    equals in gain at less cost. The result is exact as long as `MOST_CHOICES` are enough.

    Args:
        classes: options as (cost, gain); costs are not negative, and each class has a free option.
        budget: of the sum of costs.

    Returns:
        Each has more gain than the one before; the last is the best of the budget.
    """
    cost, gain = np.zeros(1), np.zeros(1)
    steps: list[tuple[NDArray[np.int32], NDArray[np.int16]]] = []
    for options in classes:
        costs = np.concatenate([cost + extra for extra, _ in options])
        gains = np.concatenate([gain + extra for _, extra in options])
        kept = _undominated(costs, gains, budget)
        steps.append(((kept % len(cost)).astype(np.int32), (kept // len(cost)).astype(np.int16)))
        cost, gain = costs[kept], gains[kept]
    return [
        Choice(_options(steps, index), float(cost[index]), float(gain[index]))
        for index in range(len(cost))
    ]


def _undominated(costs: Float64, gains: Float64, budget: float) -> NDArray[np.int64]:
    """Indices of what fits and gains more than everything cheaper, by cost."""
    order = np.lexsort((-gains, costs))
    order = order[costs[order] <= budget]
    best = np.maximum.accumulate(gains[order])
    is_better = np.concatenate([[True], gains[order][1:] > best[:-1]])
    kept: NDArray[np.int64] = order[is_better]
    if len(kept) <= MOST_CHOICES:
        return kept
    span = max(budget, np.finfo(float).tiny)
    bins = np.minimum(costs[kept] / span * (MOST_CHOICES - 1), MOST_CHOICES - 1).astype(np.int64)
    # The last of each bin has the most gain in it.
    is_last = np.concatenate([bins[1:] != bins[:-1], [True]])
    is_last[0] = True
    thinned: NDArray[np.int64] = kept[is_last]
    return thinned


def _options(
    steps: Sequence[tuple[NDArray[np.int32], NDArray[np.int16]]], index: int
) -> tuple[int, ...]:
    options: list[int] = []
    for parents, taken in reversed(steps):
        options.append(int(taken[index]))
        index = int(parents[index])
    return tuple(reversed(options))
