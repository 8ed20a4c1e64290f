"""The search against all subsets, with made-up errors and costs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tidlq.precision.cost import LatencyModel, StateCosts
from tidlq.precision.groups import GroupState, PrecisionGroup
from tidlq.precision.search import (
    MeasuredChoices,
    PrecisionSearch,
    States,
    fill,
    measure_gains,
    noise_left,
    pareto_front,
)
from tidlq.target import LayerBits, LayerWork

FACTORS = [1.05, 1.1, 1.2, 1.4, 1.7, 2.0]


class Chain:
    """A chain of layers, each a group, with noise that adds up but for a little."""

    def __init__(self, seed: int, length: int, interaction: float = 0.1) -> None:
        rng = np.random.default_rng(seed)
        self.names = [f"layer{i}" for i in range(length)]
        self.groups = [
            PrecisionGroup(name, (name,), (f"f{i}",), (name,), tuple(GroupState))
            for i, name in enumerate(self.names)
        ]
        self.size = rng.uniform(1, 10, length)
        self.work = [
            LayerWork(name, ((f"f{max(i - 1, 0)}", 1),), f"f{i}", 1, 1)
            for i, name in enumerate(self.names)
        ]
        # Noise of features and of weights, correlated with that of the next layer.
        self.noise = rng.lognormal(0, 1.5, (length, 2))
        self.mixed = interaction * rng.uniform(-1, 1, length)
        self.asked = 0

    def latency(self, work: LayerWork, bits: LayerBits) -> float:
        factor = {16: 1.0, 24: 2.0, 32: 4.0}[max(bits.inputs) + bits.parameters]
        return float(self.size[self.names.index(work.name)]) * factor + 0.1 * bits.output

    def error(self, states: States) -> float:
        self.asked += 1
        noise = np.array(
            [
                [
                    self.noise[i, 0] * (1 if state.feature_bits == 8 else 1e-4),
                    self.noise[i, 1] * (1 if state.parameter_bits == 8 else 1e-4),
                ]
                for i, name in enumerate(self.names)
                for state in [states.get(name, GroupState.NARROW)]
            ]
        )
        total = noise.sum(1)
        both = np.sqrt(total[1:] * total[:-1]) * self.mixed[1:]
        return float(total.sum() + both.sum()) * 1e-3

    def choices(self) -> MeasuredChoices:
        model = LatencyModel("made up", self.latency)
        return MeasuredChoices(StateCosts(self.groups, self.work, model), self.error)


def best_of_all(chain: Chain, budget: float) -> float:
    choices = chain.choices()
    least = math.inf
    for states in itertools.product(*(group.states for group in chain.groups)):
        choice = dict(zip(chain.names, states, strict=True))
        if choices.costs.cost(choice) <= budget:
            least = min(least, chain.error(choice))
    return least


@pytest.mark.parametrize("seed", range(4))
def test_few_combinations_are_all_measured(seed: int) -> None:
    chain = Chain(seed, 3)
    choices = chain.choices()
    search = PrecisionSearch(choices, measure_gains(choices), evaluations=30)
    for factor in FACTORS:
        budget = factor * choices.costs.narrow
        assert search.run(budget).error == best_of_all(chain, budget)


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_within_2_percent_of_the_best_of_all(seed: int) -> None:
    chain = Chain(seed, 7)
    for factor in FACTORS:
        choices = chain.choices()
        budget = factor * choices.costs.narrow
        search = PrecisionSearch(choices, measure_gains(choices), evaluations=60)
        assert search.run(budget).error <= 1.02 * best_of_all(chain, budget)


@pytest.mark.parametrize("factor", [1.0, *FACTORS])
def test_the_budget_is_kept(factor: float) -> None:
    chain = Chain(9, 12)
    choices = chain.choices()
    found = PrecisionSearch(choices, measure_gains(choices), 40).run(factor * choices.costs.narrow)
    assert found.cost <= factor * choices.costs.narrow
    assert found.cost == choices.costs.cost(dict(found.states))
    assert found.error == chain.error(dict(found.states))


def test_a_larger_budget_is_never_worse() -> None:
    chain = Chain(3, 12)
    choices = chain.choices()
    search = PrecisionSearch(choices, measure_gains(choices), evaluations=30)
    errors = [search.run(factor * choices.costs.narrow).error for factor in FACTORS]
    assert errors == sorted(errors, reverse=True)


def test_groups_that_do_not_help_stay_at_8_bits() -> None:
    chain = Chain(5, 9, interaction=0.0)
    chain.noise[2:5] = 0
    choices = chain.choices()
    search = PrecisionSearch(choices, measure_gains(choices), evaluations=60)
    found = dict(search.run(4 * choices.costs.narrow).states)
    assert not {"layer2", "layer3", "layer4"} & found.keys()


def test_no_choice_is_measured_twice_and_known_errors_are_not_measured() -> None:
    chain = Chain(1, 8)
    first = chain.choices()
    budget = 1.3 * first.costs.narrow
    found = PrecisionSearch(first, measure_gains(first), evaluations=40).run(budget)
    assert chain.asked == first.count == len(list(first))
    again = MeasuredChoices(first.costs, chain.error, known=first.errors)
    assert PrecisionSearch(again, measure_gains(again), evaluations=40).run(budget) == found
    assert again.count == 0


def test_the_evaluations_are_a_limit() -> None:
    chain = Chain(2, 20)
    choices = chain.choices()
    gains = measure_gains(choices)
    before = choices.count
    PrecisionSearch(choices, gains, evaluations=15).run(1.4 * choices.costs.narrow)
    assert choices.count - before <= 15 + 4


def test_the_front_has_less_error_the_more_it_costs() -> None:
    chain = Chain(4, 9)
    choices = chain.choices()
    PrecisionSearch(choices, measure_gains(choices), evaluations=50).run(2 * choices.costs.narrow)
    front = pareto_front(choices)
    assert front[0].states == ()
    assert [x.cost for x in front] == sorted({x.cost for x in front})
    assert [x.error for x in front] == sorted({x.error for x in front}, reverse=True)
    assert not [x for x in choices for y in front if x.cost <= y.cost and x.error < y.error]


def test_the_cheapest_choice_of_a_target_is_found() -> None:
    chain = Chain(4, 9)
    choices = chain.choices()
    PrecisionSearch(choices, measure_gains(choices), evaluations=50).run(2 * choices.costs.narrow)
    target = sorted(choice.error for choice in choices)[len(list(choices)) // 2]
    found = choices.cheapest(target)
    assert found is not None
    assert found.error <= target
    assert not [x for x in choices if x.error <= target and x.cost < found.cost]
    assert choices.cheapest(0.0) is None


class Converted(Chain):
    """A chain whose middle layer has no noise, and costs more the less bits it has."""

    def __init__(self) -> None:
        super().__init__(7, 12, interaction=0.0)
        self.noise[6] = 0

    def latency(self, work: LayerWork, bits: LayerBits) -> float:
        is_dearer = work.name == "layer6" and bits.output == 8
        return 5.0 if is_dearer else super().latency(work, bits)


def test_the_search_ends_where_fewer_bits_cost_more_and_change_nothing() -> None:
    chain = Converted()
    choices = chain.choices()
    search = PrecisionSearch(choices, measure_gains(choices), evaluations=40)
    for factor in (1.2, 100.0):
        budget = factor * choices.costs.narrow
        assert search.run(budget).cost <= budget


def test_a_choice_is_no_worse_than_groups_in_any_order_that_is_given() -> None:
    chain = Chain(11, 14, interaction=0.5)
    choices = chain.choices()
    order = chain.names[::3]
    search = PrecisionSearch(choices, {}, evaluations=3, orders=[order])
    budget = 1.5 * choices.costs.narrow
    plain = fill(choices.costs, order, budget)
    assert set(plain) <= set(order)
    assert search.run(budget).error <= chain.error(plain)


def test_the_noise_that_is_left_is_that_of_the_groups_below_their_widest_state() -> None:
    chain = Chain(0, 4)
    choices = chain.choices()
    gains = measure_gains(choices)
    groups = choices.costs.groups
    widest = {group.name: group.states[-1] for group in groups}
    assert noise_left(groups, gains, widest) == 0
    whole = sum(max(gains[name, state], 0) for name, state in widest.items())
    assert noise_left(groups, gains, {}) == pytest.approx(whole)
    for name, state in widest.items():
        taken = max(gains[name, state], 0)
        assert noise_left(groups, gains, {name: state}) == pytest.approx(whole - taken)


def test_a_group_with_less_error_in_8_bits_leaves_no_noise() -> None:
    groups = Chain(0, 1).choices().costs.groups
    state = groups[0].states[-1]
    assert noise_left(groups, {(groups[0].name, state): -1.0}, {}) == 0
