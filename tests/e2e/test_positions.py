"""ArgMax and TopK at the end of networks: positions are integers that leave as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import tidlq
from tidlq.graph.layers import LayerKind
from tidlq.graph.partition import StageKind

SHAPE = (1, 3, 8, 8)


def network(nodes: list[onnx.NodeProto], outputs: dict[str, int]) -> onnx.ModelProto:
    """A convolution of 21 classes and what follows it."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(21, 3, 3, 3)).astype(np.float32)
    constants = {"w": weight, "k": np.array([3], np.int64)}
    convolution = helper.make_node("Conv", ["x", "w"], ["f"], name="conv", pads=[1] * 4)
    graph = helper.make_graph(
        [convolution, *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 18)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=imports, ir_version=8)
    )


def frames(count: int = 6) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=SHAPE).astype(np.float32)} for _ in range(count)]


ARG_MAX = helper.make_node("ArgMax", ["f"], ["y"], name="classes", axis=1, keepdims=0)
MODEL = network([ARG_MAX], {"y": TensorProto.INT64})


def equal_share(compiled: tidlq.Compiled, model: onnx.ModelProto) -> float:
    session = tidlq.InferenceSession(compiled.artifacts)
    oracle = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shares = []
    for frame in frames():
        got, want = session.run(None, frame)[-1], oracle.run(None, frame)[-1]
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        shares.append(float(np.mean(got == want)))
    return float(np.mean(shares))


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_class_map_needs_no_island(scale_type: int) -> None:
    compiled = tidlq.compile(MODEL, frames(), {"quantization_scale_type": scale_type})
    assert [stage.kind for stage in compiled.partition.stages] == [StageKind.FIXED]
    assert equal_share(compiled, MODEL) > 0.95
    assert tidlq.InferenceSession(compiled.artifacts).get_outputs()[0].type == "tensor(int64)"


def test_sixteen_bits_leave_hardly_any_ties() -> None:
    compiled = tidlq.compile(MODEL, frames(), {"tensor_bits": 16})
    assert equal_share(compiled, MODEL) > 0.999


def test_a_cast_to_32_bits_is_part_of_it() -> None:
    nodes = [
        helper.make_node("ArgMin", ["f"], ["wide"], name="classes", axis=1),
        helper.make_node("Cast", ["wide"], ["y"], name="narrow", to=TensorProto.INT32),
    ]
    model = network(nodes, {"y": TensorProto.INT32})
    compiled = tidlq.compile(model, frames())
    assert not compiled.partition.float_nodes
    assert equal_share(compiled, model) > 0.95


def test_a_softmax_before_it_is_not_computed() -> None:
    nodes = [
        helper.make_node("Softmax", ["f"], ["s"], name="shares", axis=1),
        helper.make_node("ArgMax", ["s"], ["y"], name="classes", axis=1),
    ]
    model = network(nodes, {"y": TensorProto.INT64})
    compiled = tidlq.compile(model, frames())
    kinds = [layer.kind for layer in compiled.partition.layers]
    assert kinds == [LayerKind.CONVOLUTION, LayerKind.POSITIONS]
    assert equal_share(compiled, model) > 0.95


def test_a_softmax_along_another_axis_is() -> None:
    nodes = [
        helper.make_node("Softmax", ["f"], ["s"], name="shares", axis=2),
        helper.make_node("ArgMax", ["s"], ["y"], name="classes", axis=1),
    ]
    model = network(nodes, {"y": TensorProto.INT64})
    kinds = [layer.kind for layer in tidlq.compile(model, frames()).partition.layers]
    assert kinds == [LayerKind.CONVOLUTION, LayerKind.SOFTMAX, LayerKind.POSITIONS]


def test_an_island_reads_positions() -> None:
    nodes = [ARG_MAX, helper.make_node("Add", ["y", "k"], ["z"], name="later")]
    model = network(nodes, {"z": TensorProto.INT64})
    compiled = tidlq.compile(model, frames())
    kinds = [stage.kind for stage in compiled.partition.stages]
    assert kinds == [StageKind.FIXED, StageKind.FLOAT]
    assert equal_share(compiled, model) > 0.95


def test_values_and_positions_of_top_k_belong_together() -> None:
    nodes = [helper.make_node("TopK", ["f", "k"], ["v", "y"], name="best", axis=1)]
    model = network(nodes, {"v": TensorProto.FLOAT, "y": TensorProto.INT64, "f": TensorProto.FLOAT})
    compiled = tidlq.compile(model, frames())
    assert not compiled.partition.float_nodes
    session = tidlq.InferenceSession(compiled.artifacts)
    for frame in frames():
        values, positions, whole = session.run(None, frame)
        np.testing.assert_array_equal(np.take_along_axis(whole, positions, 1), values)
        assert (np.diff(values, axis=1) <= 0).all()


def test_a_saved_proto_and_an_export_give_the_network_again(tmp_path: Path) -> None:
    compiled = tidlq.compile(MODEL, frames(), {"quantization_scale_type": 4})
    folder = compiled.save(tmp_path / "artifacts")
    proto = {"quant_params_proto_path": str(folder / "quant_params.prototxt")}
    again = tidlq.compile(MODEL, options={"quantization_scale_type": 4, **proto})
    assert again.artifacts.networks == compiled.artifacts.networks
    imported = tidlq.compile(compiled.to_qdq())
    assert not imported.partition.float_nodes
    sessions = [tidlq.InferenceSession(x.artifacts) for x in (compiled, imported)]
    for frame in frames():
        one, other = (session.run(None, frame)[0] for session in sessions)
        np.testing.assert_array_equal(one, other)


def test_layers_before_it_are_chosen_for_16_bits() -> None:
    compiled = tidlq.compile(MODEL, frames(), {"mixed_precision_factor": 4.0})
    assert equal_share(compiled, MODEL) > 0.95
