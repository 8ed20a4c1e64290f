"""Accuracy of pre-quantized models whose scales become another scale type's, without data.

    python benches/bench_conversion.py [--networks 'fmnist*'] [--again]

Models: float networks of the data folder as `onnxruntime.quantization` quantizes them (uint8
features, int8 weights per channel), and TFLite files. Each is compiled with its own scales and with
every conversion; both answer all evaluation data.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from agreement import Agreement, has, save
from data_folder import cache_folder
from network import Array, Network, input_name
from oracles import ReferenceInterpreter, dequantized
from qdq_models import make_qdq
from side_by_side import as_runner, evaluate
from tape import Outputs
from tasks import networks
from tasks.tflite import INTEGER_FILES, tflite_networks

import tidlq

TYPES = "u8s8 per channel"
TYPE = "advanced_options:quantization_scale_type"
CONVERSIONS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "type 0": {TYPE: 0},
        "type 1": {TYPE: 1},
        "type 4": {TYPE: 4},
        "TDA4VM, type 1": {TYPE: 1, "tidlq:device": "TDA4VM"},
        "own scales, 16 bits": {"tensor_bits": 16},
    }
)
SLOW = frozenset({"AP", "F1", "characters"})


def measure(
    network: Network,
    path: Path,
    conversion: str,
    encode: Callable[[Array], Any],
    decode: Callable[[Outputs], Outputs],
) -> Agreement:
    """One conversion beside the model's own scales."""
    date = datetime.date.today().isoformat()
    own = tidlq.compile(path)
    name = own.graph.inputs[0].name
    try:
        converted = tidlq.compile(path, options=dict(CONVERSIONS[conversion]))
    except tidlq.TidlqError as error:
        return Agreement(network.name, conversion, date, fault=str(error))

    def run(session: tidlq.InferenceSession) -> Callable[[Array], Outputs]:
        return lambda x: [np.asarray(y) for y in session.run(None, {name: encode(x)})]

    sessions = [tidlq.InferenceSession(one.artifacts) for one in (converted, own)]
    answers = evaluate(network, run(sessions[0]), run(sessions[1]), decode)
    return Agreement(
        network.name,
        conversion,
        date,
        fixed=len(converted.partition.layers),
        floats=len(converted.partition.float_nodes),
        notices=converted.notices,
        answers=answers,
    )


def main() -> None:
    """Measures what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["*"])
    parser.add_argument("--again", action="store_true", help="measure what is measured already")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    arguments = parser.parse_args()
    results = arguments.cache / "conversions"

    def is_open(network: Network, conversion: str) -> bool:
        is_wanted = any(fnmatch(network.name, pattern) for pattern in arguments.networks)
        return is_wanted and (arguments.again or not has(results, network.name, conversion))

    def note(result: Agreement) -> None:
        save(results, result)
        a = result.answers
        text = result.fault if a is None else f"{a.metric} {a.ours:.2f}, own {a.theirs:.2f}"
        print(f"{result.name} {result.variant}: {text}", flush=True)

    for network in tflite_networks(INTEGER_FILES):
        for conversion in CONVERSIONS:
            if is_open(network, conversion):
                encode, decode = _interface(network.model)
                note(measure(network, network.model, conversion, encode, decode))
    for network in networks(arguments.cache, arguments.networks):
        if network.metric in SLOW:
            continue
        for conversion in CONVERSIONS:
            if is_open(network, conversion):
                path = make_qdq(network, TYPES, arguments.cache / "qdq")
                assert input_name(path) == input_name(network.model)
                note(measure(network, path, conversion, lambda x: x, as_runner))


def _interface(path: Path) -> tuple[Callable[[Array], Any], Callable[[Outputs], Outputs]]:
    """From real inputs to the file's, and from its outputs to real ones."""
    reference = ReferenceInterpreter(path)

    def decode(answers: Outputs) -> Outputs:
        pairs = zip(answers, reference.outputs, strict=True)
        return [np.asarray(dequantized(y, detail)) for y, detail in pairs]

    return reference.quantized, decode


if __name__ == "__main__":
    main()
