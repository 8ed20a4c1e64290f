"""Quantized models as ONNX Runtime's own quantizer makes them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

Frames = Sequence[Mapping[str, NDArray[np.float32]]]

U8, S8 = QuantType.QUInt8, QuantType.QInt8
QDQ, QOPERATOR = QuantFormat.QDQ, QuantFormat.QOperator
TYPES = {
    "u8s8 per channel": (QDQ, U8, S8, True),
    "s8s8 per channel": (QDQ, S8, S8, True),
    "u8u8 per tensor": (QDQ, U8, U8, False),
    "operators u8s8 per channel": (QOPERATOR, U8, S8, True),
}


class Calibration(CalibrationDataReader):
    """Frames; the quantizer asks for one after the other."""

    def __init__(self, frames: Frames) -> None:
        self._frames = iter([dict(frame) for frame in frames])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._frames, None)


def quantize(source: Path, target: Path, frames: Frames, types: str) -> Path:
    """Writes the model with the types that a key of TYPES names."""
    form, features, weights, per_channel = TYPES[types]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            str(source),
            str(target),
            Calibration(frames),
            quant_format=form,
            activation_type=features,
            weight_type=weights,
            per_channel=per_channel,
        )
    return target
