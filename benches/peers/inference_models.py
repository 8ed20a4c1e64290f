"""A network as the peers run it fastest, in the peers' environment.

    python -m peers.inference_models FLOAT.onnx FRAMES.npy

Writes u8s8.onnx, s8s8.onnx and s16s8.onnx (ONNX Runtime, QDQ, weights per channel) and openvino.xml
(NNCF) beside the float file, unless they are there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from peers.job import Array
from peers.onnx_models import prepare

FEATURES = {
    "u8s8.onnx": QuantType.QUInt8,
    "s8s8.onnx": QuantType.QInt8,
    "s16s8.onnx": QuantType.QInt16,
}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, frames: Array) -> None:
        self._frames: Iterator[Array] = iter(frames)

    def get_next(self) -> dict[str, Array] | None:
        frame = next(self._frames, None)
        return None if frame is None else {"x": frame[None]}


def main() -> None:
    """Writes what is missing."""
    model, frames = Path(sys.argv[1]), np.load(sys.argv[2])
    for name, features in FEATURES.items():
        target = model.with_name(name)
        if not target.exists():
            quantize_static(
                str(prepare(model, model.parent)),
                str(target),
                _Reader(frames),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=features,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": features is QuantType.QInt16},
            )
    target = model.with_name("openvino.xml")
    if not target.exists():
        network = ov.convert_model(model, input=[("x", [1, *frames.shape[1:]])])
        data = nncf.Dataset([frame[None] for frame in frames])
        ov.save_model(nncf.quantize(network, data, subset_size=len(frames)), target)


if __name__ == "__main__":
    main()
