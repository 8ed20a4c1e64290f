"""Dynamically quantized products become float products of the dequantized weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from oracle.float_reference import random_feeds, run_float, run_ir, text_model
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx

DRAW = np.random.default_rng(3)
W = DRAW.integers(0, 256, (6, 3)).astype(np.uint8)
K = DRAW.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8)
Arrays = dict[str, NDArray[np.generic]]
CONSTANTS: Arrays = {
    "w": W,
    "zw": np.uint8(131).reshape(()),
    "sw": np.float32(0.01).reshape(()),
    "sc": np.float32([0.01, 0.02, 0.005]),
    "zc": np.uint8([1, 2, 200]),
    "k": K,
    "sk": np.float32([0.01, 0.02, 0.005]).reshape(1, 3, 1, 1),
    "b": np.float32([1, 2, 3]),
}
DYNAMIC = "q, s, z = DynamicQuantizeLinear(x)"


def network(body: str, *, given: str = "float[2, 6] x") -> onnx.ModelProto:
    proto = text_model(f"g ({given}) => (float[N] y) {{ {DYNAMIC} {body} }}")
    proto.opset_import.add(domain="com.microsoft", version=1)
    named = {name for node in proto.graph.node for name in node.input}
    for name in named & set(CONSTANTS):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(CONSTANTS[name], name))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


PRODUCTS = {
    "one scale": """i = MatMulInteger(q, w, z, zw) f = Cast<to = 1>(i) t = Mul(s, sw)
        y = Mul(f, t)""",
    "other order": """t = Mul(sw, s) i = MatMulInteger(q, w, z, zw) f = Cast<to = 1>(i)
        y = Mul(t, f)""",
    "one after the other": """i = MatMulInteger(q, w, z, zw) f = Cast<to = 1>(i) t = Mul(f, s)
        y = Mul(t, sw)""",
    "columns": """i = MatMulInteger(q, w, z, zc) f = Cast<to = 1>(i) t = Mul(s, sc)
        y = Mul(f, t)""",
}


@pytest.mark.parametrize("form", PRODUCTS)
def test_a_product_is_that_of_the_dequantized_weights(form: str) -> None:
    proto = network(PRODUCTS[form])
    graph = import_onnx(proto)
    assert ops(graph) == ["MatMul"]
    assert graph.stated is None
    steps = W.astype(int) - (CONSTANTS["zc"] if form == "columns" else CONSTANTS["zw"]).astype(int)
    weight = steps * (CONSTANTS["sc"] if form == "columns" else CONSTANTS["sw"])
    feeds = random_feeds(graph)
    found = run_ir(graph.model, feeds)["y"]
    np.testing.assert_allclose(found, feeds["x"] @ weight.astype(np.float32), rtol=1e-5, atol=1e-5)
    # The model itself rounds x to 8 bits.
    bound = np.ptp(feeds["x"]) / 255 / 2 * np.abs(weight).sum(axis=0).max() * 1.01
    assert np.abs(found - run_float(proto, feeds)["y"]).max() <= bound


def test_a_convolution_with_its_bias_is_float() -> None:
    body = """i = ConvInteger<pads = [1, 1, 1, 1]>(q, k, z) f = Cast<to = 1>(i) t = Mul(s, sk)
        m = Mul(f, t) y = Relu(m)"""
    proto = network(body, given="float[1, 4, 5, 5] x")
    graph = import_onnx(proto)
    assert ops(graph) == ["Conv", "Relu"]
    feeds = random_feeds(graph)
    difference = run_ir(graph.model, feeds)["y"] - run_float(proto, feeds)["y"]
    assert np.abs(difference).max() <= np.ptp(feeds["x"]) / 255 / 2 * 36 * 127 * 0.02


def test_onnx_runtimes_own_product_is_float() -> None:
    text = """g (float[2, 6] x) => (float[2, 3] y)
        { y = com.microsoft.DynamicQuantizeMatMul(x, w, sw, zw) }"""
    proto = text_model(text, {key: CONSTANTS[key] for key in ("w", "sw", "zw")})
    proto.opset_import.add(domain="com.microsoft", version=1)
    assert ops(import_onnx(proto)) == ["MatMul"]


def test_a_dynamic_pair_goes() -> None:
    graph = import_onnx(network("d = DequantizeLinear(q, s, z) y = Relu(d)"))
    assert ops(graph) == ["Relu"]


@pytest.mark.parametrize(
    "body",
    [
        "i = MatMulInteger(q, w, z, zw) y = Cast<to = 1>(i)",
        "i = MatMulInteger(q, w, z, zw) f = Cast<to = 1>(i) y = Mul(f, sw)",
        "i = MatMulInteger(q, w) f = Cast<to = 1>(i) t = Mul(s, sw) y = Mul(f, t)",
    ],
)
def test_another_use_of_dynamic_integers_stays(body: str) -> None:
    proto = network(body)
    graph = import_onnx(proto)
    assert "MatMulInteger" in ops(graph)
    feeds = random_feeds(graph)
    expected, found = run_float(proto, feeds)["y"], run_ir(graph.model, feeds)["y"]
    np.testing.assert_array_equal(found, expected)
