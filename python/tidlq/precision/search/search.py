"""The search for the states with the least measured error within a latency budget."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from tidlq.precision.cost import StateCosts
from tidlq.precision.groups import GroupState
from tidlq.precision.search.measured import MeasuredChoice, MeasuredChoices, States
from tidlq.precision.search.proposals import Gains, changed, moves, propose

WORTHWHILE = 1e-3
"""Part of the error that a change has to take away to be taken."""
_TRIED_PROPOSALS = 4
_TRIED_MOVES = 10
_PART_OF_REST = 8
_MOST_COMBINATIONS = 20_000

Tell = Callable[[int], None]
"""Told how many measurements were made."""


ErrorsNear = Callable[[States, Sequence[States]], tuple[float, Sequence[float]]]
"""The error of a choice, and those of others that differ from it in one group."""


def measure_gains(choices: MeasuredChoices, errors_near: ErrorsNear | None = None) -> Gains:
    """How much error each group takes away in each state, from a network of 16 bits but for it.

    That is the group's own noise. What it takes away from the 8-bit network is as large on
    average, but on a few frames the product of its noise with all the other noise hides it.

    Args:
        choices: names the groups, and measures where nothing else does.
        errors_near: measures; None: `choices` does.
    """
    groups = choices.costs.groups
    widest = {group.name: group.states[-1] for group in groups}
    others = [(group.name, state) for group in groups for state in group.states[:-1]]
    variants = [changed(widest, name, state) for name, state in others]
    if errors_near is None:
        errors_near = choices.errors_near
    least, errors = errors_near(widest, variants)
    found = dict(zip(others, errors, strict=True))
    return {
        (group.name, state): found[group.name, GroupState.NARROW]
        - found.get((group.name, state), least)
        for group in groups
        for state in group.states[1:]
    }


class PrecisionSearch:
    """Chooses states within a budget.

    All combinations are measured where they are few. Otherwise the knapsack's choices, plain ones
    (groups in the orders given, as many as fit) and the greedy one, which takes the group with the
    most gain per cost and measures the combination before it goes on, are refined by changing one
    or two groups as long as the measured error falls, and relieved of groups that do not help.

    Args:
        choices: measures and remembers.
        gains: of single groups; updated by what combinations show.
        evaluations: measurements that the refinement of a budget may take.
        tell: told about the progress.
        orders: of groups by name, for the plain choices.
    """

    def __init__(
        self,
        choices: MeasuredChoices,
        gains: Gains,
        evaluations: int,
        tell: Tell | None = None,
        orders: Sequence[Sequence[str]] = (),
    ) -> None:
        self._orders = orders
        self._choices = choices
        self._costs = choices.costs
        self._gains = dict(gains)
        self._evaluations = evaluations
        self._tell = tell
        self._left = 0

    def run(self, budget: float) -> MeasuredChoice:
        """The best choice found within a budget.

        Args:
            budget: in milliseconds; that of the 8-bit network always fits.
        """
        budget = max(budget, self._costs.narrow)
        self._choices.error({})
        every = self._combinations(budget)
        if every is not None:
            for states in every:
                self._error(states)
            return self._choices.best(budget)
        self._left = self._evaluations
        for states in self.plain(budget):
            self._error(states)
        for states in propose(self._costs, self._gains, budget)[:_TRIED_PROPOSALS]:
            self._error(states)
        self._climb(budget)
        self._refine(budget)
        self._relieve(budget)
        return self._choices.best(budget)

    def plain(self, budget: float) -> list[dict[str, GroupState]]:
        """Choices of 16-bit groups that fit a budget, one for each order of the groups.

        Args:
            budget: in milliseconds.
        """
        widest = {group.name: group.states[-1] for group in self._costs.groups}
        every = [fill(self._costs, order, budget) for order in (*self._orders, tuple(widest))]
        found = {self._choices.key(states): states for states in every if states}
        return list(found.values())

    def sketch(self, budget: float) -> None:
        """Measures the first proposal for a budget, without refining it.

        Args:
            budget: in milliseconds.
        """
        for states in propose(self._costs, self._gains, max(budget, self._costs.narrow))[:1]:
            self._error(states)

    def is_exhaustive(self, budget: float) -> bool:
        """Whether all choices within a budget are measured.

        Args:
            budget: in milliseconds.
        """
        return self._combinations(budget) is not None

    def _combinations(self, budget: float) -> list[dict[str, GroupState]] | None:
        """All choices within the budget; None where they are too many to measure."""
        count = 1
        for group in self._costs.groups:
            count *= len(group.states)
        if count > _MOST_COMBINATIONS:
            return None
        names = [group.name for group in self._costs.groups]
        found: list[dict[str, GroupState]] = []
        for states in itertools.product(*(group.states for group in self._costs.groups)):
            choice: dict[str, GroupState] = {
                n: s for n, s in zip(names, states, strict=True) if s is not GroupState.NARROW
            }
            if self._costs.cost(choice) <= budget:
                found.append(choice)
            if len(found) > self._evaluations:
                return None
        return found

    def _error(self, states: States) -> float:
        if not self._choices.is_known(states):
            self._left -= 1
        error = self._choices.error(states)
        if self._tell is not None:
            self._tell(self._choices.count)
        return error

    def _climb(self, budget: float) -> None:
        """Greedy: by gain per cost, each gain measured again in the combination."""
        states: dict[str, GroupState] = {}
        error, cost = self._choices.error({}), self._costs.narrow
        reserve = self._evaluations // 2
        while self._left > reserve:
            fitting = []
            for group in self._costs.groups:
                own = self._gains.get((group.name, states.get(group.name, GroupState.NARROW)), 0.0)
                for state in group.states[1:]:
                    other = changed(states, group.name, state)
                    gain = self._gains.get((group.name, state), 0.0) - own
                    price = self._costs.cost(other)
                    if gain > 0 and other != states and price <= budget:
                        fitting.append((gain / max(price - cost, 1e-9), group.name, state, other))
            if not fitting:
                return
            _, name, state, other = max(fitting, key=lambda x: x[0])
            found = self._error(other)
            self._learn(name, state, states, error - found)
            if found < error:
                states, error, cost = other, found, self._costs.cost(other)

    def _learn(self, name: str, state: GroupState, states: States, change: float) -> None:
        """What a change of one group took away is what it gains from now on."""
        own = self._gains.get((name, states.get(name, GroupState.NARROW)), 0.0)
        self._gains[name, state] = own + change

    def _refine(self, budget: float) -> None:
        """Changes one or two groups at a time while the measured error falls."""
        while self._left > 0:
            best = self._choices.best(budget)
            limit = best.error * (1 - WORTHWHILE)
            count = max(_TRIED_MOVES, self._left // _PART_OF_REST)
            tried = itertools.islice(self._fitting_moves(dict(best.states), budget), count)
            if not any(self._error(states) < limit for states in tried):
                return

    def _fitting_moves(self, states: States, budget: float) -> Iterator[dict[str, GroupState]]:
        """Changes that gain by the sum, then those of one group that do not."""
        single = (
            changed(states, group.name, state)
            for group in self._costs.groups
            for state in group.states
        )
        for other in itertools.chain(moves(self._costs, self._gains, states), single):
            if not self._choices.is_known(other) and self._costs.cost(other) <= budget:
                yield other

    def _relieve(self, budget: float) -> None:
        """Leaves out groups that do not help, the one with the least gain first."""
        while self._left > 0:
            best = self._choices.best(budget)
            states = dict(best.states)
            for name in sorted(states, key=lambda x: self._gains.get((x, states[x]), 0.0)):
                lower = changed(states, name, GroupState.NARROW)
                lost = self._error(lower) - best.error
                self._learn(name, states[name], lower, lost)
                if self._left <= 0:
                    return
                if self._choices.best(budget) is not best:
                    break
            else:
                return


def fill(costs: StateCosts, order: Iterable[str], budget: float) -> dict[str, GroupState]:
    """Groups in an order, in their widest state, each one that still fits.

    Args:
        costs: true costs.
        order: names of groups.
        budget: in milliseconds.
    """
    widest = {group.name: group.states[-1] for group in costs.groups}
    taken: dict[str, GroupState] = {}
    for name in order:
        wider = changed(taken, name, widest[name])
        if costs.cost(wider) <= budget:
            taken = wider
    return taken
