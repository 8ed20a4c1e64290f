"""Time and peak memory of our calibration beside the peers', each run in a process of its own.

    python benches/bench_calibration_cost.py [--network NAME] [--frames 50] [--rounds 3]

Every round runs all tools, each round starting with another one; the table gives the median of the
rounds, and ratios to ours. Seconds: of the quantization alone, without imports and the reading of
frames, and of the whole process. Memory: the process's peak until it had quantized.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_calibration import Settings, calibration_file
from columns import TYPE_1, TYPE_4
from data_folder import cache_folder
from network import input_name
from peers.client import PeerError, run_peer
from peers.environment import peers_python
from tasks import networks

OURS = {
    "tidlq type 4 level 1": {**TYPE_4, "accuracy_level": 1},
    "tidlq type 1 level 1": {**TYPE_1, "accuracy_level": 1},
    "tidlq type 4 level 0": {**TYPE_4, "accuracy_level": 0},
}
PEERS = ("ORT min/max", "ORT entropy", "ORT percentile", "NNCF OpenVINO fast", "NNCF ONNX fast")


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds of the quantization, of the process, and its peak memory in MB."""

    seconds: float
    process_seconds: float
    peak_mb: float


def compile_once(model: Path, frames_file: Path, options: dict[str, int]) -> None:
    """The child's part: compiles, saves and prints what it took."""
    from tidlq import compile as compile_model

    frames = np.load(frames_file)
    name = input_name(model)
    data = [{name: frames[k : k + 1]} for k in range(len(frames))]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        compiled = compile_model(model, data, {**options, "calibration_frames": len(frames)})
        compiled.save(Path(folder) / "artifacts")
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def cost_of_ours(model: Path, frames: Path, options: dict[str, int]) -> Cost:
    """Runs ourselves in a process of its own."""
    request = json.dumps([str(model), str(frames), options])
    started = time.perf_counter()
    command = [sys.executable, __file__, "--child", request]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode != 0:
        raise PeerError(done.stderr.strip().splitlines()[-1])
    figures = json.loads(done.stdout)
    return Cost(figures["seconds"], time.perf_counter() - started, figures["peak_mb"])


def cost_of_peer(python: Path, peer: str, model: Path, frames: Path) -> Cost:
    """Runs a peer in a process of its own."""
    started = time.perf_counter()
    run = run_peer(python, peer, model, input_name(model), frames, None, memory_limit=16)
    return Cost(run.seconds, time.perf_counter() - started, run.peak_mb)


def table(costs: dict[str, list[Cost]]) -> str:
    """Markdown: medians and ratios to the first tool."""
    lines = [
        "| tool | seconds | of ours | whole process, s | peak MB | of ours |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    first: Cost | None = None
    for tool, runs in costs.items():
        if not runs:
            lines.append(f"| {tool} | failed | | | | |")
            continue
        middle = Cost(
            statistics.median(run.seconds for run in runs),
            statistics.median(run.process_seconds for run in runs),
            statistics.median(run.peak_mb for run in runs),
        )
        first = first or middle
        time_ratio, memory_ratio = middle.seconds / first.seconds, middle.peak_mb / first.peak_mb
        lines.append(
            f"| {tool} | {middle.seconds:.2f} | {time_ratio:.2f} | {middle.process_seconds:.2f} "
            f"| {middle.peak_mb:.0f} | {memory_ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--cache", type=Path, default=cache_folder() / "data")
    parser.add_argument("--peers-env", type=Path, default=cache_folder() / "peers")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        model, frames_file, options = json.loads(arguments.child)
        compile_once(Path(model), Path(frames_file), options)
        return
    network = networks(arguments.cache, [arguments.network])[0]
    settings = Settings(arguments.frames, arguments.cache, arguments.peers_env, 16, 3600)
    frames = calibration_file(network, settings)
    python = peers_python(arguments.peers_env)
    costs: dict[str, list[Cost]] = {tool: [] for tool in arguments.tools}
    for turn in range(arguments.rounds):
        shift = turn * len(arguments.tools) // arguments.rounds
        for tool in [*arguments.tools[shift:], *arguments.tools[:shift]]:
            try:
                if tool in OURS:
                    cost = cost_of_ours(network.model, frames, OURS[tool])
                else:
                    cost = cost_of_peer(python, tool, network.model, frames)
            except PeerError as error:
                print(f"{tool}: {error}", flush=True)
                continue
            costs[tool].append(cost)
            print(tool, cost, flush=True)
    text = f"{network.name}, {arguments.frames} frames\n\n{table(costs)}"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
