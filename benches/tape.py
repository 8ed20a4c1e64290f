"""What an evaluation feeds a model and what the float model answers, recorded once.

Every column of a network then runs the recorded inputs, in whatever process or environment it
needs, and the data folder's eval.py scores the answers by playing them back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from data_folder import runner
from network import Array, Network, Score
from numpy.typing import NDArray

Outputs = list[NDArray[Any]]
Rows = Callable[[int, int], Outputs]


@dataclass(frozen=True)
class Tape:
    """Inputs and float outputs of one evaluation.

    Attributes:
        inputs_file: float32 [N, ...] as the model takes them.
        inputs: the same, mapped from the file.
        outputs: of the float model, frames first.
        score: of the float model.
    """

    inputs_file: Path
    inputs: Array
    outputs: Outputs
    score: Score


def load_tape(network: Network, folder: Path) -> Tape:
    """The tape of a network, recorded when there is none of this very model."""
    home = folder / network.name
    stamp = home / "tape.json"
    digest = hashlib.sha256(network.model.read_bytes()).hexdigest()
    facts = json.loads(stamp.read_text()) if stamp.exists() else {}
    if facts.get("model") != digest:
        home.mkdir(parents=True, exist_ok=True)
        score, count = _record(network, home)
        facts = {"model": digest, "outputs": count, "percent": score.percent}
        facts |= {"samples": score.samples, "details": dict(score.details)}
        stamp.write_text(json.dumps(facts))
    outputs: Outputs = [
        np.load(home / f"float_{index}.npy", mmap_mode="r") for index in range(facts["outputs"])
    ]
    score = Score(facts["percent"], facts["samples"], facts["details"])
    inputs = home / "inputs.npy"
    return Tape(inputs, np.load(inputs, mmap_mode="r"), outputs, score)


def _record(network: Network, home: Path) -> tuple[Score, int]:
    base = runner()
    inputs: list[Array] = []
    outputs: list[Outputs] = []

    class Recorder(base):  # type: ignore[misc, valid-type]
        def _one(self, x: Array) -> Outputs:
            answers: Outputs = super()._one(x)
            assert all(len(answer) == len(x) for answer in answers), network.name
            inputs.append(x)
            outputs.append(answers)
            return answers

    score = network.score(lambda *_, **options: Recorder(str(network.model), **options))
    np.save(home / "inputs.npy", np.concatenate(inputs))
    columns = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    for index, column in enumerate(columns):
        np.save(home / f"float_{index}.npy", column)
    return score, len(columns)


def play(network: Network, tape: Tape, rows: Rows) -> Score:
    """Scores recorded answers; `rows(start, stop)` gives those of some frames."""
    base = runner()

    class Player(base):  # type: ignore[misc, valid-type]
        position = 0

        def _one(self, x: Array) -> Outputs:
            start, self.position = self.position, self.position + len(x)
            assert np.array_equal(x[0], tape.inputs[start]), f"{network.name}: another picture"
            return rows(start, self.position)

    return network.score(lambda *_, **options: Player(str(network.model), **options))
