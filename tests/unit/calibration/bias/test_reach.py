"""How many layers keep the corrections of their biases."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidlq.calibration.bias.reach import PARTS, find_reach


def valley(lowest: int) -> list[float]:
    """An error that rises by a tenth for every layer away from its least value."""
    return [1 + abs(count - lowest) / 10 for count in range(33)]


@given(st.integers(1, PARTS))
def test_the_floor_of_a_valley_is_found(part: int) -> None:
    errors = valley(4 * part)
    reach, error = find_reach(32, lambda count: errors[count], errors[32])
    assert (reach, error) == (4 * part, 1)


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_no_answer_is_worse_than_all_corrections(layers: int, random: object) -> None:
    errors = [random.random() for _ in range(layers + 1)]
    asked: list[int] = []

    def error(count: int) -> float:
        asked.append(count)
        return errors[count]

    reach, least = find_reach(layers, error, errors[layers])
    assert least == errors[reach]
    assert least <= errors[layers]
    assert reach > 0 or not layers
    assert all(0 < count < layers for count in asked)
    assert len(asked) == len(set(asked)) <= 5


def test_a_gain_that_is_lost_in_the_noise_leaves_all_corrections() -> None:
    reach, error = find_reach(8, lambda _: 0.93, 1.0)
    assert (reach, error) == (8, 1.0)
