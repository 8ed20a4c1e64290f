"""Time of a compilation from data against one from the saved quantization proto.

    python benches/bench_saved_ranges.py [--level 1] [--frames 20] [--only NAME] [--cases ...]

Each network is compiled from data, which writes the proto, then three times from the proto alone;
the fastest of the three counts. The Networks must be equal, byte for byte. Something else was
compiled before, so that libraries are loaded. Cases are scale types, 16 bits, and mixed bits: the
first and the last layer with weights have 16. Results are kept; `render_saved_ranges.py` makes the
page.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from data_folder import cache_folder
from network import Network, input_name
from tasks.classification import classifiers

import tidlq
from tidlq import demo_data

NETWORKS = (
    "resnet20_cifar10",
    "keras_mobilenet_v1_0.25_224",
    "mobilenet_v2_1.0_224_deqfloat",
    "efficientnet_lite0",
)
_WIDE = "output_feature_16bit_names_list"
_TYPES = {f"type {number}": {"quantization_scale_type": number} for number in (0, 1, 4)}
CASES: dict[str, dict[str, object]] = {
    **_TYPES,
    **{f"{name}, mixed": {**options, _WIDE: ""} for name, options in _TYPES.items()},
    "type 0, 16 bits": {"quantization_scale_type": 0, "tensor_bits": 16},
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class Timing:
    """Seconds of one case, on the clock and of all cores together.

    Attributes:
        network, case, level, frames: what was compiled.
        data, data_cpu: from data.
        proto, proto_cpu: from the proto alone.
        date: of the measurement.
        cores: of the machine.
    """

    network: str
    case: str
    level: int
    frames: int
    data: float
    data_cpu: float
    proto: float
    proto_cpu: float
    date: str
    cores: int


def options_of(case: str, network: Network, level: int, frames: int) -> dict[str, object]:
    """The options of a case; its 16-bit layers are the network's first and last with weights."""
    options = {"accuracy_level": level, "calibration_frames": frames, **CASES[case]}
    if _WIDE in options:
        table = tidlq.RangeTable(network.model)
        layers = list(dict.fromkeys(x.layer for x in table if x.role == "weight"))
        options[_WIDE] = f"{layers[0]},{layers[-1]}"
    return options


def timed(work: Callable[[], _T]) -> tuple[_T, float, float]:
    """What the work returns, and its seconds: on the clock, of all cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def measure(network: Network, case: str, level: int, frames: int, folder: Path) -> Timing:
    """Times one case, and refuses Networks that are not equal."""
    proto = folder / f"{network.name} {case}.prototxt"
    options = options_of(case, network, level, frames) | {"quant_params_proto_path": str(proto)}
    data = list(network.frames(input_name(network.model), frames))
    first, wall, cpu = timed(lambda: tidlq.compile(network.model, data, options))
    again = []
    for _ in range(3):
        compiled, *seconds = timed(lambda: tidlq.compile(network.model, None, options))
        again.append(seconds)
        if compiled.artifacts.stages != first.artifacts.stages:
            raise SystemExit(f"{network.name}, {case}: the Networks differ")
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    least, least_cpu = (min(column) for column in zip(*again, strict=True))
    cores = os.cpu_count() or 1
    return Timing(network.name, case, level, frames, wall, cpu, least, least_cpu, date, cores)


def warm_up() -> None:
    """Loads every library that a compilation needs."""
    frames = [frame for frame, _ in zip(demo_data.calibration_frames(), range(8), strict=False)]
    tidlq.compile(demo_data.model_path(), frames, {"calibration_iterations": 1})


def results_folder(cache: Path) -> Path:
    """Where results are kept."""
    return cache / "saved_ranges"


def load_timings(cache: Path) -> list[Timing]:
    """Every result that is kept."""
    files = sorted(results_folder(cache).glob("*.json"))
    return [Timing(**json.loads(file.read_text())) for file in files]


def _save(cache: Path, timing: Timing) -> None:
    name = re.sub(r"[^A-Za-z0-9.]+", "_", f"{timing.network} {timing.case} {timing.level}")
    target = results_folder(cache) / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(dataclasses.asdict(timing), indent=1))


def _wanted(networks: Iterable[Network], pattern: str) -> list[Network]:
    found = {network.name: network for network in networks}
    return [found[name] for name in NETWORKS if name in found and pattern in name]


def main() -> None:
    """Measures, keeps and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--level", type=int, default=1, help="accuracy_level")
    parser.add_argument("--only", default="", help="part of a network's name")
    parser.add_argument("--cases", nargs="*", default=["*"], help="patterns")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    arguments = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        for network in _wanted(classifiers(), arguments.only):
            for case in CASES:
                if any(fnmatch(case, pattern) for pattern in arguments.cases):
                    level, frames = arguments.level, arguments.frames
                    found = measure(network, case, level, frames, Path(folder))
                    _save(arguments.cache, found)
                    print(
                        f"{found.network} | {found.case} | {found.data:.2f} | {found.proto:.3f} | "
                        f"{found.proto / found.data:.3f} | CPU {found.data_cpu:.2f} | "
                        f"{found.proto_cpu:.3f} | {found.proto_cpu / found.data_cpu:.3f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
