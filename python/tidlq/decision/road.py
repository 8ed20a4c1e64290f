"""From a saved proto where there is one, else from data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidlq.calibration import KeptFrames, open_checkpoints
from tidlq.decision.from_data import DataDecision
from tidlq.decision.from_proto import decide_from_proto
from tidlq.decision.outcome import Decision, Progress
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.importers.frame_source import FrameSource
from tidlq.target import Options


def decide(
    graph: Graph,
    parts: Partition,
    options: Options,
    open_calibration: Callable[[], FrameSource],
    threads: int,
    report: Progress,
    progress_file: Path | None = None,
) -> Decision:
    """Ranges, from data or from the saved proto, and the plan that follows from them.

    Args:
        graph: the canonical Graph.
        parts: its stages, at least one of them fixed.
        options: of the compilation.
        open_calibration: called where data are needed.
        threads: worker threads; 0 means one per core.
        report: told about the progress.
        progress_file: keeps the calibration's progress, for the case of an interruption.

    Raises:
        DataError: Calibration frames are missing or do not fit.
        QuantProtoError: The saved proto is incomplete or of another model.
    """
    path = options.quant_params_proto_path
    if path is not None and Path(path).exists():
        return decide_from_proto(graph, parts, options, Path(path))
    source = open_calibration()
    frames = KeptFrames(graph, source, options.calibration_frames)
    checkpoints = open_checkpoints(progress_file, graph, options.deciding)
    return DataDecision(graph, parts, options, frames, threads, report, checkpoints).run()
