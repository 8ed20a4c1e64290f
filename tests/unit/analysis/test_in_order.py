"""Work in order: results do not depend on how much is prepared ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tidlq.analysis.in_order import results_in_order


@pytest.mark.parametrize("ahead", [0, 1, 8])
def test_results_come_in_the_order_of_the_work(ahead: int) -> None:
    work = [lambda number=number: number for number in range(20)]
    assert list(results_in_order(work, ahead)) == list(range(20))


def test_work_is_prepared_while_earlier_work_runs() -> None:
    is_prepared = threading.Event()

    def work() -> Iterator[Callable[[], bool]]:
        yield lambda: is_prepared.wait(60)
        is_prepared.set()
        yield lambda: True

    assert list(results_in_order(work(), 1)) == [True, True]


def test_without_anything_ahead_work_is_done_before_more_is_prepared() -> None:
    done: list[str] = []

    def work() -> Iterator[Callable[[], None]]:
        for number in range(2):
            done.append(f"prepared {number}")
            yield lambda number=number: done.append(f"done {number}")

    list(results_in_order(work(), 0))
    assert done == ["prepared 0", "done 0", "prepared 1", "done 1"]


@pytest.mark.parametrize("ahead", [0, 3])
def test_an_error_ends_the_work(ahead: int) -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(results_in_order([fails, lambda: None], ahead))
