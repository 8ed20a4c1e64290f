"""How far the engine agrees with ONNX Runtime on QDQ models.

    python benches/bench_qdq_agreement.py [--networks 'fmnist*'] [--types 'u8s8*'] [--again]

Models: each float network of the data folder as `onnxruntime.quantization` quantizes it, and the
pre-quantized ones of the data folder. Each is compiled without data.

Layers: every layer of ours gets the integers that ONNX Runtime has in front of it; what it makes of
them is compared with ONNX Runtime's next integers. ONNX Runtime runs with all graph optimizations
(so that its integer kernels run) and once more without any (DequantizeLinear, the float operator,
QuantizeLinear). Whole: both run by themselves, and all tensors are compared. Answers: of both on
all evaluation data.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from agreement import Agreement, Answers, Counts, has, save
from data_folder import cache_folder
from network import Array, Network, input_name
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from oracles import Difference, RuntimeIntegers, compare, cut_layers, pair_features
from qdq_models import make_qdq, types_of
from side_by_side import evaluate
from tape import Outputs
from tasks import networks
from tasks.quantized import quantized_networks

import tidlq
from tidlq.export.agreement import IntegerTrace

AS_FOUND = "as found"
LARGE = frozenset({"mIoU", "AP", "F1", "characters"})


def counts(found: Difference) -> Counts:
    return Counts(found.elements, found.equal, found.within_one, found.largest)


class Comparison:
    """A compiled QDQ model beside ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = onnx.load(path)
        self.compiled = tidlq.compile(path)
        assert self.compiled.plan is not None
        graph, plan = self.compiled.graph, self.compiled.plan
        self.pairs = pair_features(graph, plan.features, self.model)
        self.cuts = cut_layers(graph, self.compiled.partition, plan, self.pairs)
        self.runtimes = [
            RuntimeIntegers(self.model, self.pairs.values(), optimized=optimized)
            for optimized in (True, False)
        ]

    def layers(self, frames: list[dict[str, Array]], *, optimized: bool) -> dict[str, Counts]:
        """By kind, and by the kernel that ONNX Runtime has for it."""
        runtime = self.runtimes[0 if optimized else 1]
        found: dict[str, Counts] = {}
        for frame in frames:
            integers, _ = runtime.run(frame)
            known: dict[str, Any] = {name: integers[t] for name, t in self.pairs.items()}
            for cut in self.cuts:
                expected = known[cut.output]
                key = f"{cut.label} | {runtime.kernel(self.pairs[cut.output])}"
                result = cut.run(known).reshape(expected.shape)
                found[key] = found.get(key, Counts()) + counts(compare(result, expected))
        return found

    def whole(self, frames: list[dict[str, Array]]) -> Counts:
        """Every tensor, the differences of the layers before it included."""
        compiled = self.compiled
        assert compiled.plan is not None
        trace = IntegerTrace(
            compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages
        )
        found = Counts()
        for frame in frames:
            integers, _ = self.runtimes[0].run(frame)
            for name, ours in trace.run(frame).items():
                if name in self.pairs:
                    expected: Any = integers[self.pairs[name]]
                    mine: Any = np.asarray(ours).reshape(expected.shape)
                    found += counts(compare(mine, expected))
        return found

    def answers(self, network: Network, *, optimized: bool = True) -> Answers:
        """On all evaluation data."""
        name = input_name(self.path)
        ours = tidlq.InferenceSession(self.compiled.artifacts)
        try:
            theirs = RuntimeIntegers(self.model, (), optimized=optimized)
        except Fail:  # a fault of its optimizer, which further outputs avoid
            theirs = self.runtimes[0 if optimized else 1]

        def run_ours(x: Array) -> Outputs:
            return [np.asarray(y) for y in ours.run(None, {name: x})]

        def run_theirs(x: Array) -> Outputs:
            rows = [theirs.run({name: row[None]})[1] for row in x]
            return [np.concatenate(column) for column in zip(*rows, strict=True)]

        return evaluate(network, run_ours, run_theirs)


def measure(
    network: Network, variant: str, path: Path, frames: int, *, with_answers: bool
) -> Agreement:
    """Everything about one model."""
    date = datetime.date.today().isoformat()
    try:
        comparison = Comparison(path)
        few = list(itertools.islice(network.frames(input_name(path), frames), frames))
        compiled = comparison.compiled
        return Agreement(
            network.name,
            variant,
            date,
            len(few),
            comparison.layers(few, optimized=True),
            comparison.layers(few[: max(1, len(few) // 2)], optimized=False),
            comparison.whole(few),
            len(compiled.partition.layers),
            len(compiled.partition.float_nodes),
            compiled.notices,
            comparison.answers(network) if with_answers else None,
            comparison.answers(network, optimized=False)
            if with_answers and (variant == AS_FOUND or "16" in variant)
            else None,
        )
    except (tidlq.TidlqError, RuntimeError) as error:
        return Agreement(network.name, variant, date, fault=f"{type(error).__name__}: {error}")


def main() -> None:
    """Measures what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["*"])
    parser.add_argument("--types", nargs="+", default=["*"])
    parser.add_argument("--frames", type=int, default=8, help="for the layers; fewer of large nets")
    parser.add_argument("--no-answers", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure what is measured already")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    arguments = parser.parse_args()
    results = arguments.cache / "qdq_agreement"
    floats = [(n, t) for n in networks(arguments.cache, arguments.networks) for t in types_of(n)]
    found = [(n, AS_FOUND) for n in quantized_networks()]
    found = [(n, t) for n, t in found if any(fnmatch(n.name, p) for p in arguments.networks)]
    for network, variant in [*floats, *found]:
        if not any(fnmatch(variant, pattern) for pattern in arguments.types):
            continue
        if has(results, network.name, variant) and not arguments.again:
            continue
        is_large = network.metric in LARGE
        path = network.model
        if variant != AS_FOUND:
            path = make_qdq(network, variant, arguments.cache / "qdq", 20 if is_large else 100)
        frames = max(1, arguments.frames // 4) if is_large else arguments.frames
        result = measure(network, variant, path, frames, with_answers=not arguments.no_answers)
        save(results, result)
        print(summary(result), flush=True)


def summary(result: Agreement) -> str:
    """One line."""
    if result.fault:
        return f"{result.name} {result.variant}: {result.fault}"
    wrong = {k: f"{c.equal}/{c.elements}" for k, c in result.layers.items() if c.equal < c.elements}
    line = f"{result.name} {result.variant}: layers {wrong or 'equal'}; "
    line += f"whole {result.whole.equal}/{result.whole.elements}"
    if result.answers is not None:
        a = result.answers
        line += f"; {a.metric} {a.ours:.2f} and {a.theirs:.2f}, outputs {a.same_outputs} of "
        line += f"{a.samples} equal, classes {a.same_class}"
    return line


if __name__ == "__main__":
    main()
