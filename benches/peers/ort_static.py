"""ONNX Runtime's `quantize_static`: QDQ, unsigned features, symmetric signed weights."""

from __future__ import annotations

from collections.abc import Iterator

from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from peers.job import Array, Job, Quantized
from peers.onnx_models import prepare, quantized


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, job: Job) -> None:
        self._frames: Iterator[dict[str, Array]] = (
            {job.input_name: job.frames[k : k + 1]} for k in range(len(job.frames))
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._frames, None)


def _quantize(
    job: Job, method: CalibrationMethod, *, per_channel: bool = True, bits: int = 8
) -> Quantized:
    target = job.folder / "quantized.onnx"
    quantize_static(
        str(prepare(job.model, job.folder)),
        str(target),
        _Reader(job),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8 if bits == 8 else QuantType.QUInt16,
        weight_type=QuantType.QInt8 if bits == 8 else QuantType.QInt16,
        calibrate_method=method,
    )
    return quantized(target, job.input_name)


def min_max(job: Job) -> Quantized:
    """Weights per channel, features over all that was seen."""
    return _quantize(job, CalibrationMethod.MinMax)


def min_max_per_tensor(job: Job) -> Quantized:
    """Weights per tensor, features over all that was seen."""
    return _quantize(job, CalibrationMethod.MinMax, per_channel=False)


def wide(job: Job) -> Quantized:
    """16 bits: weights per channel, features over all that was seen."""
    return _quantize(job, CalibrationMethod.MinMax, bits=16)


def entropy(job: Job) -> Quantized:
    """Weights per channel, features by least divergence."""
    return _quantize(job, CalibrationMethod.Entropy)


def percentile(job: Job) -> Quantized:
    """Weights per channel, features between percentiles (default: 99.999)."""
    return _quantize(job, CalibrationMethod.Percentile)
