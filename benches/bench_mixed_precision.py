"""Mixed precision against plain choices at equal latency: accuracy and SQNR of the outputs.

For each network, scale type and factor: 8 bits, 16 bits, the automatic choice, the groups with the
worst local SQNR, random groups (median of some draws), and the first and the last convolution.
Every column is a compilation of its own; layers that are given are given by the lists of names.
Prints a table in Markdown.

    python benches/bench_mixed_precision.py [--networks PATTERN ...] [--draws 20]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data_folder import cache_folder
from network import Network, input_name
from scores import rounded, signal_to_noise
from tape import Tape, load_tape, play
from tasks import networks

import tidlq
from tidlq.calibration import FloatFeatures
from tidlq.compilation import Compiled
from tidlq.decision.latency import latency_model
from tidlq.graph.layers import LayerKind
from tidlq.precision.cost import StateCosts
from tidlq.precision.groups import GroupState, PrecisionGroup, find_precision_groups
from tidlq.precision.work import layer_work

FACTORS = (1.1, 1.2, 1.4)
SCALE_TYPES = (1, 4)
FRAMES = 50
LISTED = "advanced_options:output_feature_16bit_names_list"
LOCAL_FRAMES = 8


@dataclass(frozen=True)
class Cell:
    """What a compilation reaches."""

    percent: float
    sqnr_db: float
    factor: float


class Bench:
    """One network in one scale type."""

    def __init__(self, network: Network, tape: Tape, scale_type: int) -> None:
        self.network, self.tape = network, tape
        self.options: dict[str, object] = {"quantization_scale_type": scale_type}
        self.options["calibration_frames"] = FRAMES
        self.frames = list(network.frames(input_name(network.model), FRAMES))
        self.narrow = self.compile()
        graph, parts = self.narrow.graph, self.narrow.partition
        self.groups = find_precision_groups(graph, parts)
        model = latency_model(tidlq.Options.parse({}), parts)
        self.costs = StateCosts(self.groups, layer_work(graph, parts), model)

    def compile(self, **options: object) -> Compiled:
        return tidlq.compile(self.network.model, self.frames, {**self.options, **options})

    def cell(self, compiled: Compiled, cost: float) -> Cell:
        session = tidlq.InferenceSession(compiled.artifacts)
        name = session.get_inputs()[0].name
        rows = [session.run(None, {name: x[None]}) for x in self.tape.inputs]
        outputs = [np.concatenate(column) for column in zip(*map(rounded, rows), strict=True)]
        score = play(self.network, self.tape, lambda a, b: [o[a:b] for o in outputs])
        ratios = [r for r in signal_to_noise(self.tape, outputs) if r is not None]
        return Cell(score.percent, min(ratios, default=np.inf), cost / self.costs.narrow)

    def listed(self, names: Sequence[str]) -> Cell:
        if not names:
            return self.cell(self.narrow, self.costs.narrow)
        by_name = {group.name: group for group in self.groups}
        entries = [(by_name[n].layers or by_name[n].features)[0] for n in names]
        cost = self.costs.cost(dict.fromkeys(names, GroupState.WIDE))
        return self.cell(self.compile(**{LISTED: entries}), cost)

    def fitting(self, order: Iterable[PrecisionGroup], factor: float) -> list[str]:
        """Groups in an order, each one that still fits."""
        taken: list[str] = []
        for group in order:
            wider = [*taken, group.name]
            cost = self.costs.cost(dict.fromkeys(wider, GroupState.WIDE))
            if cost <= factor * self.costs.narrow:
                taken = wider
        return taken

    def by_local_noise(self) -> list[PrecisionGroup]:
        """Groups by the worst SQNR of their features' own rounding."""
        plan, graph = self.narrow.plan, self.narrow.graph
        assert plan is not None
        known = FloatFeatures(graph, list(plan.features), threads=0)
        signal: dict[str, float] = dict.fromkeys(plan.features, 0.0)
        noise = dict(signal)
        for frame in self.frames[:LOCAL_FRAMES]:
            for name, value in known.run(frame).items():
                quant = plan.features[name]
                q = np.rint(value / quant.scale) + quant.zero_point
                q = np.clip(q, quant.type.lowest, quant.type.highest) - quant.zero_point
                signal[name] += float(np.sum(np.square(value, dtype=np.float64)))
                noise[name] += float(np.sum((value - q * quant.scale) ** 2))
        share = {n: noise[n] / signal[n] if signal[n] > 0 else 0.0 for n in signal}
        return sorted(self.groups, key=lambda g: -max(share[name] for name in g.features))

    def ends(self) -> list[PrecisionGroup]:
        """Groups of the first and of the last convolution or inner product."""
        kinds = (LayerKind.CONVOLUTION, LayerKind.INNER_PRODUCT)
        names = [x.name for x in self.narrow.partition.layers if x.kind in kinds]
        return [group for group in self.groups if {names[0], names[-1]} & set(group.layers)]


def rows_of(bench: Bench, draws: int) -> Iterator[tuple[float, Mapping[str, Cell]]]:
    """A row per factor."""
    narrow = bench.cell(bench.narrow, bench.costs.narrow)
    wide = bench.cell(bench.compile(tensor_bits=16), bench.costs.wide)
    local = bench.by_local_noise()
    for factor in FACTORS:
        compiled = bench.compile(mixed_precision_factor=factor)
        assert compiled.mixed is not None
        cost = compiled.mixed.factor * bench.costs.narrow
        assert compiled.mixed.factor <= factor
        rng = np.random.default_rng(0)
        random = [
            bench.listed(bench.fitting(rng.permutation(np.array(bench.groups, object)), factor))
            for _ in range(draws)
        ]
        middle = sorted(random, key=lambda cell: cell.sqnr_db)[len(random) // 2]
        middle = Cell(statistics.median(x.percent for x in random), middle.sqnr_db, middle.factor)
        yield (
            factor,
            {
                "8 bits": narrow,
                "16 bits": wide,
                "chosen": bench.cell(compiled, cost),
                "local SQNR": bench.listed(bench.fitting(local, factor)),
                "random": middle,
                "first, last": bench.listed(bench.fitting(bench.ends(), factor)),
            },
        )


def render(cells: Mapping[str, Cell]) -> str:
    """Metric, SQNR and latency of every column."""
    return " | ".join(
        f"{cell.percent:.1f} %, {cell.sqnr_db:.1f} dB, {cell.factor:.3f}" for cell in cells.values()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["fmnist*"])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    given = parser.parse_args()
    titles = ("8 bits", "16 bits", "chosen", "local SQNR", "random", "first, last")
    print("| network | type | factor |", " | ".join(titles), "|")
    print("|---" * (len(titles) + 3) + "|")
    for network in networks(given.cache, given.networks):
        tape = load_tape(network, given.cache)
        for scale_type in SCALE_TYPES:
            for factor, cells in rows_of(Bench(network, tape, scale_type), given.draws):
                print(f"| {network.name} | {scale_type} | {factor} | {render(cells)} |")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
