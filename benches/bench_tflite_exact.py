"""Whether the engine equals LiteRT's reference kernels on TFLite models, bit for bit.

    python benches/bench_tflite_exact.py [--networks 'fmnist*'] [--again]

Integer models: on all evaluation data, every element of the outputs; and of some inputs every
integer tensor of the model (of the model that --all-tensors names: of all inputs). Float models:
outputs of the imported Graph on all evaluation data beside LiteRT's.
"""

from __future__ import annotations

import argparse
import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from agreement import Agreement, Counts, has, save
from data_folder import cache_folder
from network import Array, Network
from oracles import ReferenceInterpreter, dequantized, unequal_elements
from side_by_side import evaluate
from tape import Outputs
from tasks.tflite import FLOAT_FILES, INTEGER_FILES, tflite_networks

import tidlq
from tidlq.export.agreement import IntegerTrace

INTEGER, FLOAT = "integer", "float"


class TensorComparison:
    """Counts differing elements of every integer tensor of a model.

    Args:
        network: an integer model.
        compiled: of it.
        inputs: how many are compared.
    """

    def __init__(self, network: Network, compiled: tidlq.Compiled, inputs: int) -> None:
        assert compiled.plan is not None
        self._reference = ReferenceInterpreter(network.model, keep=True)
        self._trace = IntegerTrace(
            compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages
        )
        self._name = compiled.graph.inputs[0].name
        self.left = inputs
        self.compared: dict[str, Counts] = {}

    def add(self, x: Any) -> None:
        """Compares one input."""
        if self.left == 0:
            return
        self.left -= 1
        self._reference.run(x)
        for name, ours in self._trace.run({self._name: x}).items():
            for theirs in self._reference.tensors(name):
                unequal = unequal_elements(np.asarray(ours), theirs)
                if unequal is not None:
                    equal = theirs.size - unequal
                    found = Counts(theirs.size, equal, equal, int(unequal > 0))
                    self.compared[name] = self.compared.get(name, Counts()) + found


def measure_integers(network: Network, inputs: int) -> Agreement:
    """Outputs on all evaluation data, all tensors of some inputs."""
    compiled = tidlq.compile(network.model)
    session = tidlq.InferenceSession(compiled.artifacts)
    reference = ReferenceInterpreter(network.model)
    tensors = TensorComparison(network, compiled, inputs)
    name = compiled.graph.inputs[0].name

    def ours(x: Array) -> Outputs:
        q: Any = reference.quantized(x)
        tensors.add(q)
        return [np.asarray(y) for y in session.run(None, {name: q})]

    def theirs(x: Array) -> Outputs:
        return [np.copy(y) for y in reference.run(reference.quantized(x))]

    def decode(answers: Outputs) -> Outputs:
        pairs = zip(answers, reference.outputs, strict=True)
        return [np.asarray(dequantized(y, detail)) for y, detail in pairs]

    answers = evaluate(network, ours, theirs, decode)
    return Agreement(
        network.name,
        INTEGER,
        datetime.date.today().isoformat(),
        inputs - tensors.left,
        tensors.compared,
        fixed=len(compiled.partition.layers),
        floats=len(compiled.partition.float_nodes),
        notices=compiled.notices,
        answers=answers,
    )


def measure_floats(network: Network) -> Agreement:
    """Outputs on all evaluation data."""
    compiled = tidlq.compile(network.model, options={"tensor_bits": 32})
    session = tidlq.InferenceSession(compiled.artifacts)
    reference = ReferenceInterpreter(network.model)
    name = compiled.graph.inputs[0].name
    answers = evaluate(
        network,
        lambda x: [np.asarray(y) for y in session.run(None, {name: x})],
        lambda x: [np.copy(y) for y in reference.run(x)],
    )
    date = datetime.date.today().isoformat()
    return Agreement(network.name, FLOAT, date, notices=compiled.notices, answers=answers)


def main() -> None:
    """Measures what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["*"])
    parser.add_argument("--inputs", type=int, default=4, help="whose tensors are all compared")
    parser.add_argument("--all-tensors", nargs="*", default=["fmnist_mbv2_int8"])
    parser.add_argument("--again", action="store_true", help="measure what is measured already")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    arguments = parser.parse_args()
    results = arguments.cache / "tflite_exact"
    todo = [(n, INTEGER) for n in tflite_networks(INTEGER_FILES)]
    todo += [(n, FLOAT) for n in tflite_networks(FLOAT_FILES)]
    for network, kind in todo:
        if not any(fnmatch(network.name, pattern) for pattern in arguments.networks):
            continue
        if has(results, network.name, kind) and not arguments.again:
            continue
        every = network.name in arguments.all_tensors
        inputs = 1_000_000 if every else arguments.inputs
        is_integer = kind == INTEGER
        result = measure_integers(network, inputs) if is_integer else measure_floats(network)
        save(results, result)
        print(summary(result), flush=True)


def summary(result: Agreement) -> str:
    """One line."""
    wrong = {
        name: c.elements - c.equal for name, c in result.layers.items() if c.equal < c.elements
    }
    answers = result.answers
    assert answers is not None
    line = f"{result.name} {result.variant}: outputs of {answers.same_outputs} of "
    line += f"{answers.samples} samples equal, largest difference {answers.largest:g}; "
    line += f"{len(result.layers)} tensors of {result.frames} inputs: {wrong or 'equal'}; "
    return line + f"{answers.metric} {answers.ours:.2f} and {answers.theirs:.2f}"


if __name__ == "__main__":
    main()
