"""Every operator of the integer engine against ONNX Runtime.

The inputs lie on the quantized grid and the weights on the 8-bit grid, so an operator's result
differs from ONNX Runtime's by its own single rounding only: half a step of the output.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import tidlq
from e2e.operator_cases import ALL_CASES, OperatorCase
from tidlq.compilation import Compiled
from tidlq.graph.partition import StageKind

DRAWS = 4


def frames_of(case: OperatorCase, seed: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [
        {
            f"in{index}": random.uniform(-1.5, 2.5, shape).astype(np.float32)
            for index, shape in enumerate(case.shapes)
        }
        for _ in range(DRAWS)
    ]


def on_grid(compiled: Compiled, name: str, values: np.ndarray) -> np.ndarray:
    assert compiled.plan is not None
    quant = compiled.plan.features[name]
    q = np.clip(
        np.rint(values / quant.scale) + quant.zero_point, quant.type.lowest, quant.type.highest
    )
    return ((q - quant.zero_point) * quant.scale).astype(np.float32)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
def test_operator_differs_from_onnx_runtime_by_its_rounding_only(
    case: OperatorCase, scale_type: int
) -> None:
    model = case.model()
    frames = frames_of(case, 1)
    compiled = tidlq.compile(
        model, frames, {"quantization_scale_type": scale_type, "accuracy_level": 2}
    )
    kinds = [stage.kind for stage in compiled.partition.stages]
    assert kinds == [StageKind.FIXED], compiled.partition.float_nodes
    assert compiled.plan is not None
    session = tidlq.InferenceSession(compiled.artifacts)
    oracle = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for frame in frames:
        feed = {name: on_grid(compiled, name, values) for name, values in frame.items()}
        for output, got, want in zip(
            session.get_outputs(), session.run(None, feed), oracle.run(None, feed), strict=True
        ):
            assert got.shape == want.shape
            if case.operator == "Softmax":
                # Both are float32; exp and the sum round differently.
                np.testing.assert_allclose(got, want, atol=2e-6)
                continue
            quant = compiled.plan.features[output.name]
            low = (quant.type.lowest - quant.zero_point) * quant.scale
            high = (quant.type.highest - quant.zero_point) * quant.scale
            steps = np.abs(got - np.clip(want, low, high)).max() / quant.scale
            assert steps <= 0.5 + slack(case, scale_type), f"{steps} steps of {quant.scale}"


def slack(case: OperatorCase, scale_type: int) -> float:
    """Steps beyond the output's own rounding, each for a reason.

    Float32 in the oracle: 0.002. Parameters that are not on the grid of scale types 0 and 1 (their
    largest weight saturates by a step, batch-norm gains and slopes have one scale for all
    channels, power-of-2 constants): bounded by the accumulated weight error, at most two steps
    here. Linear resize: weights of 11 bits per axis, 2^-12 of the whole range of 255 steps each.
    """
    if case.operator == "Resize" and case.attributes["mode"] == "linear":
        return 2 * 255 * 2.0**-11
    if case.operator in (
        "Conv",
        "Gemm",
        "MatMul",
        "BatchNormalization",
        "PRelu",
        "Mul",
        "Div",
        "Add",
        "Sub",
    ) and (scale_type != 4 or case.operator not in ("Conv", "Gemm", "MatMul")):
        return 2.0 if case.constants else 0.002
    return 0.002
