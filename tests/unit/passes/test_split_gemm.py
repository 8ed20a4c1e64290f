"""Gemm becomes parts that compute the same, where it is not a product with weights and a bias."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from oracle.float_reference import assert_close, run_float, run_ir, text_model
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.split_gemm import SplitGemm

DRAW = np.random.default_rng(4)
CONSTANTS = {
    "w": DRAW.normal(size=(4, 5)).astype(np.float32),
    "b": DRAW.normal(size=5).astype(np.float32),
    "m": DRAW.normal(size=(3, 1)).astype(np.float32),
}
FORMS = {
    "Gemm<transA = 1>(t, w, b)": ["Transpose", "Gemm"],
    "Gemm<transA = 1, alpha = 0.5, beta = 2.0>(t, w)": ["Transpose", "Gemm"],
    "Gemm<beta = 0.5, alpha = 3.0>(x, w, m)": ["Mul", "Gemm", "Add"],
    "Gemm(x, w, c)": ["Gemm", "Add"],
    "Gemm(x, u)": ["MatMul"],
    "Gemm<alpha = 0.5, transB = 1>(x, v, b)": ["Transpose", "MatMul", "Mul", "Add"],
    "Gemm<beta = 0.5, transA = 1>(t, u, c)": ["Transpose", "Mul", "MatMul", "Add"],
    "Gemm<beta = 0.5>(x, w, b)": None,
    "Gemm(x, w)": None,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_parts_compute_the_same(form: str) -> None:
    inputs = "float[3, 4] x, float[4, 3] t, float[4, 5] u, float[5, 4] v, float[3, 5] c"
    proto = text_model(f"g ({inputs}) => (float[3, 5] y) {{ y = {form} }}", CONSTANTS)
    model = ir.from_proto(proto)
    for index, node in enumerate(model.graph):
        node.name = f"n{index}"
    InferShapes()(model)
    assert SplitGemm()(model).modified == (FORMS[form] is not None)
    assert [node.op_type for node in model.graph] == (FORMS[form] or ["Gemm"])
    assert "n0" in [node.name for node in model.graph if node.op_type in ("Gemm", "MatMul")]
    feeds = {
        value.name: DRAW.normal(size=value.shape.numpy()).astype(np.float32)
        for value in model.graph.inputs
    }
    assert_close(run_ir(model, feeds), run_float(proto, feeds))
