"""How far ONNX Runtime agrees with the engine on exported QDQ models, layer by layer.

    python benches/bench_qdq_export.py [--networks 'fmnist*'] [--plans 'type 4*'] [--kinds]

Every network is compiled from some of its pictures and exported. On other pictures, ONNX Runtime
gets the engine's own integers in front of every layer, and what it makes of them is compared with
what the engine makes of them: with ONNX Runtime's graph optimization (which joins operators into
its integer kernels) and without. Last, both run the whole network. The export is also compiled
again; the Networks must be the exported ones. With --results a run can be continued.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from columns import CHANNEL_WISE, EQUALIZATION, TYPE_0, TYPE_1, TYPE_4, WIDE
from data_folder import cache_folder
from network import Network, input_name
from tasks import networks

import tidlq
from tidlq.export import QdqExport, export_qdq
from tidlq.export.agreement import (
    IntegerTrace,
    LayerAgreement,
    TensorAgreement,
    measure_agreement,
)
from tidlq.float_runtime import open_float_session
from tidlq.lowering import network_pb2 as pb

PLANS: Mapping[str, Mapping[str, object]] = {
    "type 4 float": {**TYPE_4, "tidlq:requantization": "float"},
    "type 4": TYPE_4,
    "type 0": TYPE_0,
    "type 0 channel-wise": {**TYPE_0, **CHANNEL_WISE},
    "type 1": TYPE_1,
    "type 1 equalized": {**TYPE_1, EQUALIZATION: "on"},
    "type 4 16 bits": {**TYPE_4, **WIDE},
    "type 1 16 bits": {**TYPE_1, **WIDE},
    "type 4 16-bit parameters": TYPE_4,
}
PARAMETERS_16 = "params_16bit_names_list"
CALIBRATION_FRAMES = 32
HEADER_BYTES = 24


@dataclass
class Count:
    """Elements compared, equal ones, and the largest difference in steps."""

    elements: int = 0
    equal: int = 0
    largest: int = 0

    def add(self, found: TensorAgreement) -> None:
        self.elements += found.count
        self.equal += found.equal
        self.largest = max(self.largest, found.largest)

    @property
    def percent(self) -> float:
        return 100 * self.equal / self.elements if self.elements else 100.0


@dataclass
class Row:
    """One network with one plan.

    Attributes:
        network, plan: names.
        optimized, plain: by kind of layer, with and without ONNX Runtime's graph optimization.
        worst: the tensor with the largest difference, optimized.
        outputs_equal: percent of the network's output elements that are equal, float32 rounding
            of a Softmax aside.
        top1: percent of frames with the same largest output; None where there is no class.
        frames: that the whole network was run on.
        same_network: the compiled export has the exported Networks.
    """

    network: str
    plan: str
    optimized: dict[str, Count] = field(default_factory=dict)
    plain: dict[str, Count] = field(default_factory=dict)
    worst: str = ""
    outputs_equal: float = 0.0
    top1: float | None = None
    frames: int = 0
    same_network: bool = False


def total(counts: Mapping[str, Count], kinds: Iterable[str] | None = None) -> Count:
    """The sum over kinds."""
    chosen = [count for kind, count in counts.items() if kinds is None or kind in kinds]
    return Count(
        sum(count.elements for count in chosen),
        sum(count.equal for count in chosen),
        max((count.largest for count in chosen), default=0),
    )


def measure(network: Network, plan: str, layer_frames: int, frames: int) -> Row:
    """Compiles, exports, compares."""
    name = input_name(network.model)
    data = list(network.frames(name, CALIBRATION_FRAMES + frames))
    count = min(CALIBRATION_FRAMES, len(data) // 2)
    calibration, rest = data[:count], data[count:][:frames]
    options = dict(PLANS[plan])
    if plan.endswith("parameters"):
        options[PARAMETERS_16] = every_other_layer(network)
    compiled = tidlq.compile(network.model, calibration, options)
    assert compiled.plan is not None
    export = export_qdq(compiled.graph, compiled.partition, compiled.plan)
    row = Row(network.name, plan, same_network=is_same(compiled, tidlq.compile(export.model)))
    trace = IntegerTrace(
        compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages
    )
    for is_optimized, counts in ((True, row.optimized), (False, row.plain)):
        agreement = LayerAgreement(
            compiled.graph, compiled.partition, compiled.plan, export, is_optimized=is_optimized
        )
        tensors = measure_agreement(trace, agreement, rest[:layer_frames])
        for found in tensors:
            kind = "input" if found.kind is None else found.kind.value
            counts.setdefault(kind, Count()).add(found)
        if is_optimized:
            worst = max(tensors, key=lambda found: (found.largest, found.count - found.equal))
            row.worst = worst.tensor
    compare_outputs(row, compiled, export, rest)
    return row


def every_other_layer(network: Network) -> list[str]:
    """Names of every other layer with a weight."""
    from tidlq.decision import prepare
    from tidlq.importers.onnx_model import import_onnx
    from tidlq.target import Options

    layers = prepare(import_onnx(network.model), Options()).partition.layers
    return [layer.name for layer in layers if layer.kind.has_weight][::2]


def compare_outputs(
    row: Row, compiled: tidlq.Compiled, export: QdqExport, frames: Sequence[Mapping[str, Any]]
) -> None:
    """The whole network in both, frame by frame."""
    ours = tidlq.InferenceSession(compiled.artifacts)
    theirs = open_float_session(export.model.SerializeToString())
    elements = equal = same = 0
    has_class = False
    for frame in frames:
        pairs = list(zip(ours.run(None, frame), theirs.run(None, frame), strict=True))
        elements += sum(a.size for a, _ in pairs)
        equal += sum(int(np.isclose(a, b, 1e-5, 1e-7).sum()) for a, b in pairs)
        first, second = pairs[0]
        has_class = first.ndim == 2
        same += int(np.array_equal(first.argmax(-1), second.argmax(-1)))
    row.frames = len(frames)
    row.outputs_equal = 100 * equal / max(elements, 1)
    row.top1 = 100 * same / max(len(frames), 1) if has_class else None


def is_same(one: tidlq.Compiled, other: tidlq.Compiled) -> bool:
    """All fixed-point Networks are equal but for the fingerprint of the Graph."""
    return _programs(one) == _programs(other)


def _programs(compiled: tidlq.Compiled) -> list[pb.Network]:
    found = []
    for stage in compiled.artifacts.stages:
        if stage.file.endswith(".tidlq"):
            found.append(pb.Network.FromString(stage.content[HEADER_BYTES:]))
            found[-1].ClearField("graph_fingerprint")
    return found


ACCUMULATING = ("convolution", "inner product")


def print_rows(rows: Sequence[Row]) -> None:
    """One line per network and plan."""
    print(
        "| network | plan | Conv, Gemm equal % (steps) | other layers equal % (steps) "
        "| not optimized: all equal % (steps) | outputs equal % | top-1 equal | same Network |\n"
        "|---|---|---:|---:|---:|---:|---:|---|"
    )
    for row in rows:
        others = set(row.optimized) - set(ACCUMULATING)
        cells = [
            cell(total(row.optimized, ACCUMULATING)),
            cell(total(row.optimized, others)),
            cell(total(row.plain)),
            f"{row.outputs_equal:.2f}",
            "-" if row.top1 is None else f"{row.top1:.1f} of {row.frames}",
            "yes" if row.same_network else "NO",
        ]
        print(f"| {row.network} | {row.plan} | {' | '.join(cells)} |")


def print_plans(rows: Sequence[Row]) -> None:
    """One line per plan, over all networks."""
    print(
        "\n| plan | networks | Conv, Gemm equal % (steps) | other layers equal % (steps) "
        "| not optimized: all equal % (steps) | top-1 equal % | same Network |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    for plan in dict.fromkeys(row.plan for row in rows):
        chosen = [row for row in rows if row.plan == plan]
        others = {kind for row in chosen for kind in row.optimized} - set(ACCUMULATING)
        classes = [row for row in chosen if row.top1 is not None]
        frames = sum(row.frames for row in classes)
        top1 = sum((row.top1 or 0) * row.frames for row in classes) / max(frames, 1)
        cells = [
            str(len(chosen)),
            cell(merged(total(row.optimized, ACCUMULATING) for row in chosen)),
            cell(merged(total(row.optimized, others) for row in chosen)),
            cell(merged(total(row.plain) for row in chosen)),
            f"{top1:.1f} of {frames}",
            str(sum(row.same_network for row in chosen)),
        ]
        print(f"| {plan} | {' | '.join(cells)} |")


def print_kinds(rows: Sequence[Row]) -> None:
    """Percent of equal elements by kind of layer and plan, over all networks, optimized."""
    plans = list(dict.fromkeys(row.plan for row in rows))
    print(f"\n| layer | {' | '.join(plans)} |\n|---|{'---:|' * len(plans)}")
    for kind in sorted({kind for row in rows for kind in row.optimized}):
        sums = [
            merged(
                row.optimized[kind] for row in rows if row.plan == plan and kind in row.optimized
            )
            for plan in plans
        ]
        print(f"| {kind} | {' | '.join(percent(count) for count in sums)} |")


def merged(counts: Iterable[Count]) -> Count:
    """Several counts as one."""
    return total({str(index): count for index, count in enumerate(counts)})


def percent(count: Count) -> str:
    """Equal elements, not rounded up to 100."""
    return f"{np.floor(count.percent * 1e4) / 1e4:g}"


def cell(count: Count) -> str:
    """Percent, and the largest difference."""
    return f"{percent(count)} ({count.largest})"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", metavar="PATTERN")
    parser.add_argument("--plans", nargs="*", metavar="PATTERN", default=["*"])
    parser.add_argument("--layer-frames", type=int, default=2, help="compared layer by layer")
    parser.add_argument("--frames", type=int, default=50, help="run through the whole network")
    parser.add_argument("--kinds", action="store_true", help="also a table by kind of layer")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--results", type=Path, help="a JSON file with the rows, kept up to date")
    arguments = parser.parse_args()
    plans = [plan for plan in PLANS if any(fnmatch(plan, p) for p in arguments.plans)]
    chosen = networks(arguments.cache, arguments.networks)
    rows = read_rows(arguments.results)
    for network, plan in itertools.product(chosen, plans):
        if (network.name, plan) not in rows:
            row = measure(network, plan, arguments.layer_frames, arguments.frames)
            rows[network.name, plan] = row
            print(f"{network.name}, {plan}: done", file=sys.stderr, flush=True)
            if arguments.results:
                text = json.dumps([asdict(row) for row in rows.values()], indent=1)
                arguments.results.write_text(text)
    wanted = [rows[network.name, plan] for network in chosen for plan in plans]
    print_rows(wanted)
    print_plans(wanted)
    if arguments.kinds:
        print_kinds(wanted)


def read_rows(file: Path | None) -> dict[tuple[str, str], Row]:
    """What an earlier run measured, by network and plan."""
    if file is None or not file.exists():
        return {}
    rows = [Row(**item) for item in json.loads(file.read_text())]
    for row in rows:
        row.optimized = {kind: Count(**count) for kind, count in row.optimized.items()}
        row.plain = {kind: Count(**count) for kind, count in row.plain.items()}
    return {(row.network, row.plan): row for row in rows}


if __name__ == "__main__":
    main()
