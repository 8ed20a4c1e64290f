"""Half and double precision networks are computed in float32 behind the same interface."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from oracle.float_reference import run_ir, text_model
from tidlq.errors import ModelError
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.widen_floats import WidenFloats

DRAW = np.random.default_rng(2)
W = DRAW.normal(size=(3, 2, 3, 3))
TYPES = {"float16": np.float16, "double": np.float64, "bfloat16": ml_dtypes.bfloat16}


def widened(proto: onnx.ModelProto) -> ir.Model:
    model = ir.from_proto(proto)
    WidenFloats()(model)
    InferShapes()(model)
    return model


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_the_interface_keeps_its_type_and_the_numbers(kind: str) -> None:
    dtype = np.dtype(TYPES[kind])
    proto = text_model(
        f"g ({kind}[1, 2, 5, 5] x) => ({kind}[1, 3, 3, 3] y) {{ a = Conv(x, w) y = Relu(a) }}",
        {"w": W.astype(dtype)},
    )
    model = widened(proto)
    assert [node.op_type for node in model.graph] == ["Cast", "Conv", "Relu", "Cast"]
    assert model.graph.initializers["w"].dtype == ir.DataType.FLOAT
    x = DRAW.normal(size=(1, 2, 5, 5)).astype(dtype)
    found = run_ir(model, {"x": x})["y"]
    assert found.dtype == dtype
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    exact = np.einsum("nchwij,ocij->nohw", windows, W.astype(dtype).astype(np.float64))
    # One rounding of the result to half precision; float32 elsewhere.
    bound = 2.0**-10 if kind == "float16" else 1e-5
    np.testing.assert_allclose(found, np.maximum(exact, 0), rtol=bound, atol=bound)


def test_bfloat16_weights_widen_exactly() -> None:
    weight = W.astype(ml_dtypes.bfloat16)
    proto = text_model(
        "g (bfloat16[1, 2, 5, 5] x) => (bfloat16[1, 3, 3, 3] y) { y = Conv(x, w) }", {"w": weight}
    )
    model = widened(proto)
    np.testing.assert_array_equal(
        model.graph.initializers["w"].const_value.numpy(), weight.astype(np.float32)
    )


def test_half_weights_behind_a_float_interface_widen() -> None:
    proto = text_model(
        """g (float[1, 2, 5, 5] x) => (float[1, 3, 3, 3] y)
        { h = Cast<to = 10>(x) a = Conv(h, w) y = Cast<to = 1>(a) }""",
        {"w": W.astype(np.float16)},
    )
    model = widened(proto)
    assert all(v.dtype == ir.DataType.FLOAT for node in model.graph for v in node.outputs)


def test_a_double_inside_a_float_network_stays() -> None:
    proto = text_model(
        """g (float[2] x) => (float[2] y)
        { d = Cast<to = 11>(x) e = Mul(d, k) y = Cast<to = 1>(e) }""",
        {"k": np.array([1 / 3, 2 / 3])},
    )
    model = ir.from_proto(proto)
    assert not WidenFloats()(model).modified


def test_a_half_network_with_a_nested_graph_is_refused() -> None:
    proto = text_model(
        """g (bool c, float16[2] x) => (float16[2] y)
        { y = If(c) <then_branch = t () => (float16[2] a) { a = Relu(x) },
                     else_branch = e () => (float16[2] b) { b = Neg(x) }> }"""
    )
    proto.graph.node[0].name = "choice"
    with pytest.raises(ModelError, match=r"FLOAT16 .* around node 'choice' \(If\)"):
        widened(proto)


def test_tensor_attributes_widen() -> None:
    value = onnx.numpy_helper.from_array(np.array([2.5], np.float16))
    proto = text_model(
        "g (float16[2] x) => (float16[3] y) { c = ConstantOfShape(s) d = Add(x, x) y = Mul(c, c) }",
        {"s": np.array([3])},
    )
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("value", value))
    model = widened(proto)
    assert run_ir(model, {"x": np.zeros(2, np.float16)})["y"].tolist() == [6.25] * 3
