"""Asks a peer in its own environment and brings its outputs back."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peers.job import Outputs

BENCHES = Path(__file__).resolve().parents[1]
MEMORY_ERRORS = ("MemoryError", "bad_alloc", "bad allocation", "Unable to allocate", "BFCArena")


class PeerError(Exception):
    """A peer could not quantize or run a network; the message is its own."""


@dataclass(frozen=True)
class PeerRun:
    """Outputs over the evaluation inputs, and what the quantization took.

    Attributes:
        outputs: one array per output, frames first; empty when there were no inputs.
        seconds: of the quantization alone.
        peak_mb: of the process until it had quantized.
    """

    outputs: Outputs
    seconds: float
    peak_mb: float


def run_peer(
    python: Path,
    peer: str,
    model: Path,
    input_name: str,
    frames: Path,
    inputs: Path | None,
    *,
    memory_limit: float = 10.0,
    timeout: float | None = None,
) -> PeerRun:
    """Quantizes `model` with the frames of one file and runs it over the inputs of another.

    Raises:
        PeerError: The peer failed, needs more than `memory_limit` GB or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), "-m", "peers.worker", peer, "--model", str(model)]
        command += ["--input", input_name, "--frames", str(frames), "--folder", folder]
        command += ["--memory-limit", str(memory_limit)]
        command += ["--inputs", str(inputs)] if inputs else []
        environment = {**os.environ, "PYTHONPATH": str(BENCHES)}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise PeerError(f"took more than {timeout:.0f} s") from None
        report = Path(folder, "report.json")
        if done.returncode != 0 or not report.exists():
            raise PeerError(_reason(done, memory_limit))
        figures = json.loads(report.read_text())
        count = len(list(Path(folder).glob("output_*.npy")))
        outputs = [np.load(Path(folder, f"output_{index}.npy")) for index in range(count)]
        return PeerRun(outputs, figures["seconds"], figures["peak_mb"])


def _reason(done: subprocess.CompletedProcess[str], memory_limit: float) -> str:
    if any(word in done.stderr for word in MEMORY_ERRORS):
        return f"needs more than {memory_limit:g} GB of memory"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else f"ended with code {done.returncode}"
