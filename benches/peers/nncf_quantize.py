"""NNCF's `quantize` with bias correction: preset mixed (symmetric weights, asymmetric features)."""

from __future__ import annotations

from typing import Any

import nncf
import numpy as np
import onnx
import openvino as ov

from peers.job import Array, Job, Outputs, Predict, Quantized
from peers.onnx_models import prepare, quantized


def _quantize(model: Any, items: list[Any], fast: bool) -> Any:
    return nncf.quantize(
        model,
        nncf.Dataset(items),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(items),
        fast_bias_correction=fast,
    )


def _openvino(job: Job, fast: bool) -> Quantized:
    shape = [1, *job.frames.shape[1:]]
    model = ov.convert_model(job.model, input=[(job.input_name, shape)])
    items = [job.frames[k : k + 1] for k in range(len(job.frames))]
    result = _quantize(model, items, fast)

    def open_model() -> Predict:
        # A processor with bfloat16 would compute what is left in float with 8 bits of mantissa.
        precision = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = ov.Core().compile_model(result, "CPU", precision)

        def predict(batch: Array) -> Outputs:
            outputs = compiled(batch)
            return [np.array(outputs[k]) for k in range(len(compiled.outputs))]

        return predict

    return Quantized(open_model, 1)


def openvino_fast(job: Job) -> Quantized:
    """OpenVINO, fast bias correction."""
    return _openvino(job, fast=True)


def openvino_full(job: Job) -> Quantized:
    """OpenVINO, full bias correction."""
    return _openvino(job, fast=False)


def onnx_fast(job: Job) -> Quantized:
    """ONNX, fast bias correction."""
    model = onnx.load(prepare(job.model, job.folder))
    items = [{job.input_name: job.frames[k : k + 1]} for k in range(len(job.frames))]
    target = job.folder / "quantized.onnx"
    onnx.save(_quantize(model, items, fast=True), target)
    return quantized(target, job.input_name)
