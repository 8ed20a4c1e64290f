"""MatMul and Add become Gemm only where they are a rank-2 product with a constant and a bias."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from oracle.float_reference import assert_close, run_float, run_ir, text_model
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.matmul_to_gemm import MatMulToGemm

DRAW = np.random.default_rng(9)
W = DRAW.normal(size=(4, 5)).astype(np.float32)


def joined(text: str, bias: object) -> tuple[ir.Model, bool]:
    proto = text_model(text, {"w": W, "b": np.asarray(bias, np.float32)})
    model = ir.from_proto(proto)
    InferShapes()(model)
    modified = MatMulToGemm()(model).modified
    feeds = {
        value.name: DRAW.normal(size=value.shape.numpy()).astype(np.float32)
        for value in model.graph.inputs
    }
    assert_close(run_ir(model, feeds), run_float(proto, feeds))
    return model, modified


@pytest.mark.parametrize("order", ["Add(a, b)", "Add(b, a)"])
@pytest.mark.parametrize("bias", [np.arange(5), np.arange(5)[None], 3.0, [3.0]])
def test_a_product_with_a_bias_becomes_gemm(order: str, bias: object) -> None:
    model, modified = joined(
        f"g (float[3, 4] x) => (float[3, 5] y) {{ a = MatMul(x, w) y = {order} }}", bias
    )
    assert modified
    (node,) = model.graph
    assert node.op_type == "Gemm"
    assert node.outputs[0].name == "y"
    assert tuple(node.inputs[2].const_value.shape) == (5,)


@pytest.mark.parametrize(
    ("text", "bias"),
    [
        (
            "g (float[3, 4] x) => (float[3, 5] y) { a = MatMul(x, w) y = Add(a, b) }",
            np.arange(15).reshape(3, 5),
        ),
        (
            "g (float[3, 4] x) => (float[3, 5] y) { a = MatMul(x, w) y = Add(a, b) }",
            np.arange(3).reshape(3, 1),
        ),
        (
            "g (float[2, 3, 4] x) => (float[2, 3, 5] y) { a = MatMul(x, w) y = Add(a, b) }",
            np.arange(5),
        ),
        (
            (
                "g (float[3, 4] x, float[4, 5] u) => (float[3, 5] y)"
                " { a = MatMul(x, u) y = Add(a, b) }"
            ),
            np.arange(5),
        ),
        (
            (
                "g (float[3, 4] x) => (float[3, 5] y, float[3, 5] a)"
                " { a = MatMul(x, w) y = Add(a, b) }"
            ),
            np.arange(5),
        ),
    ],
    ids=["full bias", "bias per row", "rank 3", "two variables", "shown output"],
)
def test_other_products_stay(text: str, bias: object) -> None:
    _, modified = joined(text, bias)
    assert not modified
