"""Exports in ONNX Runtime: each layer fed with the engine's integers, its result compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import tidlq
from e2e.operator_cases import ALL_CASES, OperatorCase
from oracle.real_models import CALIBRATION_FRAMES, REAL_MODELS
from tidlq.compilation import Compiled
from tidlq.export import export_qdq
from tidlq.export.agreement import (
    IntegerTrace,
    LayerAgreement,
    TensorAgreement,
    measure_agreement,
)
from tidlq.graph.layers import LayerKind
from tidlq.graph.partition import StageKind
from tidlq.lowering import network_pb2 as pb

Frame = Mapping[str, NDArray[np.float32]]

FLOAT = {"quantization_scale_type": 4, "tidlq:requantization": "float"}
PLANS: dict[str, Mapping[str, object]] = {
    "type 4 float": FLOAT,
    "type 4": {"quantization_scale_type": 4},
    "type 0": {"quantization_scale_type": 0},
    "type 1 16 bits": {"quantization_scale_type": 1, "tensor_bits": 16},
}
# ONNX Runtime's integer average pool counts what ceil_mode adds beyond the padding.
MISCOUNTED = "average_pool_ceil_include_pad"
# Its scales per channel have no axis in a weight (C_in, C_out / groups, ...), which stays real.
REAL_WEIGHT = "transposed_grouped_dilated"
EXACT = (LayerKind.CONVOLUTION, LayerKind.INNER_PRODUCT)
_HEADER_BYTES = 24


def agreement_of(
    compiled: Compiled, frames: Sequence[Frame], *, is_optimized: bool
) -> Sequence[TensorAgreement]:
    assert compiled.plan is not None
    export = export_qdq(compiled.graph, compiled.partition, compiled.plan)
    onnx.checker.check_model(export.model, full_check=True)
    trace = IntegerTrace(
        compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages
    )
    agreement = LayerAgreement(
        compiled.graph, compiled.partition, compiled.plan, export, is_optimized
    )
    return measure_agreement(trace, agreement, frames)


def programs(compiled: Compiled) -> list[pb.Network]:
    found = []
    for stage in compiled.artifacts.stages:
        if stage.kind is StageKind.FIXED:
            found.append(pb.Network.FromString(stage.content[_HEADER_BYTES:]))
            found[-1].ClearField("graph_fingerprint")
    return found


def frames_of(case: OperatorCase) -> list[Frame]:
    random = np.random.default_rng(1)
    return [
        {
            f"in{index}": random.uniform(-1.5, 2.5, shape).astype(np.float32)
            for index, shape in enumerate(case.shapes)
        }
        for _ in range(3)
    ]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
def test_an_operator_is_within_one_step_and_survives_a_round_trip(
    case: OperatorCase, plan: str
) -> None:
    frames = frames_of(case)
    compiled = tidlq.compile(case.model(), frames, {**PLANS[plan], "accuracy_level": 2})
    for is_optimized in (True, False):
        if is_optimized and case.name == MISCOUNTED and "16" not in plan:
            continue
        for found in agreement_of(compiled, frames, is_optimized=is_optimized):
            assert found.largest <= 1, found
            if is_optimized and plan == "type 4 float" and found.kind in EXACT:
                assert found.largest == 0, found
    if case.name != REAL_WEIGHT or "type 4" not in plan:
        assert programs(tidlq.compile(compiled.to_qdq())) == programs(compiled)


SMALL_MODELS = [name for name, model in REAL_MODELS.items() if len(model.scale_types) > 1]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_a_real_network_is_within_one_step_and_survives_a_round_trip(
    name: str, plan: str, request: pytest.FixtureRequest
) -> None:
    path, frames = REAL_MODELS[name].load(request)
    options = {**PLANS[plan], "accuracy_level": 0}
    compiled = tidlq.compile(path, frames[:CALIBRATION_FRAMES], options)
    assert programs(tidlq.compile(compiled.to_qdq())) == programs(compiled)
    for found in agreement_of(compiled, frames[CALIBRATION_FRAMES:], is_optimized=True):
        assert found.largest <= 1, found
        if plan == "type 4 float" and found.kind in EXACT:
            assert found.largest == 0, found


PREQUANTIZED = {
    "TFLite int8": "kws/models/mlperf_kws_int8.tflite",
    "TFLite uint8, weights with zero points": "imagenet/models/mobilenet_v1_0.25_128_quant.tflite",
    "QDQ per channel": "qat/models/brevitas_resnet20_pc_ts13.onnx",
    "QDQ, requantized between layers": "qat/models/pt2e_resnet20_pc_dynamo18.onnx",
    "QOperator": "qat/models/ort_resnet20_u8s8_pc_qoperator.onnx",
    "QDQ with a layer in float": "qat/models/incomplete_resnet20_B_conv_all_float.onnx",
}


def drawn_frames(compiled: Compiled) -> list[Frame]:
    rng = np.random.default_rng(0)
    draw = {"f": rng.normal, "i": lambda size: rng.integers(-99, 99, size)}
    draw["u"] = lambda size: rng.integers(0, 200, size)
    return [
        {
            item.name: draw[item.dtype.kind](size=item.shape).astype(item.dtype)
            for item in compiled.graph.inputs
        }
        for _ in range(2)
    ]


@pytest.mark.parametrize("name", PREQUANTIZED)
def test_a_pre_quantized_model_is_within_one_step_and_survives_a_round_trip(
    name: str, shared_data: Path
) -> None:
    compiled = tidlq.compile(shared_data / PREQUANTIZED[name])
    again = tidlq.compile(compiled.to_qdq())
    assert programs(again) == programs(compiled)
    frames = drawn_frames(compiled)
    for frame in frames:
        ours, theirs = (
            tidlq.InferenceSession(one.artifacts).run(None, frame) for one in (compiled, again)
        )
        assert all(map(np.array_equal, ours, theirs))
    for found in agreement_of(compiled, frames, is_optimized=True):
        assert found.largest <= 1, found
