"""Valid networks that are rare: features that are always zero, and scalar inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import tidlq
from tidlq.graph.partition import StageKind

Frame = dict[str, np.ndarray]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: Sequence[str],
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    def information(name: str, shape: tuple[int, ...] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "unusual",
        [information(name, shape) for name, shape in inputs.items()],
        [information(name, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 18)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[opset], ir_version=8)
    )


def outputs_of(
    model: onnx.ModelProto, frames: list[Frame], **options: object
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]], list[StageKind]]:
    """Float outputs, outputs of the compiled network, and its stages."""
    oracle = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    compiled = tidlq.compile(model, frames, {"accuracy_level": 2, **options})
    session = tidlq.InferenceSession(compiled.artifacts)
    return (
        [oracle.run(None, frame) for frame in frames],
        [session.run(None, frame) for frame in frames],
        [stage.kind for stage in compiled.partition.stages],
    )


@pytest.mark.parametrize(
    "options",
    [
        {"quantization_scale_type": 0},
        {"quantization_scale_type": 1},
        {"quantization_scale_type": 4},
        {"quantization_scale_type": 4, "requantization": "float"},
    ],
)
def test_features_that_are_always_zero_compile_and_stay_zero(options: dict[str, object]) -> None:
    random = np.random.default_rng(0)
    weight = random.normal(0, 0.1, (6, 4, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], name="negative"),
        helper.make_node("Relu", ["y"], ["dead"], name="dead"),
        helper.make_node("LeakyRelu", ["y"], ["leaky"], name="leaky", alpha=0.1),
        helper.make_node("Sub", ["x", "x"], ["difference"], name="difference"),
        helper.make_node("Add", ["dead", "dead"], ["sum"], name="sum"),
        helper.make_node("Mul", ["dead", "y"], ["product"], name="product"),
    ]
    names = ["y", "dead", "leaky", "difference", "sum", "product"]
    bias = np.full(6, -7.0, np.float32)
    model = build(nodes, {"x": (1, 4, 5, 5)}, names, {"w": weight, "b": bias})
    frames = [{"x": random.normal(0, 1, (1, 4, 5, 5)).astype(np.float32)} for _ in range(4)]
    expected, found, kinds = outputs_of(model, frames, **options)
    assert kinds == [StageKind.FIXED]
    for want, got in zip(expected, found, strict=True):
        for name, a, b in zip(names, want, got, strict=True):
            if name in ("y", "leaky"):
                assert np.abs(a - b).max() < 0.12
            else:
                assert not a.any()
                assert np.abs(b).max() < 1e-6, name


@pytest.mark.parametrize("bits", [8, 32])
def test_an_input_may_be_a_scalar(bits: int) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"], name="sum"),
        helper.make_node("Mul", ["sum", "b"], ["y"], name="product"),
    ]
    model = build(nodes, {"a": (2, 3), "b": ()}, ["y"], {})
    random = np.random.default_rng(1)
    frames = [
        {
            "a": random.normal(0, 1, (2, 3)).astype(np.float32),
            "b": np.array(random.normal(), np.float32),
        }
        for _ in range(8)
    ]
    expected, found, _ = outputs_of(model, frames, tensor_bits=bits)
    for (want,), (got,) in zip(expected, found, strict=True):
        assert want.shape == got.shape == (2, 3)
        assert np.abs(want - got).max() < 0.1
