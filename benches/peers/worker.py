"""One peer on one network, in the peers' environment: quantize, then run evaluation inputs.

    python -m peers.worker PEER --model M --input NAME --frames F.npy --folder D [--inputs I.npy]

Writes `report.json` and, with --inputs, `output_0.npy`, ... into the folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from peers.catalog import load_peer
from peers.job import Array, Job, Quantized

CHUNK = 16


def limit_memory(gigabytes: float) -> None:
    """An allocation beyond the limit fails instead of taking the machine down."""
    size = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def predict(quantized: Quantized, inputs: Array, folder: Path) -> None:
    """Runs every frame and writes one file per output."""
    run, step = quantized.open(), quantized.batch or CHUNK
    rows = [run(np.ascontiguousarray(inputs[k : k + step])) for k in range(0, len(inputs), step)]
    for index, parts in enumerate(zip(*rows, strict=True)):
        np.save(folder / f"output_{index}.npy", np.concatenate(parts))


def main() -> None:
    """Runs the job that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--memory-limit", type=float, default=10.0, help="in GB")
    arguments = parser.parse_args()
    limit_memory(arguments.memory_limit)
    quantize = load_peer(arguments.peer)
    job = Job(arguments.model, arguments.input, np.load(arguments.frames), arguments.folder)
    started = time.perf_counter()
    quantized = quantize(job)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if arguments.inputs:
        predict(quantized, np.load(arguments.inputs, mmap_mode="r"), arguments.folder)
    report = {"seconds": round(seconds, 2), "peak_mb": round(peak, 1)}
    (arguments.folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
