"""Clamps that follow one another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidlq.graph.layers import Clamp

bounds = st.one_of(st.none(), st.floats(-8, 8))


def ordered(pair: tuple[float | None, float | None]) -> Clamp:
    low, high = pair
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Clamp(low, high)


clamps = st.tuples(bounds, bounds).map(ordered)


def apply(clamp: Clamp, x: float) -> float:
    if clamp.low is not None:
        x = max(x, clamp.low)
    return x if clamp.high is None else min(x, clamp.high)


@given(clamps, clamps, st.floats(-10, 10))
def test_two_clamps_in_a_row_equal_their_composition(first: Clamp, second: Clamp, x: float) -> None:
    assert apply(first.then(second), x) == apply(second, apply(first, x))
