"""Work that is prepared while earlier work runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def results_in_order(work: Iterable[Callable[[], Result]], ahead: int) -> Iterator[Result]:
    """Calls one function after the other, on a thread of its own, and gives their results.

    Args:
        work: is iterated over on the caller's thread, while functions that it gave earlier run.
        ahead: functions at most that wait for their turn; 0: each is called on the caller's thread
            before the next one is asked for.
    """
    if not ahead:
        yield from (call() for call in work)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as executor:
        try:
            for call in work:
                waiting.append(executor.submit(call))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
