"""What is decided about a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tidlq.calibration import BiasCalibration
from tidlq.decision.mixed_precision import MixedPrecision
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.assignment import Assignment
from tidlq.quantproto import SavedRanges
from tidlq.spec import QuantPlan, Ranges

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the units done and the total (None: not known)."""


@dataclass(frozen=True)
class Decision:
    """What was decided, and how.

    Attributes:
        graph: the Graph that is quantized: channels may be rescaled.
        partition: its stages.
        ranges: every range.
        plan: every decision.
        frames: calibration frames used; 0 where a saved proto decided.
        quant_params: the quantization proto, text form.
        to_write: what a new quantization proto is to hold; None where one was read.
        bias: what bias calibration did; None where there was none.
        resumed_frames: calibration frames that an interrupted compilation had measured.
        notices: what the user should know, in plain sentences.
        assignment: the precision that the options asked for; None where a saved proto decided.
        mixed: the automatic choice of 16-bit layers; None where there was none.
    """

    graph: Graph
    partition: Partition
    ranges: Ranges
    plan: QuantPlan | None = None
    frames: int = 0
    quant_params: bytes = b""
    to_write: SavedRanges | None = None
    bias: BiasCalibration | None = None
    resumed_frames: int = 0
    notices: tuple[str, ...] = field(default=())
    assignment: Assignment | None = None
    mixed: MixedPrecision | None = None
