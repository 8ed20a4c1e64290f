"""Shape inference keeps weights out of its message and keeps what it cannot infer itself."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from oracle.float_reference import text_model
from tidlq.errors import ModelError
from tidlq.passes.infer_shapes import InferShapes, refuse_absurd_sizes, weightless_proto


def test_large_constants_are_typed_inputs_of_the_message() -> None:
    proto = text_model(
        "g (float[2, 300] x) => (float[N, M] y) { a = MatMul(x, w) y = Reshape(a, s) }",
        {"w": np.zeros((300, 300), np.float32), "s": np.array([300, 2])},
    )
    message = weightless_proto(ir.from_proto(proto))
    assert [tensor.name for tensor in message.graph.initializer] == ["s"]
    assert [info.name for info in message.graph.input] == ["x", "w"]
    assert message.ByteSize() < 1000


def test_shapes_follow_from_constants() -> None:
    proto = text_model(
        "g (float[2, 6] x) => (float[N, M] y) { a = Reshape(x, s) y = Neg(a) }",
        {"s": np.array([3, -1])},
    )
    model = ir.from_proto(proto)
    assert InferShapes()(model).modified
    assert [int(size) for size in model.graph.outputs[0].shape.numpy()] == [3, 4]
    assert not InferShapes()(model).modified


def test_a_declared_shape_behind_an_unknown_operator_is_kept_and_used() -> None:
    proto = text_model(
        "g (float[2, 6] x) => (float[N, M] y) <float[4, 3] a> { a = Odd(x) y = Neg(a) }"
    )
    proto.graph.node[0].domain = "elsewhere"
    proto.opset_import.add(domain="elsewhere", version=1)
    model = ir.from_proto(proto)
    InferShapes()(model)
    assert [int(size) for size in model.graph.outputs[0].shape.numpy()] == [4, 3]


def test_a_tensor_beyond_the_limit_is_named() -> None:
    proto = text_model("g (float[1000, 1000] x) => (float[1000, 1000] y) { y = Neg(x) }")
    model = ir.from_proto(proto)
    refuse_absurd_sizes(model, 10**6)
    with pytest.raises(ModelError, match="'x' has shape 1000x1000, 1000000 elements; at most 999"):
        refuse_absurd_sizes(model, 999_999)
