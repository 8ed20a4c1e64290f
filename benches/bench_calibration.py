"""Accuracy of float, our calibrations and the peers on the same frames and evaluation data.

    python benches/bench_calibration.py [--networks PATTERN ...] [--columns PATTERN ...] [--again]

Writes one JSON per network and column into --results and measures only what is not there, so that a
run can be continued; --again measures what matches anew. `render_accuracy.py` makes the tables.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from columns import Column, select_columns
from data_folder import cache_folder
from network import Array, Network, input_name
from peers.client import PeerError, run_peer
from peers.environment import peers_python
from results import Result, difference, load_result, result_file, save_result
from scores import (
    flipped_predictions,
    group_differences,
    rounded,
    signal_to_noise,
    standard_error,
)
from tape import Outputs, Tape, load_tape, play
from tasks import networks

import tidlq

CHUNK = 20
DEFAULT_COLUMNS = ["type *", "16 bits", "peers"]


@dataclass(frozen=True)
class Run:
    """Answers of one column over the evaluation inputs."""

    outputs: Outputs
    seconds: float
    float_nodes: int | None = None


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        frames: calibration frames, where a network has so many.
        cache: folder for tapes, frames and the OCR models.
        peers: folder of the peers' environment.
        memory_limit: GB that a peer may take.
        timeout: seconds that a peer may take.
    """

    frames: int
    cache: Path
    peers: Path
    memory_limit: float
    timeout: float


def calibration_file(network: Network, settings: Settings) -> Path:
    """The frames of one network, float32 [N, ...], written once."""
    count = min(settings.frames, network.calibration_frames)
    file = settings.cache / "frames" / f"{network.name}_{count}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.concatenate([f["x"] for f in network.frames("x", count)]))
    return file


def run_ours(network: Network, column: Column, frames: Array, tape: Tape) -> Run:
    """Compiles with our options and runs the artifacts."""
    name = input_name(network.model)
    options = {**column.options, "calibration_frames": len(frames)}
    data = [{name: frames[k : k + 1]} for k in range(len(frames))]
    started = time.perf_counter()
    compiled = tidlq.compile(network.model, data, options)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        compiled.save(Path(folder) / "artifacts")
        session = tidlq.InferenceSession(Path(folder) / "artifacts")
    batch = session.get_inputs()[0].shape[0]
    step = batch if isinstance(batch, int) else CHUNK
    rows = [
        session.run(None, {name: np.ascontiguousarray(tape.inputs[k : k + step])})
        for k in range(0, len(tape.inputs), step)
    ]
    outputs: Outputs = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    islands = sum(len(stage.float_nodes) for stage in compiled.partition.stages)
    return Run(outputs, seconds, islands)


def run_column(network: Network, column: Column, tape: Tape, settings: Settings) -> Run:
    """Runs one column over the inputs of the tape."""
    file = calibration_file(network, settings)
    if column.peer is None:
        return run_ours(network, column, np.load(file), tape)
    run = run_peer(
        peers_python(settings.peers),
        column.peer,
        network.model,
        input_name(network.model),
        file,
        tape.inputs_file,
        memory_limit=settings.memory_limit,
        timeout=settings.timeout,
    )
    return Run(run.outputs, run.seconds)


def measure(network: Network, column: Column, tape: Tape, settings: Settings) -> Result:
    """Scores one column of one network; a failure becomes a result with its reason."""
    try:
        run = run_column(network, column, tape, settings)
    except Exception as error:
        expected = isinstance(error, (tidlq.TidlqError, PeerError))
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        return Result(network.name, column.name, network.metric, reason=reason)
    outputs = rounded(run.outputs)
    score = play(network, tape, lambda start, stop: [o[start:stop] for o in outputs])
    return Result(
        network.name,
        column.name,
        network.metric,
        percent=score.percent,
        float_percent=tape.score.percent,
        samples=score.samples,
        float_error=standard_error(network, tape.score),
        group_differences=group_differences(network, tape, outputs),
        flips=flipped_predictions(tape, outputs) if network.metric == "top-1" else None,
        sqnr_db=signal_to_noise(tape, outputs),
        details=dict(score.details),
        float_details=dict(tape.score.details),
        frames=min(settings.frames, network.calibration_frames),
        seconds=round(run.seconds, 2),
        float_nodes=run.float_nodes,
    )


def describe(result: Result, seconds: float) -> str:
    """One line of progress."""
    label = f"{result.network:36} {result.column:28}"
    if result.percent is None:
        return f"{label} {result.reason}"
    figures = f"{result.percent:6.2f} (float {result.float_percent:.2f})"
    error = difference(result)[1]
    return f"{label} {figures} +-{error:.2f}  flips {result.flips}  {seconds:.0f} s"


def main() -> None:
    """Measures what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["*"], help="names, * allowed")
    parser.add_argument("--columns", nargs="+", default=DEFAULT_COLUMNS, help="names or tables")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--results", type=Path, default=cache_folder() / "results")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "data")
    parser.add_argument("--peers-env", type=Path, default=cache_folder() / "peers")
    parser.add_argument("--peer-memory", type=float, default=10.0, help="limit in GB")
    parser.add_argument("--peer-timeout", type=float, default=900.0, help="limit in seconds")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    arguments = parser.parse_args()
    settings = Settings(
        arguments.frames,
        arguments.cache,
        arguments.peers_env,
        arguments.peer_memory,
        arguments.peer_timeout,
    )
    for network in networks(arguments.cache, arguments.networks):
        tape: Tape | None = None
        for column in select_columns(arguments.columns):
            if arguments.again:
                result_file(arguments.results, network.name, column.name).unlink(missing_ok=True)
            if load_result(arguments.results, network.name, column.name):
                continue
            started = time.perf_counter()
            tape = tape or load_tape(network, arguments.cache / "tapes")
            result = measure(network, column, tape, settings)
            save_result(arguments.results, result)
            print(describe(result, time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
