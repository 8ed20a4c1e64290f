"""From a saved proto where there is one, else from a pre-quantized model itself or from data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tidlq.calibration import KeptFrames, open_checkpoints
from tidlq.decision.from_data import DataDecision
from tidlq.decision.from_proto import decide_from_proto
from tidlq.decision.from_statements import StatementsDecision
from tidlq.decision.given import Given
from tidlq.decision.outcome import Decision, Progress
from tidlq.decision.saved_file import open_proto
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
    allow_stale: bool = False,
) -> Decision:
    """Ranges, from data, the saved proto or the model itself, and the plan that follows from them.

    A proto that lacks ranges decides what it states; data decide the rest.

    Args:
        prepared: the Graph and its stages, at least one of them fixed.
        options: of the compilation.
        open_calibration: called where data are needed.
        threads: worker threads; 0 means one per core.
        report: told about the progress.
        progress_file: keeps the calibration's progress, for the case of an interruption.
        has_data: calibration frames are given; they also calibrate biases where the scales of a
            pre-quantized model are converted.
        allow_stale: a saved proto of another model is taken.

    Raises:
        DataError: Calibration frames are missing or do not fit.
        QuantProtoError: The saved proto is incomplete or of another model.
    """
    graph, parts, use = prepared.graph, prepared.partition, prepared.statements
    path, given = options.quant_params_proto_path, Given()
    notices: tuple[str, ...] = ()
    if path is not None and Path(path).exists():
        opened = open_proto(prepared, options, Path(path), allow_stale=allow_stale)
        if not has_data or opened.is_complete:
            return decide_from_proto(prepared, options, opened)
        given = Given.of(opened.saved, opened.expected, opened.where, opened.content)
        notices = opened.notices
    if use is Statements.KEPT or (use is Statements.CONVERTED and not has_data):
        decided = StatementsDecision(
            graph, parts, options, use, open_calibration, threads, report, given
        ).run()
    else:
        source = open_calibration()
        frames = KeptFrames(graph, source, options.calibration_frames)
        key = {**options.deciding, "given": given.digest} if given.name else options.deciding
        checkpoints = open_checkpoints(progress_file, graph, key)
        decided = DataDecision(
            graph, parts, options, frames, threads, report, checkpoints, given
        ).run()
    if not given.name:
        return decided
    # The option's file exists and stays as it is.
    return replace(decided, to_write=None, notices=(*notices, *decided.notices))
