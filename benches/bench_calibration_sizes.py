"""Time and peak memory of calibration for networks of two sizes, beside peers and against frames.

    python benches/bench_calibration_sizes.py [--rounds 3] [--markdown docs/calibration-cost.md]

MobileNetV2 and ResNet-50 with random weights. With 64 frames every tool runs in each round, each
round starting with another one; then our two levels run with 16, 64 and 256 frames. Every run is a
process of its own; frames are read one by one. Memory is the process's peak less what a process
has that only imports the libraries.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from bench_calibration_cost import Cost, cost_of_peer, table
from bench_inference import machine
from columns import TYPE_1, TYPE_4
from data_folder import cache_folder
from network import Array
from peers.client import PeerError
from peers.environment import peers_python
from sized_models import write_frames, write_mobilenet_v2, write_resnet50

SIZES: dict[str, Callable[[Path], Path]] = {
    "MobileNetV2": write_mobilenet_v2,
    "ResNet-50": write_resnet50,
}
OURS = {
    "tidlq type 4 level 0": {**TYPE_4, "accuracy_level": 0},
    "tidlq type 4 level 1": {**TYPE_4, "accuracy_level": 1},
    "tidlq type 1 level 1": {**TYPE_1, "accuracy_level": 1},
}
PEERS = ("ORT min/max", "NNCF OpenVINO fast", "NNCF ONNX fast")
FRAMES = 64
COUNTS = (16, 64, 256)
PAGE = """# What calibration costs

Measured {day} on {machine}, by
`benches/bench_calibration_sizes.py`: networks with random weights at
224 x 224. Seconds are those of the quantization alone, without importing libraries, and of the
whole process, the median of {rounds} round(s) in which every tool runs once. Memory is the peak of
the process; of ours, less that of one that only imports the libraries. Level 1 keeps up to 100 of
these frames for bias calibration.

{parts}
"""


class FrameFile(Sequence[dict[str, Array]]):
    """Frames of a .npy file, each read when it is asked for."""

    def __init__(self, file: Path, count: int) -> None:
        self._file, self._count = file, count
        with file.open("rb") as stream:
            np.lib.format.read_magic(stream)
            shape, _, _ = np.lib.format.read_array_header_1_0(stream)
            self._begin, self._shape = stream.tell(), (1, *shape[1:])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Array]:  # type: ignore[override]
        if index >= self._count:
            raise IndexError(index)
        size = int(np.prod(self._shape))
        values = np.fromfile(self._file, np.float32, size, offset=self._begin + 4 * size * index)
        return {"x": values.reshape(self._shape)}


def _child(model: str, frames: str, count: int, options: dict[str, int] | None) -> None:
    import onnxruntime

    # What `tidlq.compile` imports when it is first called: peers, too, are imported untimed.
    import tidlq.compilation

    assert onnxruntime.__version__
    seconds = 0.0
    if options is not None:
        data = FrameFile(Path(frames), count)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            compiled = tidlq.compile(model, data, {**options, "calibration_frames": count})
            compiled.save(Path(folder) / "artifacts")
            seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def _cost_of_ours(
    model: Path, frames: Path, count: int, options: dict[str, int] | None, idle: float
) -> Cost:
    request = json.dumps([str(model), str(frames), count, options])
    started = time.perf_counter()
    command = [sys.executable, __file__, "--child", request]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode != 0:
        raise PeerError(done.stderr.strip().splitlines()[-1])
    figures = json.loads(done.stdout)
    return Cost(figures["seconds"], time.perf_counter() - started, figures["peak_mb"] - idle)


def _side_by_side(model: Path, frames: Path, rounds: int, python: Path, idle: float) -> str:
    tools = [*OURS, *PEERS]
    costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
    for turn in range(rounds):
        shift = turn * len(tools) // rounds
        for tool in [*tools[shift:], *tools[:shift]]:
            if tool in OURS:
                cost = _cost_of_ours(model, frames, FRAMES, OURS[tool], idle)
            else:
                cost = cost_of_peer(python, tool, model, frames)
            costs[tool].append(cost)
            print(tool, cost, flush=True)
    return table(costs)


def _against_frames(model: Path, frames: Path, rounds: int, idle: float) -> Iterator[str]:
    yield "| tool | " + " | ".join(f"{count} frames, s (MB)" for count in COUNTS) + " |"
    yield "|---|" + "---:|" * len(COUNTS)
    for tool, options in OURS.items():
        cells = []
        for count in COUNTS:
            runs = [_cost_of_ours(model, frames, count, options, idle) for _ in range(rounds)]
            seconds = statistics.median(run.seconds for run in runs)
            cells.append(f"{seconds:.2f} ({max(run.peak_mb for run in runs):.0f})")
            print(tool, count, cells[-1], flush=True)
        yield f"| {tool} | " + " | ".join(cells) + " |"


def _write_apart(write: Callable[..., Path], *arguments: object) -> None:
    """Writes in another process: the peak memory of this one would count as its children's."""
    writer = multiprocessing.get_context("spawn").Process(target=write, args=arguments)
    writer.start()
    writer.join()


def _frame_file(folder: Path, count: int) -> Path:
    file = folder / f"{count}.npy"
    _write_apart(write_frames, file, count)
    return file


def _model_file(folder: Path, size: str) -> Path:
    file = folder / f"{size}.onnx"
    _write_apart(SIZES[size], file)
    return file


def main() -> None:
    """Runs the rounds and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--peers-env", type=Path, default=cache_folder() / "peers")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(*json.loads(arguments.child))
        return
    python = peers_python(arguments.peers_env)
    parts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        frames, many = (_frame_file(Path(folder), count) for count in (FRAMES, max(COUNTS)))
        for size in arguments.sizes:
            model = _model_file(Path(folder), size)
            idle = _cost_of_ours(model, frames, 0, None, 0.0).peak_mb
            beside = _side_by_side(model, frames, arguments.rounds, python, idle)
            lines = "\n".join(_against_frames(model, many, arguments.rounds, idle))
            parts.append(f"## {size}, {FRAMES} frames\n\n{beside}")
            parts.append(f"## {size} against the number of frames\n\n{lines}")
    page = PAGE.format(
        day=date.today().isoformat(),
        machine=machine(),
        rounds=arguments.rounds,
        parts="\n\n".join(parts),
    )
    print(page)
    if arguments.markdown:
        arguments.markdown.write_text(page)


if __name__ == "__main__":
    main()
