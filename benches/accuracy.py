"""Accuracy of float, tidlq's scale types and ONNX Runtime's own quantizer on the same frames.

    python benches/accuracy.py [--frames 100] [--level 0] [--only NAME] [--markdown FILE]

ONNX Runtime: `quantize_static`, min/max, QDQ, per-channel int8 weights, uint8 features. The
standard error is that of the float accuracy, sqrt(p (1 - p) / n).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from classification import Array, Network, networks
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

import tidlq

SCALE_TYPES = (0, 1, 4)


@dataclass(frozen=True)
class Row:
    """Top-1 in percent by column, with the number of samples."""

    name: str
    samples: int
    top1: dict[str, float]
    seconds: dict[str, float]

    @property
    def standard_error(self) -> float:
        """Of the float accuracy, in points."""
        p = self.top1["float"] / 100
        return 100 * float((p * (1 - p) / self.samples) ** 0.5)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, frames: Iterator[dict[str, Array]]) -> None:
        self.frames = frames

    def get_next(self) -> dict[str, Array] | None:
        return next(self.frames, None)


def _input_name(model: Path) -> str:
    graph = onnx.load(model, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return next(value.name for value in graph.input if value.name not in constants)


def measure(network: Network, frames: int, level: int, folder: Path) -> Row:
    """Compiles and scores one network in every column."""
    name = _input_name(network.model)
    score, samples = network.score(str(network.model))
    top1, seconds = {"float": 100 * score}, {}
    for scale_type in SCALE_TYPES:
        options = {
            "quantization_scale_type": scale_type,
            "accuracy_level": level,
            "calibration_frames": frames,
        }
        started = time.perf_counter()
        compiled = tidlq.compile(network.model, network.frames(name, frames), options)
        seconds[f"type {scale_type}"] = time.perf_counter() - started
        target = folder / f"{network.name}_{scale_type}"
        compiled.save(target)
        top1[f"type {scale_type}"] = 100 * network.score(str(target))[0]
    prepared, quantized = folder / f"{network.name}_pre.onnx", folder / f"{network.name}_qdq.onnx"
    started = time.perf_counter()
    quant_pre_process(str(network.model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(quantized),
        _Reader(network.frames(name, frames)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    seconds["ORT"] = time.perf_counter() - started
    top1["ORT"] = 100 * network.score(str(quantized))[0]
    return Row(network.name, samples, top1, seconds)


def table(rows: list[Row]) -> str:
    """Markdown: accuracies, one row per network."""
    columns = ["float", *(f"type {t}" for t in SCALE_TYPES), "ORT"]
    lines = [
        "| network | samples | standard error | " + " | ".join(columns) + " |",
        "|---|---:|---:|" + "---:|" * len(columns),
    ]
    for row in rows:
        values = " | ".join(f"{row.top1[column]:.2f}" for column in columns)
        lines.append(f"| {row.name} | {row.samples} | {row.standard_error:.2f} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for network in networks():
            if arguments.only in network.name:
                rows.append(measure(network, arguments.frames, arguments.level, Path(folder)))
                print(table(rows[-1:]).splitlines()[-1], rows[-1].seconds, flush=True)
    text = table(rows)
    print(text)
    if arguments.markdown:
        head = (
            f"Level {arguments.level}, {arguments.frames} calibration frames; top-1 in percent.\n"
        )
        arguments.markdown.write_text(f"{head}\n{text}\n")


if __name__ == "__main__":
    main()
