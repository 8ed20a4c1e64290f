"""Time of a compilation from data against one from the saved quantization proto.

    python benches/bench_saved_ranges.py [--frames 100] [--only NAME]

Each network is compiled once from data, which writes the proto, then three times from the proto
alone; the fastest of the three counts. The Networks must be equal, byte for byte.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from network import Network, input_name
from tasks.classification import classifiers

import tidlq


def measure(network: Network, frames: int, folder: Path) -> tuple[float, float]:
    """Seconds from data and from the proto."""
    proto = folder / f"{network.name}.prototxt"
    options = {
        "quantization_scale_type": 4,
        "accuracy_level": 0,
        "calibration_frames": frames,
        "quant_params_proto_path": str(proto),
    }
    data = list(network.frames(input_name(network.model), frames))
    started = time.perf_counter()
    first = tidlq.compile(network.model, data, options)
    from_data = time.perf_counter() - started
    from_proto = []
    for _ in range(3):
        started = time.perf_counter()
        again = tidlq.compile(network.model, None, options)
        from_proto.append(time.perf_counter() - started)
        assert again.artifacts.stages == first.artifacts.stages, network.name
    return from_data, min(from_proto)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    print("| network | from data, s | from the proto, s | ratio |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for network in classifiers():
            if arguments.only in network.name:
                data, proto = measure(network, arguments.frames, Path(folder))
                print(f"| {network.name} | {data:.3f} | {proto:.3f} | {proto / data:.3f} |")


if __name__ == "__main__":
    main()
