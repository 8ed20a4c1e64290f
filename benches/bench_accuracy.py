"""Accuracy of float, tidlq's scale types and ONNX Runtime's own quantizer on the same frames.

    python benches/bench_accuracy.py [--frames 100] [--level 0] [--only NAME] [--markdown FILE]

ONNX Runtime: `quantize_static`, min/max, QDQ, symmetric int8 weights per tensor and per channel,
uint8 features with zero points. The standard error is that of the float accuracy,
sqrt(p (1 - p) / n).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnx
import onnx.version_converter
from classification import Array, Network, input_name, networks
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

import tidlq

OURS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "type 0": {"quantization_scale_type": 0},
        "type 1": {"quantization_scale_type": 1},
        "type 0 channel-wise": {"quantization_scale_type": 0, "channel_wise_quantization": 1},
        "type 1 channel-wise": {"quantization_scale_type": 1, "channel_wise_quantization": 1},
        "type 4": {"quantization_scale_type": 4},
    }
)
PEERS: Mapping[str, bool] = MappingProxyType({"ORT per-tensor": False, "ORT per-channel": True})
COLUMNS = ("float", *OURS, *PEERS)
ORT_OPSET = 13
PAGE = """# Accuracy

Written by `benches/bench_accuracy.py`: top-1 in percent of trained classification networks, at
calibration level {level} with up to {frames} frames, and beside it ONNX Runtime's own
`quantize_static` (min/max, QDQ, symmetric int8 weights, uint8 features) on the same frames. The
standard error is that of the float accuracy, sqrt(p (1 - p) / n).

{table}

Types 0 and 1 have one weight scale per tensor. That is enough for residual networks; it fails for
depthwise ones, where folding the batch-norm leaves channels whose weights differ by orders of
magnitude, so that small channels keep a handful of integers or none. ONNX Runtime per tensor fails
in the same places. Type 1 loses up to another bit of weights and features to its powers of two.
With `channel_wise_quantization` most of the loss is gone, in types 0 and 1 as well.
"""


@dataclass(frozen=True)
class Row:
    """Top-1 in percent by column, with the number of samples."""

    name: str
    samples: int
    top1: dict[str, float]

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


def _prepare(network: Network, folder: Path) -> Path:
    """The model as ONNX Runtime wants it before quantization; channel axes need opset 13."""
    source, model = network.model, onnx.load(network.model)
    if next(o.version for o in model.opset_import if o.domain == "") < ORT_OPSET:
        source = folder / f"{network.name}_opset{ORT_OPSET}.onnx"
        onnx.save(onnx.version_converter.convert_version(model, ORT_OPSET), source)
    prepared = folder / f"{network.name}_prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    return prepared


def measure(network: Network, frames: int, level: int, folder: Path) -> Row:
    """Compiles and scores one network in every column."""
    name = input_name(network.model)
    score, samples = network.score(str(network.model))
    top1 = {"float": 100 * score}
    for column, scheme in OURS.items():
        options = {**scheme, "accuracy_level": level, "calibration_frames": frames}
        target = folder / f"{network.name} {column}"
        tidlq.compile(network.model, network.frames(name, frames), options).save(target)
        top1[column] = 100 * network.score(str(target))[0]
    prepared = _prepare(network, folder)
    for column, per_channel in PEERS.items():
        quantized = folder / f"{network.name} {column}.onnx"
        quantize_static(
            str(prepared),
            str(quantized),
            _Reader(network.frames(name, frames)),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        top1[column] = 100 * network.score(str(quantized))[0]
    return Row(network.name, samples, top1)


def table(rows: list[Row]) -> str:
    """Markdown: accuracies, one row per network."""
    lines = [
        "| network | samples | standard error | " + " | ".join(COLUMNS) + " |",
        "|---|---:|---:|" + "---:|" * len(COLUMNS),
    ]
    for row in rows:
        values = " | ".join(f"{row.top1[column]:.2f}" for column in COLUMNS)
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
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    text = table(rows)
    print(text)
    if arguments.markdown:
        page = PAGE.format(level=arguments.level, frames=arguments.frames, table=text)
        arguments.markdown.write_text(page)


if __name__ == "__main__":
    main()
