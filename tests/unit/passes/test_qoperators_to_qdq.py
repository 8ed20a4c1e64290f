"""Each integer operator becomes the float operator that it is defined to approximate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from oracle.float_reference import random_feeds, run_float, text_model
from oracle.stated_reference import run_stated
from tidlq.importers.onnx_model import import_onnx
from tidlq.passes.qoperators_to_qdq import QOperatorsToQdq
from tidlq.spec import FeatureQuant, IntegerType, StatedParameter

DRAW = np.random.default_rng(12)
UINT8, INT8 = IntegerType(8, signed=False), IntegerType(8, signed=True)
X = FeatureQuant(UINT8, 0.03125, 120)
Y = FeatureQuant(UINT8, float(np.float32(0.04)), 100)
CONSTANTS: dict[str, NDArray[np.generic]] = {
    "sx": np.float32(X.scale).reshape(()),
    "zx": np.uint8(X.zero_point).reshape(()),
    "sy": np.float32(Y.scale).reshape(()),
    "zy": np.uint8(Y.zero_point).reshape(()),
    "sw": np.float32([0.01, 0.02, 0.005, 0.03]),
    "zw": np.zeros(4, np.int8),
    "w": DRAW.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8),
    "b": np.int32([100, -2000, 3, 0]),
    "g": DRAW.integers(-127, 128, (4, 100)).astype(np.int8),
    "m": DRAW.integers(-127, 128, (5, 4)).astype(np.int8),
    "flat": np.array([1, 100]),
}
INPUT = "float[1, 4, 5, 5] x"
MS = "com.microsoft."


def network(body: str, *, opset: int = 18) -> onnx.ModelProto:
    text = f"""g ({INPUT}) => (float[N] y) {{ q = QuantizeLinear(x, sx, zx) {body}
        y = DequantizeLinear(p, sy, zy) }}"""
    proto = text_model(text, None, opset=opset)
    proto.opset_import.add(domain="com.microsoft", version=1)
    named = {name for node in proto.graph.node for name in node.input}
    for name in named & set(CONSTANTS):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(CONSTANTS[name], name))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


OPERATORS = {
    "QLinearConv": ("QLinearConv(q, sx, zx, w, sw, zw, sy, zy, b)", "Conv"),
    "QLinearConv without bias": (
        "QLinearConv<pads = [1, 1, 1, 1]>(q, sx, zx, w, sw, zw, sy, zy)",
        "Conv",
    ),
    "QLinearMatMul": ("QLinearMatMul(q, sx, zx, m, sw, zw, sy, zy)", "MatMul"),
    "QLinearAdd": (f"{MS}QLinearAdd(q, sx, zx, q, sx, zx, sy, zy)", "Add"),
    "QLinearMul": (f"{MS}QLinearMul(q, sx, zx, q, sx, zx, sy, zy)", "Mul"),
    "QLinearConcat": (f"{MS}QLinearConcat<axis = 1>(sy, zy, q, sx, zx, q, sx, zx)", "Concat"),
    "QLinearAveragePool": (
        f"{MS}QLinearAveragePool<kernel_shape = [2, 2]>(q, sx, zx, sy, zy)",
        "AveragePool",
    ),
    "QLinearGlobalAveragePool": (
        f"{MS}QLinearGlobalAveragePool(q, sx, zx, sy, zy)",
        "GlobalAveragePool",
    ),
    "QLinearLeakyRelu": (f"{MS}QLinearLeakyRelu<alpha = 0.125>(q, sx, zx, sy, zy)", "LeakyRelu"),
    "QLinearSigmoid": (f"{MS}QLinearSigmoid(q, sx, zx, sy, zy)", "Sigmoid"),
    "QLinearSoftmax": (
        f"{MS}QLinearSoftmax<axis = -1, opset = 13>(q, sx, zx, sy, zy)",
        "Softmax",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_result_is_at_most_one_step_away(name: str) -> None:
    call, float_operator = OPERATORS[name]
    proto = network(f"p = {call}")
    graph = import_onnx(proto)
    assert [node.op_type for node in graph.nodes] == [float_operator]
    assert graph.stated is not None
    assert graph.stated.features == {"x": X, "y": Y}
    differing, count = 0, 0
    for seed in range(8):
        feeds = random_feeds(graph, seed)
        steps = (run_stated(graph, feeds)["y"] - run_float(proto, feeds)["y"]) / Y.scale
        assert np.abs(np.rint(steps)).max() <= 1
        differing, count = differing + np.count_nonzero(np.rint(steps)), count + steps.size
    assert differing <= count / 50


def test_a_convolution_states_weights_and_bias() -> None:
    graph = import_onnx(network("p = QLinearConv(q, sx, zx, w, sw, zw, sy, zy, b)"))
    assert graph.stated is not None
    (stored,) = graph.stated.parameters.values()
    assert stored == StatedParameter(INT8, tuple(map(float, CONSTANTS["sw"])), (0,) * 4, 0)
    assert list(graph.stated.biases.values()) == [(100, -2000, 3, 0)]


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_a_matrix_product_with_bias_becomes_gemm(alpha: float) -> None:
    body = f"""f = Reshape(q, flat)
        p = {MS}QGemm<transB = 1, alpha = {alpha}>(f, sx, zx, g, sw, zw, b, sy, zy)"""
    proto = network(body)
    graph = import_onnx(proto)
    assert [node.op_type for node in graph.nodes] == ["Reshape", "Gemm"]
    assert graph.stated is not None
    assert bool(graph.stated.biases) == (alpha == 1)
    for seed in range(4):
        feeds = random_feeds(graph, seed)
        steps = (run_stated(graph, feeds)["y"] - run_float(proto, feeds)["y"]) / Y.scale
        assert np.abs(np.rint(steps)).max() <= 1


def test_a_matrix_product_may_have_a_float_output() -> None:
    text = f"""g (float[1, 100] x) => (float[1, 4] y) {{ q = QuantizeLinear(x, sx, zx)
        y = {MS}QGemm<transB = 1>(q, sx, zx, g, sw, zw, b) }}"""
    proto = text_model(text, {key: CONSTANTS[key] for key in ("sx", "zx", "g", "sw", "zw", "b")})
    proto.opset_import.add(domain="com.microsoft", version=1)
    graph = import_onnx(proto)
    assert [node.op_type for node in graph.nodes] == ["Gemm"]
    assert graph.stated is not None
    assert graph.stated.features == {"x": X}
    feeds = random_feeds(graph)
    expected, found = run_float(proto, feeds)["y"], run_stated(graph, feeds)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_per_channel_weights_at_an_old_opset() -> None:
    proto = network("p = QLinearConv(q, sx, zx, w, sw, zw, sy, zy, b)", opset=10)
    graph = import_onnx(proto)
    assert [node.op_type for node in graph.nodes] == ["Conv"]
    assert graph.stated is not None
    assert list(graph.stated.biases.values()) == [(100, -2000, 3, 0)]


def test_integer_inputs_and_outputs_keep_name_and_type() -> None:
    text = """g (uint8[1, 4, 5, 5] q) => (uint8[1, 4, 3, 3] p)
        { p = QLinearConv(q, sx, zx, w, sw, zw, sy, zy, b) }"""
    names = ("sx", "zx", "sy", "zy", "w", "sw", "zw", "b")
    proto = text_model(text, {key: CONSTANTS[key] for key in names})
    graph = import_onnx(proto)
    assert [node.op_type for node in graph.nodes] == ["DequantizeLinear", "Conv", "QuantizeLinear"]
    assert [(item.name, item.dtype) for item in graph.outputs] == [("p", np.uint8)]
    feeds = {"q": DRAW.integers(0, 256, (1, 4, 5, 5)).astype(np.uint8)}
    expected, found = run_float(proto, feeds)["p"], run_stated(graph, feeds)["p"]
    np.testing.assert_array_equal(found, expected)


def keep(change: Callable[[onnx.NodeProto], None], call: str) -> bool:
    proto = network(f"p = {call}")
    change(proto.graph.node[1])
    return not QOperatorsToQdq()(ir.from_proto(proto)).modified


def test_what_is_not_understood_stays() -> None:
    def channels_last(node: onnx.NodeProto) -> None:
        node.attribute.append(onnx.helper.make_attribute("channels_last", 1))

    def odd_attribute(node: onnx.NodeProto) -> None:
        node.attribute.append(onnx.helper.make_attribute("channels_last", "yes"))

    def fewer_inputs(node: onnx.NodeProto) -> None:
        del node.input[2:]

    def computed_scale(node: onnx.NodeProto) -> None:
        node.input[4] = "x"

    pool = OPERATORS["QLinearGlobalAveragePool"][0]
    for change, call in (
        (channels_last, pool),
        (odd_attribute, pool),
        (fewer_inputs, pool),
        (fewer_inputs, OPERATORS["QLinearAdd"][0]),
        (fewer_inputs, OPERATORS["QLinearConcat"][0]),
        (computed_scale, OPERATORS["QLinearConv"][0]),
        (computed_scale, OPERATORS["QLinearMatMul"][0]),
    ):
        assert keep(change, call), call
