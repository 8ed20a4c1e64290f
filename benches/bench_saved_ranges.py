"""Time of a compilation from data against one from the saved quantization proto.

    python benches/bench_saved_ranges.py [--frames 100] [--only NAME] [--cases 'type 0' ...]

Each network is compiled once from data, which writes the proto, then three times from the proto
alone; the fastest of the three counts. The Networks must be equal, byte for byte. Cases are scale
types, 16 bits, and mixed bits: the first and the last layer with weights have 16.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

from network import Network, input_name
from tasks.classification import classifiers

import tidlq

_WIDE = "output_feature_16bit_names_list"
CASES: dict[str, dict[str, object]] = {
    "type 0": {"quantization_scale_type": 0},
    "type 1": {"quantization_scale_type": 1},
    "type 4": {"quantization_scale_type": 4},
    "type 0, 16 bits": {"tensor_bits": 16},
    "type 4, mixed": {"quantization_scale_type": 4, _WIDE: ""},
}


def options_of(case: str, network: Network, level: int, frames: int) -> dict[str, object]:
    """The options of a case; its 16-bit layers are the network's first and last with weights."""
    options = {"accuracy_level": level, "calibration_frames": frames, **CASES[case]}
    if _WIDE in options:
        table = tidlq.RangeTable(network.model)
        layers = list(dict.fromkeys(x.layer for x in table if x.role == "weight"))
        options[_WIDE] = f"{layers[0]},{layers[-1]}"
    return options


def measure(
    network: Network, case: str, level: int, frames: int, folder: Path
) -> tuple[float, float]:
    """Seconds from data and from the proto."""
    proto = folder / f"{network.name} {case}.prototxt"
    options = options_of(case, network, level, frames) | {"quant_params_proto_path": str(proto)}
    data = list(network.frames(input_name(network.model), frames))
    started = time.perf_counter()
    first = tidlq.compile(network.model, data, options)
    from_data = time.perf_counter() - started
    from_proto = []
    for _ in range(3):
        started = time.perf_counter()
        again = tidlq.compile(network.model, None, options)
        from_proto.append(time.perf_counter() - started)
        assert again.artifacts.stages == first.artifacts.stages, (network.name, case)
    return from_data, min(from_proto)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--level", type=int, default=0, help="accuracy_level")
    parser.add_argument("--only", default="")
    parser.add_argument("--cases", nargs="*", default=["*"], help="patterns")
    arguments = parser.parse_args()
    print("| network | case | from data, s | from the proto, s | ratio |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for network in classifiers():
            for case in CASES:
                wanted = any(fnmatch(case, pattern) for pattern in arguments.cases)
                if wanted and arguments.only in network.name:
                    level, frames = arguments.level, arguments.frames
                    data, proto = measure(network, case, level, frames, Path(folder))
                    row = f"{network.name} | {case} | {data:.3f} | {proto:.3f} | {proto / data:.3f}"
                    print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
