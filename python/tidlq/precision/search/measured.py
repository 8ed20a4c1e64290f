"""Choices of states whose error was measured, and which of them are worth having."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidlq.precision.cost import StateCosts
from tidlq.precision.groups import GroupState

States = Mapping[str, GroupState]
"""States by a group's name; a group that is not listed is NARROW."""

Measure = Callable[[States], float]
"""Squared error of the network's outputs relative to the float network's."""


@dataclass(frozen=True)
class MeasuredChoice:
    """A choice of states that was tried.

    Attributes:
        states: groups that are not NARROW, in execution order.
        cost: latency in milliseconds.
        error: squared error of the outputs relative to the float network's.
    """

    states: tuple[tuple[str, GroupState], ...]
    cost: float
    error: float

    @property
    def sqnr_db(self) -> float:
        """-10 log10(error); inf where there is no error."""
        return -10 * math.log10(self.error) if self.error > 0 else math.inf


class MeasuredChoices:
    """Measures choices of states, each once, and remembers them.

    Args:
        costs: of the network.
        measure: gives errors.
        known: errors of choices that were measured before, by `key`.
        keep: called after every measurement with all of them.
    """

    def __init__(
        self,
        costs: StateCosts,
        measure: Measure,
        known: Mapping[str, float] | None = None,
        keep: Callable[[MeasuredChoices], None] | None = None,
    ) -> None:
        self.costs = costs
        self._measure = measure
        self._known = dict(known or {})
        self._keep = keep
        self._choices: dict[str, MeasuredChoice] = {}
        self.count = 0

    def __iter__(self) -> Iterator[MeasuredChoice]:
        return iter(self._choices.values())

    @property
    def errors(self) -> Mapping[str, float]:
        """Every measured error, by `key`."""
        return {**self._known, **{key: c.error for key, c in self._choices.items()}}

    def key(self, states: States) -> str:
        """A choice as text."""
        return "\n".join(f"{name} {state.value}" for name, state in self._listed(states))

    def error(self, states: States) -> float:
        """The error of a choice, measured where it is not known."""
        key = self.key(states)
        found = self._choices.get(key)
        if found is None:
            error = self._known.get(key)
            if error is None:
                error = self._measure(states)
                self.count += 1
            found = MeasuredChoice(self._listed(states), self.costs.cost(states), error)
            self._choices[key] = found
            if self._keep is not None:
                self._keep(self)
        return found.error

    def measured(self, states: States) -> MeasuredChoice:
        """A choice with its error, measured where it is not known."""
        self.error(states)
        return self._choices[self.key(states)]

    def errors_near(self, base: States, variants: Sequence[States]) -> tuple[float, list[float]]:
        """The error of a choice, and those of others."""
        return self.error(base), [self.error(states) for states in variants]

    def is_known(self, states: States) -> bool:
        """Whether asking for the error takes no measurement."""
        key = self.key(states)
        return key in self._choices or key in self._known

    def best(self, budget: float) -> MeasuredChoice:
        """The one with the least error within a budget, the cheapest of equals.

        Args:
            budget: in milliseconds.
        """
        fitting = (choice for choice in self if choice.cost <= budget)
        return min(fitting, key=lambda choice: (choice.error, choice.cost, len(choice.states)))

    def cheapest(self, error: float) -> MeasuredChoice | None:
        """The cheapest one with at most an error; None where there is none.

        Args:
            error: squared error relative to the float network's.
        """
        fitting = [choice for choice in self if choice.error <= error]
        return min(fitting, key=lambda choice: (choice.cost, choice.error), default=None)

    def _listed(self, states: States) -> tuple[tuple[str, GroupState], ...]:
        return tuple(
            (group.name, states[group.name])
            for group in self.costs.groups
            if states.get(group.name, GroupState.NARROW) is not GroupState.NARROW
        )


def pareto_front(choices: Iterable[MeasuredChoice]) -> tuple[MeasuredChoice, ...]:
    """Those with less error than everything that costs as much or less, by cost."""
    front: list[MeasuredChoice] = []
    for choice in sorted(choices, key=lambda x: (x.cost, x.error, len(x.states))):
        if not front or choice.error < front[-1].error:
            front.append(choice)
    return tuple(front)
