"""Time of a full ranking beside a peer's, in one run: every group and state against NNCF's ranking.

    python benches/bench_sensitivity.py [--networks NAME ...] [--frames 16] [--peers-env FOLDER]

Ours: every group of layers in every state above 8 bits, 16 frames, errors of the outputs with
matched biases, from the bias-calibrated 8-bit network. NNCF: its accuracy control reverts one group
of quantizers at a time and runs the whole network on the same frames. Both after calibration, whose
time is not in the figures; both use all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_calibration import Settings, calibration_file
from columns import TYPE_1, TYPE_4
from data_folder import cache_folder
from network import input_name
from peers.client import BENCHES
from peers.environment import peers_python
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


def ours(model: Path, frames: np.ndarray, options: dict[str, int]) -> tuple[float, Sensitivity]:
    """Seconds of the ranking, and what it found."""
    name = input_name(model)
    data = [{name: frames[k : k + 1]} for k in range(len(frames))]
    compiled = tidlq.compile(model, data, {**options, "calibration_frames": len(frames)})
    graph, parts, plan = compiled.graph, compiled.partition, compiled.plan
    assert plan is not None
    wide = measure_parameters(graph, parts.layers)
    started = time.perf_counter()
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
    return time.perf_counter() - started, found


def nncf(python: Path, model: Path, frames: Path) -> tuple[float, int]:
    """Seconds of the ranking, and how many groups it ranked."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [str(python), "-m", "peers.nncf_ranking", "--model", str(model)]
        command += ["--input", input_name(model), "--frames", str(frames)]
        command += ["--report", str(report)]
        environment = {**os.environ, "PYTHONPATH": str(BENCHES)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        figures = json.loads(report.read_text())
    return figures["seconds"], int(figures["groups"])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["mobilenet_v2_1.0_224_deqfloat"])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--types", nargs="+", type=int, choices=(1, 4), default=[4, 1])
    parser.add_argument("--cache", type=Path, default=cache_folder() / "data")
    parser.add_argument("--peers-env", type=Path, default=cache_folder() / "peers")
    parser.add_argument("--without-peer", action="store_true")
    arguments = parser.parse_args()
    settings = Settings(arguments.frames, arguments.cache, arguments.peers_env, 16, 3600)
    print("| network | tool | rankings | seconds | seconds per ranking |")
    print("|---|---|---:|---:|---:|")
    for network in networks(arguments.cache, arguments.networks):
        frames_file = calibration_file(network, settings)
        frames = np.load(frames_file)[: arguments.frames]
        rows: list[tuple[str, int, float]] = []
        for scale_type in arguments.types:
            options = {**(TYPE_4 if scale_type == 4 else TYPE_1), "accuracy_level": 1}
            seconds, found = ours(network.model, frames, options)
            rows.append((f"tidlq type {scale_type}", len(found.variants), seconds))
        if not arguments.without_peer:
            seconds, count = nncf(peers_python(arguments.peers_env), network.model, frames_file)
            rows.append(("NNCF accuracy control", count, seconds))
        for tool, count, seconds in rows:
            each = seconds / max(count, 1)
            print(f"| {network.name} | {tool} | {count} | {seconds:.2f} | {each:.3f} |", flush=True)


if __name__ == "__main__":
    main()
