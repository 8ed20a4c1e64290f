"""The automatic choice of 16-bit layers: which of them, for a factor of latency or a target.

The network that is quantized stays as it is but for the bits: for each group of layers and each of
its states, and then for combinations, a plan is made as a compilation would make it, its biases
calibrated on some of the frames, and its outputs compared with the float network's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from tidlq.artifacts import BEST_LAYERS
from tidlq.calibration import Checkpoints
from tidlq.errors import GateError, OptionError
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.cost import LatencyModel, StateCosts
from tidlq.precision.groups import (
    GroupState,
    PrecisionGroup,
    find_precision_groups,
    joined_precision,
    precision_of_states,
)
from tidlq.precision.search import (
    Gains,
    MeasuredChoice,
    MeasuredChoices,
    PrecisionSearch,
    States,
    measure_gains,
    noise_left,
    pareto_front,
)
from tidlq.precision.work import layer_work
from tidlq.report.precision import options_of
from tidlq.spec import Precision
from tidlq.target import Options

EVALUATIONS_PER_GROUP = 1
LEAST_EVALUATIONS = 64
MOST_EVALUATIONS = 1_000
SEARCHED_MACS = 1e8
"""Multiply-accumulates per frame that all measurements of a small network may take together."""
CURVE_POINTS = 10
"""Budgets between 8 and 16 bits whose first proposal is measured for the curve."""
PROBES = 6
"""Budgets that are tried to reach a target."""

FINALISTS = 3
"""Best choices of the search, by measured error, and as many by judged error, that are compared
once their biases are calibrated in full."""
CHEAPEST_FINALISTS = 4
"""Cheapest choices that reach a target, likewise."""
PLAIN_FINALISTS = 3
"""Plain choices, likewise, by measured error."""
WORTH_A_FINAL = 2.0
"""Error relative to the best one's, up to which a choice is compared."""

RANKED_AT_A_TIME = 32
"""Variants after which what was measured is kept."""

_ERRORS, _NOISE = "precision choices", "precision noise"


class Errors(Protocol):
    """Squared errors of precisions' outputs relative to the float network's."""

    def typical_error(self, precision: Precision) -> float:
        """Of one precision, in the typical frame."""

    def errors_near(
        self,
        base: Precision,
        precisions: Sequence[Precision],
        tell: Callable[[int], None] | None = None,
    ) -> tuple[float, Sequence[float]]:
        """Of one, and of others that differ from it in few layers; `tell` is told how many."""


@dataclass(frozen=True)
class MixedPrecision:
    """What was chosen, and what else there was to choose.

    Attributes:
        groups: of the network.
        chosen: the choice.
        precision: bits of features and parameters.
        cost_8: latency with 8 bits everywhere, milliseconds.
        cost_16: latency with 16 bits wherever there are.
        budget: of latency; None where a target was given.
        latency_model: where latencies come from.
        gains: error of each group's own noise that a state takes away, by its name and state.
        prices: latency that a state adds to the 8-bit network, milliseconds.
        front: choices with less error than all that cost as much or less, and the chosen one, by
            cost.
        measurements: choices that were tried.
        base: the precision that lists or a proto ask for.
        notices: what the user should know, in plain sentences.
        finalists: choices that are to be compared once their biases are calibrated; `chosen` first.
        target_error: what the choice has to reach; None where a budget was given.
        wide_error: of 16 bits everywhere, on the frames of the gains.
    """

    groups: tuple[PrecisionGroup, ...]
    chosen: MeasuredChoice
    precision: Precision
    cost_8: float
    cost_16: float
    budget: float | None
    latency_model: str
    gains: Gains
    prices: Mapping[tuple[str, GroupState], float]
    front: tuple[MeasuredChoice, ...]
    measurements: int
    base: Precision = field(default_factory=Precision)
    notices: tuple[str, ...] = ()
    finalists: tuple[MeasuredChoice, ...] = ()
    target_error: float | None = None
    wide_error: float = 0.0

    def with_chosen(self, chosen: MeasuredChoice) -> MixedPrecision:
        """The same with another choice.

        Args:
            chosen: one of the finalists.
        """
        front = self.front if chosen in self.front else (*self.front, chosen)
        return replace(
            self,
            chosen=chosen,
            precision=self.precision_of(chosen),
            front=tuple(sorted(front, key=lambda choice: (choice.cost, choice.error))),
        )

    def precision_of(self, choice: MeasuredChoice) -> Precision:
        """The precision that a choice means."""
        return joined_precision(self.base, precision_of_states(self.groups, dict(choice.states)))

    def judged_error(self, choice: MeasuredChoice, error: float) -> float:
        """What finalists are compared by: the measured error alone where it has a target to reach.

        Args:
            choice: one of the finalists.
            error: its typical error, biases calibrated in full.
        """
        if self.target_error is not None:
            return error
        return _judged_error(self.groups, self.gains, self.wide_error, choice, error)

    def is_enough(self, error: float) -> bool:
        """Whether an error reaches the target; False where none was given."""
        return self.target_error is not None and error <= self.target_error

    def check_reached(self, error: float) -> None:
        """Refuses an error that does not reach the target.

        Raises:
            GateError: States the target and what was reached.
        """
        if self.target_error is not None and error > self.target_error:
            raise _out_of_reach(self.target_error, error)

    @property
    def factor(self) -> float:
        """T_MP / T_8 of the choice."""
        return self.chosen.cost / self.cost_8


class PrecisionChoice:
    """Chooses the layers of a network that have 16 bits.

    Args:
        graph: the canonical Graph.
        parts: its stages.
        options: `mixed_precision_factor` or `target_sqnr`.
        base: what lists or a proto ask for; wider bits may be added to it.
        latency: of a layer.
        errors: measures precisions.
        checkpoints: keep what was measured.
        fixed: features and layers whose bits stay those of `base`.
        tell: told the number of measurements and about how many there will be.
        orders: of groups by name, which are tried as far as they fit.
    """

    def __init__(
        self,
        graph: Graph,
        parts: Partition,
        options: Options,
        base: Precision,
        latency: LatencyModel,
        errors: Errors,
        checkpoints: Checkpoints,
        *,
        fixed: frozenset[str] = frozenset(),
        tell: Callable[[int, int], None] | None = None,
        orders: Sequence[Sequence[str]] = (),
    ) -> None:
        self._orders = orders
        self._options = options
        self._base = base
        found = find_precision_groups(graph, parts, options.device)
        self._groups = tuple(_open_group(group, base, fixed) for group in found)
        work = layer_work(graph, parts)
        self._cost_8 = StateCosts(found, work, latency).narrow
        self._cost_16 = StateCosts(found, work, latency).wide
        self._costs = StateCosts(self._groups, work, latency, base)
        self._errors = errors
        self._checkpoints = checkpoints
        self._tell = tell or (lambda _done, _total: None)
        self._notices: list[str] = []
        self._published: MeasuredChoice | None = None
        self._budget = options.mixed_precision_factor * self._cost_8
        self._choices = MeasuredChoices(self._costs, self._error, self._known_errors(), self._save)
        states = sum(len(group.states) - 1 for group in self._groups)
        macs = sum(item.matrix.macs for item in work if item.matrix is not None)
        affordable = min(MOST_EVALUATIONS, int(SEARCHED_MACS / max(macs, 1)))
        few = max(LEAST_EVALUATIONS, EVALUATIONS_PER_GROUP * len(self._groups))
        self._evaluations = max(few, affordable)
        self._ranked = 0
        self._wide_error = 0.0
        self._total = 2 + states + self._evaluations + CURVE_POINTS

    def run(self) -> MixedPrecision:
        """Measures gains, searches, and sketches the curve around the choice.

        Raises:
            OptionError: The layers that lists ask for exceed the budget.
            GateError: No choice reaches the target; says what the best one reaches.
        """
        target = self._options.target_sqnr
        is_above = self._costs.narrow > self._budget
        if target is None and is_above and self._costs.wide > self._budget:
            raise OptionError(
                "option 'advanced_options:mixed_precision_factor' is "
                f"{self._options.mixed_precision_factor:g}, but the layers that have 16 bits "
                "from the start, by the lists or as outputs, take "
                f"{self._costs.narrow / self._cost_8:.3f} times the latency of 8 bits; "
                "allowed: a greater factor, or fewer layers in the lists."
            )
        self._choices.error({})
        widest = {group.name: group.states[-1] for group in self._groups}
        self._choices.error(widest)
        gains = self._gains()
        search = PrecisionSearch(
            self._choices, gains, self._evaluations, self._report, self._orders
        )
        is_affordable = self._costs.wide <= self._budget
        is_all = is_affordable and (is_above or not search.is_exhaustive(self._budget))
        if target is not None:
            finalists = self._reach(search, _error_of(target))
        elif is_all:
            finalists = [self._choices.measured(widest)]
        else:
            search.run(self._budget)
        low, high = self._costs.narrow, self._costs.wide
        for point in range(1, CURVE_POINTS):
            search.sketch(low + (high - low) * point / CURVE_POINTS)
        if target is None and not is_all:
            plain = [self._choices.measured(states) for states in search.plain(self._budget)]
            finalists = self._finalists(plain, gains)
        chosen = finalists[0]
        self._tell(self._total, self._total)
        return MixedPrecision(
            self._groups,
            chosen,
            self._precision(dict(chosen.states)),
            self._cost_8,
            self._cost_16,
            self._budget if target is None else None,
            self._costs.model.name,
            gains,
            {key: self._costs.cost(dict([key])) - self._costs.narrow for key in gains},
            pareto_front(self._choices),
            self._choices.count,
            self._base,
            tuple(self._notices),
            tuple(finalists),
            None if target is None else _error_of(target),
            self._wide_error,
        )

    def _finalists(self, plain: Sequence[MeasuredChoice], gains: Gains) -> list[MeasuredChoice]:
        """The best choices within the budget and the best plain ones, by error; the best judged."""

        def judged(choice: MeasuredChoice) -> float:
            return _judged_error(self._groups, gains, self._wide_error, choice, choice.error)

        fitting = [choice for choice in self._choices if choice.cost <= self._budget]
        best = sorted(fitting, key=_rank)[:FINALISTS]
        others = sorted((x for x in plain if x not in best), key=_rank)[:PLAIN_FINALISTS]
        # A much noisier choice will not be the best after all, unless its noise was ill luck.
        near = [x for x in (*best, *others) if x.error <= WORTH_A_FINAL * best[0].error]
        hopeful = sorted(fitting, key=lambda x: (judged(x), *_rank(x)))[:FINALISTS]
        return list(dict.fromkeys((*near, *hopeful)))

    def _reach(self, search: PrecisionSearch, error: float) -> list[MeasuredChoice]:
        """Choices found that reach a target, the cheapest first: budgets are halved around it."""
        low, high = self._costs.narrow, self._costs.wide
        for _ in range(PROBES):
            if self._choices.best(low).error <= error:
                break
            middle = (low + high) / 2
            is_reached = search.run(middle).error <= error
            low, high = (low, middle) if is_reached else (middle, high)
        reaching = [choice for choice in self._choices if choice.error <= error]
        if not reaching:
            raise _out_of_reach(error, self._choices.best(math.inf).error)
        reaching.sort(key=lambda choice: (choice.cost, choice.error))
        surest = min(reaching, key=_rank)
        # Calibrated in full, the cheapest may miss it.
        return list(dict.fromkeys((*reaching[:CHEAPEST_FINALISTS], surest)))

    def _precision(self, states: States) -> Precision:
        return joined_precision(self._base, precision_of_states(self._groups, states))

    def _error(self, states: States) -> float:
        return self._errors.typical_error(self._precision(states))

    def _gains(self) -> Gains:
        """The noise of every group in every state."""
        gains = measure_gains(self._choices, self._errors_near)
        self._ranked = len(gains)
        return gains

    def _errors_near(
        self, base: States, variants: Sequence[States]
    ) -> tuple[float, Sequence[float]]:
        """Errors of variants, some at a time; those that an interrupted choice knew are taken."""
        known = dict(self._checkpoints.load(_NOISE, _read_errors) or {})
        keys = [self._choices.key(states) for states in variants]
        first = self._choices.key(base)
        missing = [i for i, key in enumerate(keys) if key not in known]
        for start in range(0, len(missing) or int(first not in known), RANKED_AT_A_TIME):
            some = missing[start : start + RANKED_AT_A_TIME]
            self._ranked = len(variants) - len(missing) + start
            precisions = [self._precision(variants[i]) for i in some]
            known[first], errors = self._errors.errors_near(
                self._precision(base), precisions, self._report
            )
            known |= {keys[i]: error for i, error in zip(some, errors, strict=True)}
            self._checkpoints.save(_NOISE, partial(_errors_state, known))
        self._wide_error = known[first]
        return known[first], [known[key] for key in keys]

    def _report(self, done: int) -> None:
        self._tell(min(self._ranked + done, self._total - 1), self._total)

    def _known_errors(self) -> Mapping[str, float]:
        """What an interrupted choice had measured."""
        return self._checkpoints.load(_ERRORS, _read_errors) or {}

    def _save(self, choices: MeasuredChoices) -> None:
        self._checkpoints.save(_ERRORS, lambda: _errors_state(choices.errors))
        target = self._options.target_sqnr
        best = choices.best(max(self._budget, self._costs.narrow))
        if target is not None:
            best = choices.cheapest(_error_of(target)) or choices.best(math.inf)
        if best != self._published:
            self._published = best
            self._checkpoints.publish(BEST_LAYERS, self._as_options(best, choices.count))

    def _as_options(self, choice: MeasuredChoice, count: int) -> bytes:
        """A choice as a file of options, which asks for its layers."""
        reached = f"{choice.cost / self._cost_8:.4f} x T_8, typical SQNR {choice.sqnr_db:.2f} dB"
        lines = [f"# The best 16-bit layers of {count} choices measured so far: {reached}."]
        options = options_of(self._groups, choice.states)
        lines += [f"{json.dumps(name)}: {json.dumps(text)}" for name, text in options.items()]
        return ("\n".join(lines) + "\n").encode()


def _error_of(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _out_of_reach(target: float, best: float) -> GateError:
    wanted, found = (-10 * math.log10(error) if error > 0 else math.inf for error in (target, best))
    return GateError(
        f"option 'tidlq:target_sqnr' is {wanted:g} dB, which no choice of 16-bit layers reaches: "
        f"the best one has {found:.2f} dB."
    )


def _judged_error(
    groups: Sequence[PrecisionGroup],
    gains: Gains,
    wide_error: float,
    choice: MeasuredChoice,
    error: float,
) -> float:
    """Geometric mean of a choice's measured error and of what the noise of its groups adds up to.

    The measured error has every interaction of the groups, but of a few frames only, and the
    least of many has been lucky with them. The sum has no interactions, but each group's noise was
    measured for itself, with nothing else to hide it. What one has by chance, the other has not.
    """
    return math.sqrt(error * (wide_error + noise_left(groups, gains, dict(choice.states))))


def _rank(choice: MeasuredChoice) -> tuple[float, float, int]:
    return choice.error, choice.cost, len(choice.states)


def _read_errors(state: Mapping[str, bytes]) -> dict[str, float]:
    return {str(key): float(error) for key, error in json.loads(state["errors"]).items()}


def _errors_state(errors: Mapping[str, float]) -> dict[str, bytes]:
    return {"errors": json.dumps(dict(errors)).encode()}


def _open_group(group: PrecisionGroup, base: Precision, fixed: frozenset[str]) -> PrecisionGroup:
    """The group with the states that can still be chosen."""
    narrow = (GroupState.NARROW,)
    if not fixed.isdisjoint((*group.features, *group.layers)):
        return replace(group, states=narrow)
    if base.feature_bits(group.features[0]) == 16:
        # What widens features alone leaves the parameters to choose.
        is_open = any(base.parameter_bits(name) < 16 for name in group.parameters)
        is_open = is_open and GroupState.WIDE in group.states
        return replace(group, states=(*narrow, GroupState.WIDE) if is_open else narrow)
    return group
