"""From a saved proto where there is one, else from a pre-quantized model itself or from data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidlq.calibration import KeptFrames, open_checkpoints
from tidlq.decision.from_data import DataDecision
from tidlq.decision.from_proto import decide_from_proto
from tidlq.decision.from_statements import StatementsDecision
from tidlq.decision.outcome import Decision, Progress
from tidlq.decision.statements import Prepared, Statements
from tidlq.importers.frame_source import FrameSource
from tidlq.target import Options


def decide(
    prepared: Prepared,
    options: Options,
    open_calibration: Callable[[], FrameSource],
    threads: int,
    report: Progress,
    progress_file: Path | None = None,
    *,
    has_data: bool = True,
) -> Decision:
    """Ranges, from data, the saved proto or the model itself, and the plan that follows from them.

    Args:
        prepared: the Graph and its stages, at least one of them fixed.
        options: of the compilation.
        open_calibration: called where data are needed.
        threads: worker threads; 0 means one per core.
        report: told about the progress.
        progress_file: keeps the calibration's progress, for the case of an interruption.
        has_data: calibration frames are given; they also calibrate biases where the scales of a
            pre-quantized model are converted.

    Raises:
        DataError: Calibration frames are missing or do not fit.
        QuantProtoError: The saved proto is incomplete or of another model.
    """
    graph, parts, use = prepared.graph, prepared.partition, prepared.statements
    path = options.quant_params_proto_path
    if path is not None and Path(path).exists():
        return decide_from_proto(graph, parts, options, use, Path(path))
    if use is Statements.KEPT or (use is Statements.CONVERTED and not has_data):
        return StatementsDecision(
            graph, parts, options, use, open_calibration, threads, report
        ).run()
    source = open_calibration()
    frames = KeptFrames(graph, source, options.calibration_frames)
    checkpoints = open_checkpoints(progress_file, graph, options.deciding)
    return DataDecision(graph, parts, options, frames, threads, report, checkpoints).run()
