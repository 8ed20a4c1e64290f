"""Time of inference beside ONNX Runtime, OpenVINO and LiteRT.

    python benches/bench_inference.py [--networks MobileNetV2] [--threads 1 2] [--batches 1 8]

Every contender is a process of its own with its threads pinned, and waits for its turn: in each
round all run one after the other, each round starting with another one. A ratio is taken within a
round, so that what disturbs the machine for longer disturbs both; its median and quartiles over the
rounds are printed. Peers run a batch in whichever way is fastest: at once, frame by frame, or side
by side. Results are kept; `render_performance.py` makes the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_folder import cache_folder
from inference_models import WRITERS, Contender, Race, prequantized_race, sized_race
from peers.environment import peers_python

WORKER = Path(__file__).with_name("inference_worker.py")

#: Seconds that a contender's turn aims at.
TURN = 0.25


@dataclass(frozen=True)
class Measured:
    """Milliseconds per frame of all contenders of a race, round by round.

    Attributes:
        network, threads, batch: what was run.
        rounds: by contender; entry k of each is of round k.
        date: of the measurement.
        machine: processor and number of cores.
    """

    network: str
    threads: int
    batch: int
    rounds: dict[str, list[float]]
    date: str
    machine: str

    def least(self, name: str) -> float:
        """The least milliseconds per frame of a contender."""
        return min(self.rounds[name])

    def ratio(self, name: str, other: str) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of time over the other's time."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        ratios = sorted(a / b for a, b in pairs)
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, middle, high


def machine() -> str:
    """Processor and cores, as the page names them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    family = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
    return f"{fields.get('model name', 'unknown')} ({family}), {os.cpu_count()} cores"


class _Process:
    """A worker that waits for turns."""

    def __init__(self, contender: Contender, race: Race, peers: Path, size: Sequence[int]) -> None:
        python = sys.executable if contender.engine == "tidlq" else str(peers)
        command = [python, str(WORKER), contender.engine, str(contender.model), race.input_name]
        command += [str(race.frames), *map(str, size)]
        pipe = subprocess.PIPE
        self._name = contender.name
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self._read()
        self._count = 1
        milliseconds = self.turn() * size[1]
        self._count = max(1, round(TURN * 1e3 / milliseconds))

    def turn(self) -> float:
        """Milliseconds per frame: the least of the runs of one turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._count}\n")
        self._process.stdin.flush()
        return float(self._read())

    def end(self) -> None:
        """Lets the process go."""
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} ended with code {self._process.wait()}")
        return line


def measure(race: Race, peers: Path, size: tuple[int, int], rounds: int) -> Measured:
    """Runs a race with (threads, batch)."""
    processes = {x.name: _Process(x, race, peers, size) for x in race.contenders}
    figures: dict[str, list[float]] = {name: [] for name in processes}
    names = list(processes)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            figures[name].append(processes[name].turn())
    for process in processes.values():
        process.end()
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return Measured(race.network, *size, figures, date, machine())


def results_folder(cache: Path) -> Path:
    """Where results are kept."""
    return cache / "inference_results"


def load_measured(cache: Path) -> list[Measured]:
    """Every result that is kept."""
    files = sorted(results_folder(cache).glob("*.json"))
    return [Measured(**json.loads(file.read_text())) for file in files]


def save(cache: Path, found: Measured) -> None:
    """Keeps a result."""
    name = re.sub(r"[^A-Za-z0-9.]+", "_", f"{found.network} {found.threads} {found.batch}")
    target = results_folder(cache) / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(dataclasses.asdict(found), indent=1))


def describe(found: Measured) -> str:
    """Lines of progress: milliseconds, and the ratio of the first contender to each."""
    lines = [f"{found.network}, {found.threads} threads, batch {found.batch}"]
    first = next(iter(found.rounds))
    for name in found.rounds:
        low, middle, high = found.ratio(first, name)
        spread = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"  {name:24} {found.least(name):8.2f} ms   {first} takes {spread} of it")
    return "\n".join(lines)


def main() -> None:
    """Measures, keeps and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=[*WRITERS, "tflite"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--peers-env", type=Path, default=cache_folder() / "peers")
    arguments = parser.parse_args()
    peers = peers_python(arguments.peers_env)
    folder = arguments.cache / "inference"
    for network in arguments.networks:
        is_sized = network in WRITERS
        race = sized_race(network, folder, peers) if is_sized else prequantized_race(folder)
        if race is None:
            print("LiteRT is not measured: the data folder has no int8 network")
            continue
        for batch in arguments.batches:
            for threads in arguments.threads:
                found = measure(race, peers, (threads, batch), arguments.rounds)
                save(arguments.cache, found)
                print(describe(found), flush=True)


if __name__ == "__main__":
    main()
