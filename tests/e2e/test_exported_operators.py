"""The QDQ export of operators: imported it is the same Network, and ONNX Runtime agrees with it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import tidlq
from e2e.further_cases import FURTHER_CASES
from e2e.operator_cases import FEATURES, OperatorCase
from e2e.test_operators import frames_of
from tidlq.compilation import Compiled
from tidlq.graph.partition import StageKind
from tidlq.lowering import network_pb2 as pb

_HEADER_BYTES = 24
SETTINGS = {
    "type 0": {"quantization_scale_type": 0},
    "type 4 in float": {"quantization_scale_type": 4, "tidlq:requantization": "float"},
}


def programs(compiled: Compiled) -> list[pb.Network]:
    found = []
    for stage in compiled.artifacts.stages:
        if stage.kind is StageKind.FIXED:
            found.append(pb.Network.FromString(stage.content[_HEADER_BYTES:]))
            found[-1].ClearField("graph_fingerprint")
    return found


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", FURTHER_CASES, ids=lambda case: case.name)
def test_an_export_is_the_network_again(case: OperatorCase, setting: str) -> None:
    frames = frames_of(case, 2)
    options = {**SETTINGS[setting], "accuracy_level": 2}
    compiled = tidlq.compile(case.model(), frames, options)
    exported = compiled.to_qdq()
    again = tidlq.compile(exported)
    assert programs(again) == programs(compiled)
    assert not again.partition.float_nodes
    runtime = ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    session = tidlq.InferenceSession(compiled.artifacts)
    assert compiled.plan is not None
    for frame in frames:
        for output, got, want in zip(
            session.get_outputs(), session.run(None, frame), runtime.run(None, frame), strict=True
        ):
            step = compiled.plan.features[output.name].scale
            assert np.abs(got - want).max() <= 2.01 * step, case.name


def without_marks(model: onnx.ModelProto) -> onnx.ModelProto:
    """The export as any other software would have written it."""
    foreign = onnx.ModelProto()
    foreign.CopyFrom(model)
    del foreign.metadata_props[:]
    return foreign


@pytest.mark.parametrize("other", [FEATURES, (1, 6, 1, 1), (9, 10)])
def test_a_quotient_of_other_software_is_onnx_runtimes_to_the_last_bit(
    other: tuple[int, ...],
) -> None:
    case = OperatorCase("div", "Div", [FEATURES, other])
    frames = frames_of(case, 5)
    options = {"quantization_scale_type": 4, "accuracy_level": 2, "tidlq:requantization": "float"}
    model = without_marks(tidlq.compile(case.model(), frames, options).to_qdq())
    compiled = tidlq.compile(model)
    assert [layer.op_type for layer in compiled.partition.layers][-1] == "Div"
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime = ort.InferenceSession(
        model.SerializeToString(), plain, providers=["CPUExecutionProvider"]
    )
    session = tidlq.InferenceSession(compiled.artifacts)
    for frame in frames:
        (got,), (want,) = session.run(None, frame), runtime.run(None, frame)
        np.testing.assert_array_equal(got[np.isfinite(want)], want[np.isfinite(want)])


def test_a_function_whose_integers_are_the_other_softwares_own_stays_in_float() -> None:
    case = OperatorCase("sin", "Sin")
    compiled = tidlq.compile(case.model(), frames_of(case, 2), {"quantization_scale_type": 4})
    again = tidlq.compile(without_marks(compiled.to_qdq()))
    assert [node.op_type for node in again.partition.float_nodes if node.op_type == "Sin"]
