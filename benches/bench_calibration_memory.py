"""Peak memory of a calibration against the number of frames, each in a process of its own.

python benches/bench_calibration_memory.py [--model NAME] [--frames 16 256]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import cycle

from network import input_name
from tasks.classification import classifiers


def _measure(name: str, frames: int) -> None:
    import tidlq

    network = next(n for n in classifiers() if n.name == name)
    source = input_name(network.model)
    pictures = cycle(list(network.frames(source, 16)))
    endless = (next(pictures) for _ in range(frames))
    started = time.perf_counter()
    tidlq.compile(
        network.model,
        endless,
        {"quantization_scale_type": 4, "accuracy_level": 0, "calibration_frames": frames},
    )
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"frames": frames, "seconds": round(seconds, 2), "peak_mb": round(peak, 1)}))


def main() -> None:
    """Runs the measurement once per number of frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 256])
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child:
        _measure(arguments.model, arguments.child)
        return
    for frames in arguments.frames:
        command = [sys.executable, __file__, "--model", arguments.model, "--child", str(frames)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
