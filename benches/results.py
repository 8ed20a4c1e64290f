"""Results on disk: one JSON file per network and column, so that a run can be continued."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One network in one column; the figures are None when `reason` says why there are none.

    Attributes:
        network: its name.
        column: its name.
        metric: what percent means.
        percent: the metric.
        float_percent: of the float network, on the same samples.
        samples: that were scored.
        float_error: standard error of the float metric, in points.
        group_differences: each group's part of percent - float_percent, in points.
        flips: predictions that are not float's.
        sqnr_db: of every output against float; None for class numbers.
        details, float_details: further figures of the same evaluation.
        frames: that calibrated.
        seconds: that the quantization took.
        float_nodes: ours: nodes left in float islands.
        reason: why there are no figures.
    """

    network: str
    column: str
    metric: str
    percent: float | None = None
    float_percent: float | None = None
    samples: int | None = None
    float_error: float | None = None
    group_differences: list[float] = field(default_factory=list)
    flips: int | None = None
    sqnr_db: list[float | None] = field(default_factory=list)
    details: dict[str, float] = field(default_factory=dict)
    float_details: dict[str, float] = field(default_factory=dict)
    frames: int | None = None
    seconds: float | None = None
    float_nodes: int | None = None
    reason: str = ""

    @property
    def drop(self) -> float | None:
        """Points lost against float; negative when the column is better."""
        if self.percent is None or self.float_percent is None:
            return None
        return self.float_percent - self.percent

    @property
    def error(self) -> float:
        """Standard error of the difference to float, in points."""
        return difference(self)[1]


def difference(result: Result, other: Result | None = None) -> tuple[float, float]:
    """Points of one column less those of another (float by default), and the standard error.

    Both columns answered the same samples, so the error is that of paired differences: with d_g the
    difference of the G groups' parts, sqrt(G / (G - 1) sum (d_g - mean d)^2).
    """
    base = -(result.drop or 0.0)
    parts = list(result.group_differences)
    if other is not None:
        base += other.drop or 0.0
        parts = [a - b for a, b in zip(parts, other.group_differences, strict=True)]
    count = len(parts)
    mean = sum(parts) / count
    return base, (count / (count - 1) * sum((part - mean) ** 2 for part in parts)) ** 0.5


def result_file(folder: Path, network: str, column: str) -> Path:
    """Where a result belongs."""
    return folder / network / (re.sub(r"[^A-Za-z0-9.]+", "_", column) + ".json")


def save_result(folder: Path, result: Result) -> None:
    """Writes one result whole."""
    target = result_file(folder, result.network, result.column)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    part.write_text(json.dumps(dataclasses.asdict(result), indent=1))
    part.replace(target)


def load_result(folder: Path, network: str, column: str) -> Result | None:
    """A result that an earlier run left."""
    file = result_file(folder, network, column)
    return Result(**json.loads(file.read_text())) if file.exists() else None
