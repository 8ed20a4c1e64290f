"""Time of a full ranking beside peers', in one run: every group and state against theirs.

    python benches/bench_sensitivity.py [--networks NAME ...] [--sizes ResNet-50 ...] [--frames 16]
                                        [--peers nncf esp-ppq]

Ours: every group of layers in every state above 8 bits, 16 frames, errors of the outputs with
matched biases, from the bias-calibrated 8-bit network. NNCF: its accuracy control reverts one group
of quantizers at a time and runs the whole network on the same frames. esp-ppq: its layer-wise
analysis quantizes one layer at a time; it needs torch, which takes several GB and is installed only
when it is asked for. All after calibration, whose time is not in the figures; all use all cores.
On a machine that others use too, CPU seconds tell more than wall seconds.

`--networks` are real ones, `--sizes` have random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_calibration import Settings, calibration_file
from bench_calibration_sizes import SIZES
from columns import TYPE_1, TYPE_4
from data_folder import cache_folder
from network import input_name
from peers.client import BENCHES
from peers.environment import TORCH_REQUIREMENTS, peers_python
from sized_models import write_frames
from tasks import networks

import tidlq
from tidlq.analysis import Sensitivity, Variant, measure_sensitivity
from tidlq.calibration import FloatFeatures, float_accumulator_means
from tidlq.graph.model import Graph
from tidlq.precision.groups import find_precision_groups, precision_of_states
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.variants import VariantPlans


def open_features(graph: Graph, names: Sequence[str]) -> FloatFeatures:
    """The float network with all cores."""
    return FloatFeatures(graph, names)


@dataclass(frozen=True)
class Cost:
    """What a ranking took.

    Attributes:
        rankings: how many variants, groups or layers.
        seconds: wall.
        cpu_seconds: of all threads.
    """

    rankings: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Ranked:
    """A network and its frames."""

    name: str
    model: Path
    frames_file: Path
    frames: int

    def load_frames(self) -> np.ndarray:
        """float32 [frames, ...]."""
        frames: np.ndarray = np.load(self.frames_file, mmap_mode="r")[: self.frames]
        return frames


def ours(model: Path, frames: np.ndarray, options: dict[str, int]) -> tuple[Cost, Sensitivity]:
    """What the ranking took, and what it found."""
    name = input_name(model)
    data = [{name: frames[k : k + 1]} for k in range(len(frames))]
    compiled = tidlq.compile(model, data, {**options, "calibration_frames": len(frames)})
    graph, parts, plan = compiled.graph, compiled.partition, compiled.plan
    assert plan is not None
    wide = measure_parameters(graph, parts.layers)
    started, started_cpu = time.perf_counter(), time.process_time()
    plans = VariantPlans(graph, parts, compiled.ranges, plan.scheme, wide=wide)
    groups = find_precision_groups(graph, parts)
    variants = [
        Variant(group.name, state.value, precision_of_states(groups, {group.name: state}))
        for group in groups
        for state in group.states[1:]
    ]
    found = measure_sensitivity(
        graph,
        parts,
        plans.plan,
        variants,
        data,
        open_features,
        float_means=float_accumulator_means,
    )
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    return Cost(len(found.variants), seconds, cpu_seconds), found


def ranked_by_peer(python: Path, module: str, ranked: Ranked) -> Cost:
    """What a peer's ranking took."""
    with tempfile.TemporaryDirectory() as folder:
        report, frames = Path(folder) / "report.json", Path(folder) / "frames.npy"
        np.save(frames, ranked.load_frames())
        command = [str(python), "-m", module, "--model", str(ranked.model)]
        command += ["--input", input_name(ranked.model), "--frames", str(frames)]
        command += ["--report", str(report)]
        # Threads that spin while they wait would burn what other processes need.
        environment = {**os.environ, "PYTHONPATH": str(BENCHES), "OMP_WAIT_POLICY": "PASSIVE"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        figures = json.loads(report.read_text())
    return Cost(int(figures["groups"]), figures["seconds"], figures["cpu_seconds"])


def chosen_networks(arguments: argparse.Namespace, folder: Path) -> Iterator[Ranked]:
    """The real networks, then those of a size."""
    settings = Settings(arguments.frames, arguments.cache, arguments.peers_env, 16, 3600)
    if arguments.networks:
        for network in networks(arguments.cache, arguments.networks):
            file = calibration_file(network, settings)
            yield Ranked(network.name, network.model, file, arguments.frames)
    for size in arguments.sizes:
        frames = write_frames(folder / "frames.npy", arguments.frames)
        yield Ranked(size, SIZES[size](folder / f"{size}.onnx"), frames, arguments.frames)


def rows_of(ranked: Ranked, arguments: argparse.Namespace) -> Iterator[tuple[str, Cost]]:
    """Every tool in turn."""
    for scale_type in arguments.types:
        options = {**(TYPE_4 if scale_type == 4 else TYPE_1), "accuracy_level": 1}
        yield f"tidlq type {scale_type}", ours(ranked.model, ranked.load_frames(), options)[0]
    if "nncf" in arguments.peers:
        python = peers_python(arguments.peers_env)
        yield "NNCF accuracy control", ranked_by_peer(python, "peers.nncf_ranking", ranked)
    if "esp-ppq" in arguments.peers:
        python = peers_python(arguments.torch_env, TORCH_REQUIREMENTS)
        yield "esp-ppq layer-wise", ranked_by_peer(python, "peers.esp_ppq_layers", ranked)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["mobilenet_v2_1.0_224_deqfloat"])
    parser.add_argument("--sizes", nargs="*", default=[], choices=list(SIZES))
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--types", nargs="+", type=int, choices=(1, 4), default=[4, 1])
    parser.add_argument("--cache", type=Path, default=cache_folder() / "data")
    parser.add_argument("--peers", nargs="*", choices=("nncf", "esp-ppq"), default=["nncf"])
    parser.add_argument("--peers-env", type=Path, default=cache_folder() / "peers")
    parser.add_argument("--torch-env", type=Path, default=cache_folder() / "torch-peers")
    arguments = parser.parse_args()
    print("| network | tool | rankings | seconds | CPU seconds | CPU seconds per ranking |")
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for ranked in chosen_networks(arguments, Path(folder)):
            for tool, cost in rows_of(ranked, arguments):
                each = cost.cpu_seconds / max(cost.rankings, 1)
                cells = f"{cost.rankings} | {cost.seconds:.2f} | {cost.cpu_seconds:.2f}"
                print(f"| {ranked.name} | {tool} | {cells} | {each:.3f} |", flush=True)


if __name__ == "__main__":
    main()
