"""Choices of states that measured gains propose for a budget.

Gains of single groups are taken as additive, costs as they are: the knapsack takes the cost of each
group alone, so its choices are made to fit the true cost and polished under it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

from tidlq.precision.cost import StateCosts
from tidlq.precision.groups import GroupState, PrecisionGroup
from tidlq.precision.search.knapsack import solve_knapsack
from tidlq.precision.search.measured import States

Gains = Mapping[tuple[str, GroupState], float]
"""How much error a group in a state takes away, by the group's name."""

_SCALED_BUDGETS = (1.0, 0.9, 0.8, 0.65, 0.5, 1.15)
_MOST_MOVES = 50
_TRIED_EXCHANGES = 1_000


def propose(costs: StateCosts, gains: Gains, budget: float) -> list[dict[str, GroupState]]:
    """Choices within a budget, those with the most gain first.

    Args:
        costs: true costs.
        gains: of each group's states other than NARROW; negative ones are not taken.
        budget: in milliseconds.
    """
    found: dict[tuple[tuple[str, str], ...], dict[str, GroupState]] = {}
    base = costs.narrow
    classes = [list(_options(costs, gains, group)) for group in costs.groups]
    solved = solve_knapsack(
        [[(cost, gain) for cost, gain, _ in options] for options in classes], _room(budget, base)
    )
    for scale in _SCALED_BUDGETS:
        limit = _room(budget, base) * scale
        choice = next((c for c in reversed(solved) if c.cost <= limit), solved[0])
        states: dict[str, GroupState] = {
            group.name: classes[index][option][2]
            for index, (group, option) in enumerate(zip(costs.groups, choice.options, strict=True))
            if option
        }
        states = _polished(costs, gains, _fitting(costs, gains, states, budget), budget)
        found.setdefault(tuple(sorted((n, s.value) for n, s in states.items())), states)
    return sorted(found.values(), key=lambda x: (-total_gain(gains, x), costs.cost(x)))


def total_gain(gains: Gains, states: States) -> float:
    """The sum of the gains of a choice."""
    return sum(gains.get((name, state), 0.0) for name, state in states.items())


def noise_left(groups: Iterable[PrecisionGroup], gains: Gains, states: States) -> float:
    """The noise that gains say a choice leaves, beyond that of 16 bits: the sum over its groups.

    Args:
        groups: of the network.
        gains: of their states.
        states: the choice.
    """
    left = (
        gains.get((group.name, group.states[-1]), 0.0)
        - gains.get((group.name, states.get(group.name, GroupState.NARROW)), 0.0)
        for group in groups
    )
    # A few frames may show less error with a group's noise than without.
    return math.fsum(max(noise, 0.0) for noise in left)


def changed(states: States, name: str, state: GroupState) -> dict[str, GroupState]:
    """A choice with one group in another state."""
    other = {**states, name: state}
    if state is GroupState.NARROW:
        del other[name]
    return other


def _room(budget: float, base: float) -> float:
    return max(budget - base, 0.0)


def _options(
    costs: StateCosts, gains: Gains, group: PrecisionGroup
) -> Iterator[tuple[float, float, GroupState]]:
    """Cost, gain and state of what a group can be; NARROW first."""
    yield 0.0, 0.0, GroupState.NARROW
    for state in group.states[1:]:
        gain = gains.get((group.name, state), 0.0)
        if gain > 0:
            yield max(costs.cost({group.name: state}) - costs.narrow, 0.0), gain, state


def _fitting(
    costs: StateCosts, gains: Gains, states: dict[str, GroupState], budget: float
) -> dict[str, GroupState]:
    """The choice without the groups that gain least for what they cost, until it fits."""
    cost = costs.cost(states)
    while cost > budget and states:
        rest = [changed(states, name, GroupState.NARROW) for name in states]
        lost = [gains.get((name, state), 0.0) for name, state in states.items()]
        saved = [max(cost - costs.cost(other), 1e-12) for other in rest]
        states = min(zip(lost, saved, rest, strict=True), key=lambda x: x[0] / x[1])[2]
        cost = costs.cost(states)
    return states


def _polished(
    costs: StateCosts, gains: Gains, states: dict[str, GroupState], budget: float
) -> dict[str, GroupState]:
    """The choice after all single changes and exchanges of two groups that gain by the sum."""
    for _ in range(_MOST_MOVES):
        tried = itertools.islice(moves(costs, gains, states), _TRIED_EXCHANGES)
        better = next((other for other in tried if costs.cost(other) <= budget), None)
        if better is None:
            return states
        states = better
    return states


def moves(costs: StateCosts, gains: Gains, states: States) -> Iterator[dict[str, GroupState]]:
    """Choices that differ in one or two groups and gain by the sum, the most gain first.

    Args:
        costs: names the groups.
        gains: of their states.
        states: the choice that is changed.
    """
    raised: list[tuple[float, str, GroupState]] = []
    lowered: list[tuple[float, str, GroupState]] = []
    for group in costs.groups:
        own = gains.get((group.name, states.get(group.name, GroupState.NARROW)), 0.0)
        for state in group.states:
            if state is states.get(group.name, GroupState.NARROW):
                continue
            change = gains.get((group.name, state), 0.0) - own
            (raised if change > 0 else lowered).append((change, group.name, state))
    found = [(change, changed(states, name, state)) for change, name, state in raised]
    found += [
        (up + down, changed(changed(states, name, state), other, low))
        for up, name, state in raised
        for down, other, low in lowered
        if other != name and up + down > 0
    ]
    yield from (other for _, other in sorted(found, key=lambda x: -x[0]))
