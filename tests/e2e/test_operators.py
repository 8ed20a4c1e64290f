"""Every operator of the integer engine against ONNX Runtime.

The inputs lie on the quantized grid and the weights on the 8-bit grid, so an operator's result
differs from ONNX Runtime's by its own single rounding only: half a step of the output.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import tidlq
from e2e.further_cases import FURTHER_CASES
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


WIDTHS = {
    "8 bits": {},
    "16 bits": {"tensor_bits": 16},
    "16-bit parameters": {"params_16bit_names_list": "op"},
}
ARITHMETICS = {
    "type 0": {"quantization_scale_type": 0},
    "type 1": {"quantization_scale_type": 1},
    "type 4": {"quantization_scale_type": 4},
    "type 4 in float": {"quantization_scale_type": 4, "tidlq:requantization": "float"},
}


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(
    ("case", "width"),
    [
        pytest.param(case, width, id=f"{case.name}-{width}")
        for width in WIDTHS
        for case in (*ALL_CASES, *FURTHER_CASES)
        if case.has_parameters or width != "16-bit parameters"
    ],
)
def test_operator_differs_from_onnx_runtime_by_its_rounding_only(
    case: OperatorCase, width: str, arithmetic: str
) -> None:
    if width != "8 bits":
        case = case.with_fine_weights()
    model = case.model()
    frames = frames_of(case, 1)
    options = {**ARITHMETICS[arithmetic], **WIDTHS[width], "accuracy_level": 2}
    compiled = tidlq.compile(model, frames, options)
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
            if want.dtype == np.int64:
                np.testing.assert_array_equal(got, want, strict=True)
                continue
            if case.operator == "Softmax":
                # Both are float32; exp and the sum round differently.
                np.testing.assert_allclose(got, want, atol=2e-6)
                continue
            if case.operator == "Concat":
                # It leaves the network, so each input is dequantized by its own scale.
                np.testing.assert_array_equal(got, want)
                continue
            quant = compiled.plan.features[output.name]
            assert quant.type.bits == (16 if width == "16 bits" else 8)
            low = (quant.type.lowest - quant.zero_point) * quant.scale
            high = (quant.type.highest - quant.zero_point) * quant.scale
            steps = np.abs(got - np.clip(want, low, high)).max() / quant.scale
            allowed = 0.5 + slack(case, width, ARITHMETICS[arithmetic]["quantization_scale_type"])
            assert steps <= allowed, f"{steps} steps of {quant.scale}"


def slack(case: OperatorCase, width: str, scale_type: object) -> float:
    """Steps beyond the output's own rounding, each for a reason.

    Float32 in the oracle and in float requantization: 0.002 of 8 bits, 0.02 of 16. Linear resize
    and grid sample: weights of 11 bits per axis, 2^-12 of the whole range of 255 steps each; of 15
    bits, 2^-16 of 65,535 steps.

    Parameters that are not on the grid of the scheme: the largest weight of types 0 and 1 saturates
    by a step, batch-norm gains and slopes have one scale for all channels, constants are powers of
    two. Bounded by the accumulated weight error: two steps here, one where all has 16 bits, none to
    speak of where only the parameters have 16.
    """
    is_resized = case.operator == "Resize" and case.attributes["mode"] != "nearest"
    if is_resized or case.operator == "GridSample":
        return 2 * 65535 * 2.0**-16 if width == "16 bits" else 2 * 255 * 2.0**-11
    is_on_grid = scale_type == 4 and case.operator in ("Conv", "DeformConv", "Gemm", "MatMul")
    if case.has_parameters and not is_on_grid:
        return {"8 bits": 2.0, "16 bits": 1.0, "16-bit parameters": 0.01}[width]
    return 0.02 if width == "16 bits" else 0.002
