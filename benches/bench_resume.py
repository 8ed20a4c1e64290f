"""What an interrupted calibration costs: ten kills at random moments, and the price of being ready.

    python benches/bench_resume.py [--only efficientnet_lite0] [--frames 50] [--kills 10] [--seed 0]

`tidlq compile` is killed (SIGKILL) at random moments of its run time and started again; the second
run's folder of artifacts must equal that of an uninterrupted run, byte for byte. The last line
gives the share of an uninterrupted calibration that keeping its progress takes.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from network import Network, input_name
from tasks.classification import classifiers

import tidlq
from tidlq.artifacts import PROGRESS
from tidlq.calibration import CheckpointFile
from tidlq.calibration.frames import FrameDigest


def command(network: Network, data: Path, frames: int, folder: Path) -> list[str]:
    """The compilation, as a user types it."""
    options = ["--frames", str(frames), "--option", "quantization_scale_type=1"]
    program = [sys.executable, "-m", "tidlq", "compile", str(network.model)]
    return [*program, "--calib", str(data), *options, "-o", str(folder), "--json"]


def finish(arguments: Sequence[str]) -> tuple[float, dict[str, object]]:
    """Runs to the end; seconds and what the run says of itself."""
    started = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, json.loads(done.stdout)


def kill_after(arguments: Sequence[str], seconds: float) -> bool:
    """Starts and kills; False when the run was through before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """Every file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def show_kills(
    network: Network, data: Path, frames: int, moments: Sequence[float], work: Path
) -> None:
    """One row per kill; a difference in the artifacts ends the bench."""
    whole = work / "whole"
    seconds, document = finish(command(network, data, frames, whole))
    print(f"{network.name}, {frames} frames: {seconds:.1f} s without interruption\n")
    print("| killed after, s | progress, kB | continued, s | frames not run again | artifacts |")
    print("|---:|---:|---:|---:|---|")
    for number, moment in enumerate(moments):
        folder = work / f"killed_{number}"
        arguments = command(network, data, frames, folder)
        is_killed = kill_after(arguments, moment * seconds)
        progress = folder / PROGRESS
        size = progress.stat().st_size // 1000 if progress.exists() else 0
        continued, document = finish(arguments)
        is_same = contents(folder) == contents(whole)
        print(
            f"| {moment * seconds:.1f}{'' if is_killed else ' (was through)'} | {size} "
            f"| {continued:.1f} | {document['resumed_frames']} "
            f"| {'identical' if is_same else 'DIFFERENT'} |"
        )
        if not is_same:
            sys.exit("the artifacts differ")


def show_price(network: Network, data: Path, frames: int, work: Path) -> None:
    """Seconds within the methods that keep progress, beside those of the whole compilation.

    Differences of whole runs are smaller than what else a machine does.
    """
    given = list(np.load(data)[:, np.newaxis])
    options = {"quantization_scale_type": 1, "calibration_frames": frames}
    saving, comparing = Stopwatch(CheckpointFile, "save"), Stopwatch(FrameDigest, "add")
    started = time.perf_counter()
    tidlq.compile(network.model, given, options, progress_folder=work / "price")
    seconds = time.perf_counter() - started
    print(
        f"\nof {seconds:.2f} s, saving took {1000 * saving.seconds:.0f} ms and digests of frames "
        f"{1000 * comparing.seconds:.0f} ms: "
        f"{100 * (saving.seconds + comparing.seconds) / seconds:.2f} %"
    )


class Stopwatch:
    """Adds up the time within a method.

    Args:
        owner: its class.
        name: of the method.
    """

    def __init__(self, owner: type, name: str) -> None:
        self.seconds = 0.0
        method = getattr(owner, name)

        def timed(*arguments: object) -> object:
            started = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self.seconds += time.perf_counter() - started

        setattr(owner, name, timed)


def main() -> None:
    """Prints the table and the price."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="efficientnet_lite0")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = random.Random(arguments.seed)
    moments = sorted(source.random() for _ in range(arguments.kills))
    for network in classifiers():
        if arguments.only not in network.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            name = input_name(network.model)
            frames = [frame[name][0] for frame in network.frames(name, arguments.frames)]
            np.save(work / "frames.npy", np.stack(frames))
            show_kills(network, work / "frames.npy", arguments.frames, moments, work)
            show_price(network, work / "frames.npy", arguments.frames, work)


if __name__ == "__main__":
    main()
