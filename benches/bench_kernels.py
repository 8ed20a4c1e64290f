"""Products per second of single layers on every instruction set, and what a start costs.

    python benches/bench_kernels.py [--rounds 9]

Every layer is a network of its own, compiled here; `examples/kernel_rates.rs` times it beside the
peak of the instructions that multiply, all in turn. Needs cargo. A start is a process of its own,
the least of several. Results are kept; `render_performance.py` makes the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from bench_inference import machine
from data_folder import cache_folder
from onnx import TensorProto, helper
from sized_models import Builder, write_frames, write_resnet50

import tidlq

ROOT = Path(__file__).resolve().parents[1]
OPTIONS: Mapping[str, Mapping[str, int]] = {
    "8 bits, type 0": {"quantization_scale_type": 0},
    "8 bits, type 4": {"quantization_scale_type": 4},
    "16 bits": {"quantization_scale_type": 0, "tensor_bits": 16},
}


@dataclass(frozen=True)
class Layer:
    """A convolution, or a product of matrices where `kernel` is 0.

    Attributes:
        name: of the page's line.
        size: height and width of the input; rows of a matrix.
        channels: of input and output.
        kernel, stride, groups: of the convolution.
    """

    name: str
    size: int
    channels: tuple[int, int]
    kernel: int = 0
    stride: int = 1
    groups: int = 1


LAYERS = (
    Layer("product of 512 x 512 matrices", 512, (512, 512)),
    Layer("product of 1024 x 1024 matrices", 1024, (1024, 1024)),
    Layer("1 x 1, 256 to 64 channels, 56 x 56", 56, (256, 64), 1),
    Layer("3 x 3, 64 channels, 56 x 56", 56, (64, 64), 3),
    Layer("3 x 3, 512 channels, 7 x 7", 7, (512, 512), 3),
    Layer("3 x 3 / 2, 3 to 32 channels, 224 x 224", 224, (3, 32), 3, 2),
    Layer("depthwise 3 x 3, 144 channels, 56 x 56", 56, (144, 144), 3, 1, 144),
    Layer("depthwise 3 x 3 / 2, 144 channels, 56 x 56", 56, (144, 144), 3, 2, 144),
)


@dataclass(frozen=True)
class Rate:
    """A layer on an instruction set.

    Attributes:
        layer, options: what was measured.
        isa: instruction set.
        rate: 1e9 products per second.
        share: of the peak of what multiplies.
    """

    layer: str
    options: str
    isa: str
    rate: float
    share: float


@dataclass(frozen=True)
class KernelResults:
    """What is kept.

    Attributes:
        rates: of layers.
        peaks: 1e9 products per second by `ISA kind`.
        selected: the instruction set that the dispatcher picks.
        starts: seconds by what is started.
        date, machine: of the measurement.
    """

    rates: list[Rate]
    peaks: dict[str, float]
    selected: str
    starts: dict[str, float]
    date: str
    machine: str


def results_file(cache: Path) -> Path:
    """Where results are kept."""
    return cache / "kernel_results.json"


def load_results(cache: Path) -> KernelResults | None:
    """The kept results, if there are any."""
    file = results_file(cache)
    if not file.exists():
        return None
    kept = json.loads(file.read_text())
    return KernelResults(**{**kept, "rates": [Rate(**rate) for rate in kept["rates"]]})


def write_layer(layer: Layer, path: Path) -> tuple[int, ...]:
    """A network of one layer with random weights; returns its input's shape."""
    build, (depth, width) = Builder(seed=3), layer.channels
    if layer.kernel:
        shape: tuple[int, ...] = (1, depth, layer.size, layer.size)
        channels = (depth, width)
        y = build.convolution("x", channels, layer.kernel, layer.stride, layer.groups)
    else:
        shape = (layer.size, depth)
        weight = build.random.normal(0, depth**-0.5, (depth, width))
        y = build.node("MatMul", ["x", build.constant(weight)])
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info(y, TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(build.nodes, "layer", ends[:1], ends[1:], build.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return shape


def compiled(layer: Layer, options: str, folder: Path) -> Path:
    """The `.tidlq` file of a layer; made once."""
    place = folder / f"{LAYERS.index(layer)} {options}".replace(" ", "_").replace(",", "")
    if not place.exists():
        model = folder / "layer.onnx"
        shape = write_layer(layer, model)
        random = np.random.default_rng(5)
        frames = [{"x": random.normal(0, 1, shape).astype(np.float32)} for _ in range(2)]
        settings = {"accuracy_level": 0, "calibration_frames": 2, **OPTIONS[options]}
        tidlq.compile(model, frames, settings).save(place)
    return place / "stage_0.tidlq"


def measure_rates(folder: Path, rounds: int) -> tuple[list[Rate], dict[str, float], str]:
    """Rates of all layers, peaks, and the dispatcher's pick."""
    files = {
        str(compiled(layer, options, folder)): (layer.name, options)
        for layer in LAYERS
        for options in OPTIONS
    }
    command = ["cargo", "run", "--release", "--locked", "-q", "-p", "tidlq-core"]
    command += ["--example", "kernel_rates", "--", str(rounds), *files]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rates, peaks, selected = [], {}, ""
    for kind, *fields in (line.split("\t") for line in printed.splitlines()):
        if kind == "peak":
            peaks[f"{fields[0]} {fields[1].lower()}"] = float(fields[2])
        elif kind == "kernel":
            isa, file, rate, _, _, share = fields
            rates.append(Rate(*files[file], isa, float(rate), float(share)))
        else:
            selected = fields[0]
    return rates, peaks, selected


def least_seconds(run: Callable[[], object], rounds: int) -> float:
    """The least time of some runs."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


def measure_starts(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of processes and of loading."""

    def process(*arguments: str) -> Callable[[], object]:
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    network = folder / "loaded"
    if not network.exists():
        model, frames = folder / "loaded.onnx", folder / "loaded.npy"
        write_resnet50(model)
        write_frames(frames, 1)
        data = [{"x": frame[None]} for frame in np.load(frames)]
        settings = {"accuracy_level": 0, "calibration_frames": 1}
        tidlq.compile(model, data, settings).save(network)
    size = (network / "stage_0.tidlq").stat().st_size / 1e6
    return {
        "`python -c pass`": least_seconds(process("-c", "pass"), rounds),
        "`python -c 'import tidlq'`": least_seconds(process("-c", "import tidlq"), rounds),
        "`tidlq --help`": least_seconds(process("-m", "tidlq", "--help"), rounds),
        f"loading a `.tidlq` of {size:.0f} MB": least_seconds(
            lambda: tidlq.InferenceSession(network, threads=1), rounds
        ),
    }


def main() -> None:
    """Measures, keeps and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    arguments = parser.parse_args()
    folder = arguments.cache / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    rates, peaks, selected = measure_rates(folder, arguments.rounds)
    starts = measure_starts(folder, arguments.rounds)
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    found = KernelResults(rates, peaks, selected, starts, date, machine())
    kept = json.dumps(dataclasses.asdict(found), indent=1)
    results_file(arguments.cache).write_text(kept)
    print(kept)


if __name__ == "__main__":
    main()
