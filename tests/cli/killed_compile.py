"""Runs `tidlq` and kills this process without warning at a given moment.

    python killed_compile.py MOMENT ARGUMENTS...

Moments are counted: the float network runs a frame, a sweep comes to a layer, progress is saved,
a file of progress takes its place, artifacts are written. Progress is written at every save. With
MOMENT 0 the number of moments is printed in the end, to standard error.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidlq.artifacts import Artifacts
from tidlq.calibration import CheckpointFile, FloatFeatures, checkpoints
from tidlq.calibration.bias.sweeps import BiasSweeps
from tidlq.cli.app import main


class Moments:
    """Counts, and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self.last = last

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: type, name: str) -> None:
        """Makes each call of a method a moment."""
        method: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.pass_one()
            return method(*arguments, **keywords)

        setattr(owner, name, counted)


if __name__ == "__main__":
    moments = Moments(int(sys.argv.pop(1)))
    checkpoints.SECONDS_BETWEEN_WRITES = 0.0
    checkpoints.LARGEST_SHARE = math.inf
    moments.before(FloatFeatures, "run")
    moments.before(BiasSweeps, "_visit")
    moments.before(CheckpointFile, "save")
    moments.before(Path, "replace")
    moments.before(Artifacts, "_files")
    try:
        main()
    finally:
        print(f"moments: {moments.count}", file=sys.stderr)
