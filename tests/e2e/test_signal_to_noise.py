"""Operators lose hardly more than ideal rounding of their inputs and of their output does."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import tidlq
from e2e.further_cases import FURTHER_CASES
from e2e.operator_cases import OperatorCase, f32, scalar
from tidlq.graph.partition import StageKind
from tidlq.spec import FeatureQuant

POSITIVE = (1, 6, 9, 10)
# What jumps has no noise that shrinks with the steps of its input.
_STEPS = ("Sign", "Floor", "Ceil", "Round", "ArgMax", "ArgMin")
CASES = [
    *(case for case in FURTHER_CASES if case.operator not in _STEPS),
    *(
        OperatorCase(name.lower(), name)
        for name in ("Sqrt", "Log", "Reciprocal", "Acos", "Asin", "Atanh", "Tan")
    ),
    OperatorCase("acosh", "Acosh"),
    OperatorCase("pow_root", "Pow", constants=[scalar(0.3)]),
    OperatorCase("pow", "Pow", [POSITIVE, POSITIVE]),
    OperatorCase("pow_broadcast", "Pow", [POSITIVE, (6, 1, 10)]),
    OperatorCase("pow_of_row", "Pow", [(10,), POSITIVE]),
    OperatorCase("number_by", "Div", constants=[scalar(0.3)], order=["c0", "x0"]),
    OperatorCase("div", "Div", [POSITIVE, POSITIVE]),
    OperatorCase("div_broadcast", "Div", [POSITIVE, (1, 6, 1, 1)]),
    OperatorCase(
        "constants_by",
        "Div",
        constants=[f32(*[2, -2] * 3).reshape(6, 1, 1)],
        order=["c0", "x0"],
    ),
]
# Least and greatest input, where an operator is not defined everywhere.
DOMAINS = {
    **dict.fromkeys(("Sqrt", "Log", "Reciprocal", "Pow", "Div"), (0.4, 3.0)),
    **dict.fromkeys(("Acos", "Asin", "Atanh"), (-0.9, 0.9)),
    "Acosh": (1.2, 4.0),
    "Tan": (-1.2, 1.2),
}


def rounded(values: np.ndarray, quant: FeatureQuant) -> np.ndarray:
    q = np.clip(
        np.rint(values / quant.scale) + quant.zero_point, quant.type.lowest, quant.type.highest
    )
    return ((q - quant.zero_point) * quant.scale).astype(np.float32)


def ratio_db(want: np.ndarray, got: np.ndarray) -> float:
    error = np.sum((want - got).astype(np.float64) ** 2)
    return 10 * np.log10(np.sum(want.astype(np.float64) ** 2) / max(error, 1e-30))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_noise_is_within_a_decibel_of_ideal_rounding(case: OperatorCase, bits: int) -> None:
    random = np.random.default_rng(3)
    low, high = DOMAINS.get(case.operator, (-1.5, 2.5))
    frames = [
        {
            f"in{index}": random.uniform(low, high, shape).astype(np.float32)
            for index, shape in enumerate(case.shapes)
        }
        for _ in range(4)
    ]
    model = case.model()
    options = {"quantization_scale_type": 4, "accuracy_level": 2, "tensor_bits": bits}
    compiled = tidlq.compile(model, frames, options)
    assert [stage.kind for stage in compiled.partition.stages] == [StageKind.FIXED]
    assert compiled.plan is not None
    features = compiled.plan.features
    session = tidlq.InferenceSession(compiled.artifacts)
    oracle = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wants, gots, ideals = [], [], []
    for frame in frames:
        coarse = {name: rounded(values, features[name]) for name, values in frame.items()}
        wants.append(oracle.run(None, frame)[0].reshape(-1))
        ideals.append(rounded(oracle.run(None, coarse)[0], features["y0"]).reshape(-1))
        gots.append(session.run(None, frame)[0].reshape(-1))
    want = np.concatenate(wants)
    assert ratio_db(want, np.concatenate(gots)) > ratio_db(want, np.concatenate(ideals)) - 1.0
