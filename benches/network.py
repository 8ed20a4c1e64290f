"""The one noun of the benches: a trained network with its data and its metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """A figure in percent over a number of samples, and further figures of the same evaluation."""

    percent: float
    samples: int
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A trained network with calibration pictures and a score.

    Attributes:
        name: short, unique; a file name.
        model: the float ONNX file.
        metric: what the score means, such as "top-1".
        pictures: yields normalised calibration pictures, float32 [H, W, C].
        nchw: the model's input is (N, C, H, W).
        score: the metric, given what stands in for the runner's `Model` in the task's eval.py.
        is_proportion: the score counts samples that are right.
        calibration_frames: at most so many are used.
    """

    name: str
    model: Path
    metric: str
    pictures: Callable[[], Iterator[Array]]
    nchw: bool
    score: Callable[[Any], Score]
    is_proportion: bool = True
    calibration_frames: int = 100

    def frames(self, input_name: str, limit: int) -> Iterator[dict[str, Array]]:
        """Calibration frames, batch 1."""
        count = min(limit, self.calibration_frames)
        for _, picture in zip(range(count), self.pictures(), strict=False):
            x = picture.transpose(2, 0, 1) if self.nchw else picture
            yield {input_name: np.ascontiguousarray(x[None], np.float32)}


def input_name(model: Path) -> str:
    """The name of a model's first input that is not a constant."""
    graph = onnx.load(model, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return next(value.name for value in graph.input if value.name not in constants)


def spread(items: Any, count: int) -> Any:
    """`count` items evenly over a sequence, so that classes are covered."""
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]
