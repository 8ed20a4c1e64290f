"""A whole evaluation by two runtimes at once, and how their answers compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from agreement import Answers
from data_folder import runner
from network import Array, Network
from tape import Outputs

Run = Callable[[Array], Outputs]


class Differences:
    """Counts samples whose answers differ, batch by batch."""

    def __init__(self) -> None:
        self.samples = self.same_outputs = self.same_class = 0
        self.largest = 0.0

    def add(self, ours: Outputs, theirs: Outputs) -> None:
        count = len(theirs[0])
        same = np.ones(count, bool)
        for a, b in zip(ours, theirs, strict=True):
            a, b = a.reshape(count, -1), b.reshape(count, -1)
            same &= (a == b).all(axis=1)
            difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
            self.largest = max(self.largest, float(difference.max(initial=0.0)))
        best = [o[0].reshape(count, -1).argmax(axis=1) for o in (ours, theirs)]
        self.samples += count
        self.same_outputs += int(same.sum())
        self.same_class += int((best[0] == best[1]).sum())


def as_runner(answers: Outputs) -> Outputs:
    """As the data folder's runner returns outputs."""
    return [y if y.dtype == np.int64 else np.asarray(y, np.float32) for y in answers]


def evaluate(
    network: Network, ours: Run, theirs: Run, decode: Callable[[Outputs], Outputs] = as_runner
) -> Answers:
    """Scores both on the network's evaluation data.

    Args:
        network: gives the metric, the data and the interface that the runner sees.
        ours, theirs: from a batch as the runner gives it to the model's outputs.
        decode: from these to what eval.py scores.
    """
    base, differences = runner(), Differences()
    kept: list[Outputs] = []

    class Both(base):  # type: ignore[misc, valid-type]
        def _one(self, x: Array) -> Outputs:
            answers = theirs(x)
            kept.append(ours(x))
            differences.add(kept[-1], answers)
            return decode(answers)

    class Ours(base):  # type: ignore[misc, valid-type]
        position = 0

        def _one(self, _: Array) -> Outputs:
            self.position += 1
            return decode(kept[self.position - 1])

    def score(model: Any) -> float:
        return network.score(lambda *_, **options: model(str(network.model), **options)).percent

    their_score = score(Both)
    return Answers(
        samples=differences.samples,
        same_outputs=differences.same_outputs,
        same_class=differences.same_class if network.metric == "top-1" else None,
        metric=network.metric,
        ours=score(Ours),
        theirs=their_score,
        largest=differences.largest,
    )
