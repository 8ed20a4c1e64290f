"""What a column lost against float: the metric, its standard error, flips and noise."""

from __future__ import annotations

import numpy as np
from network import Network, Score
from tape import Outputs, Tape, play

GROUPS = 10


def standard_error(network: Network, score: Score) -> float | None:
    """Of a share of right samples, in points: sqrt(p (1 - p) / n)."""
    if not network.is_proportion:
        return None
    p = score.percent / 100
    return 100 * float((p * (1 - p) / score.samples) ** 0.5)


def rounded(values: Outputs) -> Outputs:
    """As the data folder's runner returns outputs: class numbers as they are, the rest float32."""
    return [v if v.dtype == np.int64 else np.asarray(v, np.float32) for v in values]


def group_differences(network: Network, tape: Tape, outputs: Outputs) -> list[float]:
    """Each group's part of the difference to float, in points.

    The samples fall into groups by turns; a part is what the metric becomes when one group's
    answers are the column's and all others are float's, less the float metric.
    """
    parts = []
    for group in range(GROUPS):

        def rows(start: int, stop: int, group: int = group) -> Outputs:
            turns = range(start, stop)
            return [
                np.stack([(new if row % GROUPS == group else old)[row] for row in turns])
                for new, old in zip(outputs, tape.outputs, strict=True)
            ]

        parts.append(play(network, tape, rows).percent - tape.score.percent)
    return parts


def flipped_predictions(tape: Tape, outputs: Outputs) -> int:
    """Samples whose best class is not float's."""
    count = len(tape.inputs)
    old, new = (o[0].reshape(count, -1).argmax(1) for o in (tape.outputs, outputs))
    return int(np.count_nonzero(old != new))


def signal_to_noise(tape: Tape, outputs: Outputs) -> list[float | None]:
    """10 log10(sum f^2 / sum (f - q)^2) of every output in dB; None where it is a class number."""
    ratios: list[float | None] = []
    for old, new in zip(tape.outputs, outputs, strict=True):
        if old.dtype == np.int64:
            ratios.append(None)
            continue
        signal = noise = 0.0
        for start in range(0, len(old), 64):
            f, q = (np.asarray(v[start : start + 64], np.float64) for v in (old, new))
            signal += float(np.sum(f * f))
            noise += float(np.sum((f - q) ** 2))
        ratios.append(round(10 * float(np.log10(signal / noise)), 2) if noise else 999.0)
    return ratios
