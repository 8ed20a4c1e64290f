"""The knapsack against all choices."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.precision.search import knapsack as module
from tidlq.precision.search import solve_knapsack

OPTION = st.tuples(st.integers(0, 20).map(float), st.integers(-3, 20).map(float))
CLASSES = st.lists(st.lists(OPTION, max_size=2), max_size=6).map(
    lambda classes: [[(0.0, 0.0), *options] for options in classes]
)


@given(CLASSES, st.integers(0, 60).map(float))
def test_the_last_choice_is_the_best_of_all(
    classes: list[list[tuple[float, float]]], budget: float
) -> None:
    found = solve_knapsack(classes, budget)
    fitting = [
        sum(gain for _, gain in options)
        for options in itertools.product(*classes)
        if sum(cost for cost, _ in options) <= budget
    ]
    assert found[-1].gain == max(fitting)
    for choice in found:
        options = [classes[place][index] for place, index in enumerate(choice.options)]
        assert choice.cost == sum(cost for cost, _ in options) <= budget
        assert choice.gain == sum(gain for _, gain in options)


@given(CLASSES, st.integers(0, 60).map(float), st.integers(0, 60).map(float))
def test_every_smaller_budget_is_solved_as_well(
    classes: list[list[tuple[float, float]]], budget: float, smaller: float
) -> None:
    smaller = min(smaller, budget)
    whole = [choice for choice in solve_knapsack(classes, budget) if choice.cost <= smaller]
    assert whole[-1].gain == solve_knapsack(classes, smaller)[-1].gain


def test_choices_gain_more_the_more_they_cost() -> None:
    found = solve_knapsack([[(0.0, 0.0), (1.0, 2.0), (2.0, 3.0)], [(0.0, 0.0), (1.0, 0.5)]], 3.0)
    assert [(x.cost, x.gain) for x in found] == [(0, 0), (1, 2), (2, 3), (3, 3.5)]
    assert found[-1].options == (2, 1)


def test_too_many_choices_are_thinned_near_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [[(0.0, 0.0), (1.0 + i / 97, 1.0 + (i * i % 89) / 89)] for i in range(24)]
    exact = solve_knapsack(classes, 12.0)[-1]
    monkeypatch.setattr(module, "MOST_CHOICES", 256)
    thinned = solve_knapsack(classes, 12.0)[-1]
    assert thinned.cost <= 12.0
    assert 0.97 * exact.gain <= thinned.gain <= exact.gain
