"""Exports of random networks: importable as they were, and executed alike by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import tidlq
from random_networks import frames_for, random_models
from tidlq.compilation import Compiled
from tidlq.export import export_qdq
from tidlq.export.agreement import IntegerTrace, LayerAgreement, measure_agreement
from tidlq.graph.partition import StageKind
from tidlq.lowering import network_pb2 as pb

PLANS = (
    {"quantization_scale_type": 4, "tidlq:requantization": "float"},
    {"quantization_scale_type": 4},
    {"quantization_scale_type": 0},
    {"quantization_scale_type": 0, "channel_wise_quantization": 1},
    {"quantization_scale_type": 1},
    {"quantization_scale_type": 4, "tensor_bits": 16},
    {"quantization_scale_type": 1, "tensor_bits": 16},
)
_HEADER_BYTES = 24


@st.composite
def compilations(draw: st.DrawFn) -> tuple[onnx.ModelProto, Compiled]:
    """Networks with a plan of any kind, some layers of which may be kept in float."""
    model = draw(random_models())
    options: dict[str, object] = {
        **draw(st.sampled_from(PLANS)),
        "accuracy_level": draw(st.sampled_from((1, 2))),
    }
    compiled = tidlq.compile(model, frames_for(model, 3), options)
    names = [layer.name for layer in compiled.partition.layers if ":" not in layer.name]
    denied = draw(st.lists(st.sampled_from(names), max_size=2)) if names else []
    if denied:
        options["deny_list:layer_name"] = ",".join(denied)
        compiled = tidlq.compile(model, frames_for(model, 3), options)
    assume(compiled.plan is not None)
    return model, compiled


def programs(compiled: Compiled) -> list[pb.Network]:
    found = []
    for stage in compiled.artifacts.stages:
        if stage.kind is StageKind.FIXED:
            found.append(pb.Network.FromString(stage.content[_HEADER_BYTES:]))
            found[-1].ClearField("graph_fingerprint")
    return found


def float_nodes(compiled: Compiled) -> list[str]:
    return [node.name for node in compiled.partition.float_nodes]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(compilations())
def test_importing_an_export_gives_the_exported_network(
    drawn: tuple[onnx.ModelProto, Compiled],
) -> None:
    model, compiled = drawn
    exported = compiled.to_qdq()
    onnx.checker.check_model(exported, full_check=True)
    again = tidlq.compile(exported)
    assert programs(again) == programs(compiled)
    assert float_nodes(again) == float_nodes(compiled)
    frame = frames_for(model, 1)[0]
    ours, theirs = (
        tidlq.InferenceSession(one.artifacts).run(None, frame) for one in (compiled, again)
    )
    assert all(map(np.array_equal, ours, theirs))
    assert again.artifacts.inputs == compiled.artifacts.inputs
    # And once more: what was imported exports like that.
    assert programs(tidlq.compile(again.to_qdq())) == programs(compiled)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(compilations(), st.booleans())
def test_onnx_runtime_is_within_one_step_in_every_layer(
    drawn: tuple[onnx.ModelProto, Compiled], is_optimized: bool
) -> None:
    model, compiled = drawn
    assert compiled.plan is not None
    export = export_qdq(compiled.graph, compiled.partition, compiled.plan)
    trace = IntegerTrace(
        compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages, threads=1
    )
    agreement = LayerAgreement(
        compiled.graph, compiled.partition, compiled.plan, export, is_optimized, threads=1
    )
    for found in measure_agreement(trace, agreement, frames_for(model, 2, seed=1)):
        assert found.largest <= 1, found


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(compilations())
def test_a_free_batch_runs_as_its_frames_do(drawn: tuple[onnx.ModelProto, Compiled]) -> None:
    model, compiled = drawn
    exported = compiled.to_qdq()
    assume(exported.graph.input[0].type.tensor_type.shape.dim[0].dim_param)
    options = ort.SessionOptions()
    # Optimized, ONNX Runtime chooses other float kernels for other batches.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        exported.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    frames = frames_for(model, 2)
    joined = {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}
    apart = [session.run(None, frame) for frame in frames]
    for together, parts in zip(session.run(None, joined), zip(*apart, strict=True), strict=True):
        whole = np.concatenate(parts)
        assert together.shape == whole.shape
        # Float sums are formed in another order where there are two rows: what lies halfway between
        # two integers may go to the other one. Frames that were mixed up differ by far more.
        assert np.linalg.norm(together - whole) <= 0.02 * np.linalg.norm(whole) + 1e-5
