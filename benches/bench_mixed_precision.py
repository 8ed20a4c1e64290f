"""Mixed precision against plain choices at equal latency: accuracy and SQNR of the outputs.

For each network, scale type and factor: 8 bits, 16 bits, the automatic choice, the groups with the
worst local SQNR, random groups (median of some draws), and the first and the last convolution.
All of them have the same ranges, and their own biases calibrated in full. Leaves a JSON per network
and scale type, which `render_mixed_precision.py` makes a page of.

    python benches/bench_mixed_precision.py [--networks PATTERN ...] [--draws 20] [--samples 200]
        [--frames 50] [--factors 1.1 1.2 1.4]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from data_folder import cache_folder
from network import Network, input_name
from tape import Tape, load_tape, play
from tasks import networks

import tidlq
from tidlq.calibration import BiasSweeps
from tidlq.calibration.bias.stages import IntegerStages
from tidlq.calibration.checkpoints import NoCheckpoints, State
from tidlq.decision.from_data import DataDecision
from tidlq.decision.latency import latency_model
from tidlq.decision.plain_orders import plain_orders
from tidlq.precision.cost import StateCosts
from tidlq.precision.groups import (
    GroupState,
    find_precision_groups,
    joined_precision,
    precision_of_states,
)
from tidlq.precision.search import States, fill
from tidlq.precision.work import layer_work

FACTORS = (1.1, 1.2, 1.4)
SCALE_TYPES = (1, 4)
FRAMES = 50
ROWS_AT_A_TIME = 16
HALFWAY = "halfway"


@dataclass(frozen=True)
class Cell:
    """What a choice reaches.

    Attributes:
        drop: points lost against float on the samples; None where the metric is no proportion.
        drop_error: standard error of the drop.
        sqnr_db: of the outputs, the worst one.
        factor: T_MP / T_8.
        below_db: how far the automatic choice is below this one; negative where it is above.
        below_error: standard error of that difference, over samples.
    """

    drop: float | None
    drop_error: float | None
    sqnr_db: float
    factor: float
    below_db: float | None = None
    below_error: float | None = None


class Kept(NoCheckpoints):
    """Measurements of one factor serve the others."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def load(self, phase: str, read: Callable[[State], Any]) -> Any:
        found = self.states.get(phase)
        return None if found is None else read(found)

    def save(self, phase: str, state: Callable[[], State]) -> None:
        if phase.startswith("precision"):
            self.states[phase] = state()


class Bench:
    """One network in one scale type."""

    def __init__(self, network: Network, tape: Tape, scale_type: int, given: Any) -> None:
        self.network, self.tape = network, tape
        count = min(given.samples, len(tape.inputs))
        self.rows = [i * len(tape.inputs) // count for i in range(count)]
        self.options = tidlq.Options.parse(
            {
                "quantization_scale_type": scale_type,
                "calibration_frames": given.frames,
                "mixed_precision_factor": 1.0001,
            }
        )
        name = input_name(network.model)
        frames = list(network.frames(name, given.frames))
        self.inputs = np.array(tape.inputs[self.rows])[:, None]
        self.name = name
        self._capture(frames)
        graph, parts = self.narrow.graph, self.narrow.parts
        self.groups = find_precision_groups(graph, parts)
        model = latency_model(self.options, parts)
        work = layer_work(graph, parts)
        self.costs = StateCosts(self.groups, work, model, self.base)
        # What fused activations widen counts towards the budget, but is not in T_8.
        self.cost_8 = StateCosts(self.groups, work, model).narrow
        self.widest: States = {group.name: group.states[-1] for group in self.groups}
        self.orders = plain_orders(graph, parts, self.narrow.plan, self.held)
        self.errors: dict[str, Any] = {}

    def _capture(self, frames: list[dict[str, Any]]) -> None:
        """The network in 8 bits as the choice finds it."""
        bench = self
        choose = DataDecision._mixed

        def capture(self: DataDecision, narrow: Any, held: Any) -> Any:
            bench.decision, bench.narrow, bench.held = self, narrow, held
            bench.base = self._precision(narrow.graph, narrow.parts)
            return narrow, None

        DataDecision._mixed = capture
        try:
            tidlq.compile(self.network.model, frames, self.options)
        finally:
            DataDecision._mixed = choose
        self.decision.checkpoints = Kept()

    def chosen(self, factor: float) -> tuple[States, Any, float]:
        """States, calibrated network and seconds of the automatic choice."""
        decision, started = self.decision, time.perf_counter()
        decision.mixed = None
        decision.options = self.options.override({"mixed_precision_factor": factor})
        _, sweeps = decision._mixed(self.narrow, self.held)
        mixed = decision.mixed
        assert mixed is not None
        assert mixed.factor <= factor
        decision.mixed = None
        return dict(mixed.chosen.states), sweeps, time.perf_counter() - started

    def cell(self, states: States) -> tuple[Cell, np.ndarray]:
        """Figures of states, and error and signal of each sample."""
        key = str(sorted((name, state.value) for name, state in states.items()))
        if key not in self.errors:
            precision = joined_precision(self.base, precision_of_states(self.groups, states))
            plan = self.decision._variant_plans(self.narrow).plan(precision)
            graph, parts = self.narrow.graph, self.narrow.parts
            sweeps = BiasSweeps(graph, parts, plan, self.held, reference=self.narrow.reference)
            sweeps.advance(self.options.calibration_iterations)
            self.errors[key] = self._measure(sweeps)
        drop, drop_error, errors = self.errors[key]
        factor = self.costs.cost(states) / self.cost_8
        return Cell(drop, drop_error, decibels(errors), factor), errors

    def _measure(self, sweeps: BiasSweeps) -> tuple[float | None, float | None, np.ndarray]:
        outputs = list(self._outputs(sweeps))
        found = [np.concatenate([part[i] for part in outputs]) for i in range(len(outputs[0]))]
        errors = []
        for old, new in zip(self.tape.outputs, found, strict=True):
            if old.dtype == np.int64:
                continue
            f = np.asarray(old[self.rows], np.float64).reshape(len(self.rows), -1)
            q = new.astype(np.float64).reshape(len(self.rows), -1)
            errors.append(np.stack([((f - q) ** 2).sum(1), (f * f).sum(1)]))
        drop = drop_error = None
        if self.network.is_proportion:
            drop, drop_error = self._drop(found)
        return drop, drop_error, np.stack(errors)

    def _outputs(self, sweeps: BiasSweeps) -> Iterator[list[np.ndarray]]:
        """Outputs of the samples, some at a time."""
        stages: IntegerStages = sweeps._stages
        names = [signature.name for signature in self.narrow.graph.outputs]
        integers = sweeps.best_stored()
        for start in range(0, len(self.rows), ROWS_AT_A_TIME):
            some = {self.name: self.inputs[start : start + ROWS_AT_A_TIME]}
            values = stages.run(some, integers)
            yield [np.concatenate(list(values[name])) for name in names]

    def _drop(self, found: list[np.ndarray]) -> tuple[float, float]:
        """Points that the samples lost; all others are answered as by float."""
        place = {row: index for index, row in enumerate(self.rows)}
        total, count = len(self.tape.inputs), len(self.rows)

        def percent(rows: set[int]) -> float:
            def answer(start: int, stop: int) -> list[np.ndarray]:
                return [
                    np.stack(
                        [new[place[i]] if i in rows else old[i] for i in range(start, stop)]
                    ).astype(old.dtype)
                    for old, new in zip(self.tape.outputs, found, strict=True)
                ]

            return play(self.network, self.tape, answer).percent

        lost = (self.tape.score.percent - percent(set(self.rows))) * total / count
        changed = sum(
            bool(np.argmax(old) != np.argmax(new))
            for old, new in zip(self.tape.outputs[0][self.rows], found[0], strict=True)
        )
        return lost, 100 * changed**0.5 / count


def decibels(errors: np.ndarray) -> float:
    """The worst output's SQNR over all samples; errors are [outputs, 2, samples]."""
    noise, signal = errors.sum(2).T
    return float(np.min(-10 * np.log10(np.maximum(noise, 1e-30) / signal)))


def compared(cell: Cell, other: np.ndarray, ours: np.ndarray) -> Cell:
    """The cell with the distance of ours below it, and its jackknife error over 20 parts."""
    parts = np.arange(ours.shape[2]) % min(20, ours.shape[2])
    values = np.array(
        [
            decibels(other[:, :, parts != part]) - decibels(ours[:, :, parts != part])
            for part in np.unique(parts)
        ]
    )
    error = float(np.sqrt((len(values) - 1) * values.var()))
    below = decibels(other) - decibels(ours)
    return Cell(cell.drop, cell.drop_error, cell.sqnr_db, cell.factor, below, error)


def row_of(bench: Bench, factor: float, draws: int) -> dict[str, Any]:
    """All columns at one factor."""
    budget = factor * bench.cost_8
    states, _, seconds = bench.chosen(factor)
    cell, ours = bench.cell(states)
    columns: dict[str, Cell] = {"chosen": cell}
    rng = np.random.default_rng(0)
    names = np.array([group.name for group in bench.groups])
    local, ends, _ = bench.orders
    plain: Mapping[str, list[Any]] = {
        "8 bits": [{}],
        "16 bits": [bench.widest],
        "local SQNR": [fill(bench.costs, local, budget)],
        "random": [fill(bench.costs, rng.permutation(names), budget) for _ in range(draws)],
        "first, last": [fill(bench.costs, ends, budget)],
    }
    for name, choices in plain.items():
        found = sorted((bench.cell(choice) for choice in choices), key=lambda x: x[0].sqnr_db)
        middle = found[len(found) // 2]
        columns[name] = compared(*middle, ours)
    wide = sum(state is GroupState.WIDE for state in states.values())
    return {
        "factor": factor,
        "seconds": round(seconds, 1),
        "groups": len(bench.groups),
        "wide": wide,
        "columns": {name: asdict(cell) for name, cell in columns.items()},
    }


def measure(network: Network, tape: Tape, scale_type: int, given: Any) -> dict[str, Any]:
    """All factors; where 16 bits everywhere fit, one row stands for the larger ones."""
    bench = Bench(network, tape, scale_type, given)
    least, most = bench.costs.narrow / bench.cost_8, bench.costs.wide / bench.cost_8
    wanted = [factor for factor in given.factors if least <= factor < most]
    # The first factor that everything fits in, and what lies between 8 and 16 bits.
    wanted += [factor for factor in given.factors if factor >= most][:1]
    rows = [row_of(bench, factor, given.draws) for factor in wanted]
    # Where much is wide from the start, 16 bits everywhere may cost less than changes between them.
    if least < most:
        rows.append(row_of(bench, (least + most) / 2, given.draws) | {"note": HALFWAY})
    return {
        "network": network.name,
        "metric": network.metric,
        "scale_type": scale_type,
        "samples": len(bench.rows),
        "draws": given.draws,
        "frames": bench.held.count,
        "most": most,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["*"])
    parser.add_argument("--types", nargs="*", type=int, default=list(SCALE_TYPES))
    parser.add_argument("--factors", nargs="*", type=float, default=list(FACTORS))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of calibration")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    given = parser.parse_args()
    folder = given.cache / "mixed_precision"
    folder.mkdir(parents=True, exist_ok=True)
    for network in networks(given.cache / "data", given.networks):
        for scale_type in given.types:
            target = folder / f"{network.name}_type_{scale_type}.json"
            if target.exists() and not given.again:
                continue
            tape = load_tape(network, given.cache / "data" / "tapes")
            found = measure(network, tape, scale_type, given)
            part = target.with_suffix(".part")
            part.write_text(json.dumps(found, indent=1))
            part.replace(target)
            print(target.name, flush=True)


if __name__ == "__main__":
    main()
