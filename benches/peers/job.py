"""What a peer is asked for, and what every peer offers; needs numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Outputs = list[NDArray[Any]]
Predict = Callable[[Array], Outputs]


@dataclass(frozen=True)
class Job:
    """A network to quantize.

    Attributes:
        model: the float ONNX file.
        input_name: its input.
        frames: float32 [N, ...] calibration frames, as the model takes them.
        folder: for the files that the peer writes.
    """

    model: Path
    input_name: str
    frames: Array
    folder: Path


@dataclass(frozen=True)
class Quantized:
    """A quantized network, opened only when it is to be run.

    Attributes:
        open: gives the function from a batch of frames to the outputs.
        batch: frames in a batch; None: any number.
    """

    open: Callable[[], Predict]
    batch: int | None
