"""Operators that move integers move real values instead, with the same result."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from oracle.float_reference import random_feeds, run_float, text_model
from oracle.stated_reference import run_stated
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureQuant, IntegerType

X = FeatureQuant(IntegerType(8, signed=True), 0.03125, -20)
CONSTANTS: dict[str, NDArray[np.generic]] = {
    "s": np.float32(X.scale).reshape(()),
    "z": np.int8(X.zero_point).reshape(()),
    "flat": np.array([1, -1]),
    "pads": np.array([0, 0, 1, 1, 0, 0, 0, 1]),
    "from": np.array([1]),
    "to": np.array([3]),
    "axes": np.array([2]),
    "low": np.int8(-100).reshape(()),
    "high": np.int8(90).reshape(()),
    "value": np.int8(5).reshape(()),
    "two": np.float32([1, 1, 2, 2]),
    "halves": np.array([2, 2]),
}
INPUT = "float[1, 4, 6, 6] x"


def network(
    body: str, *, given: str = INPUT, output: str = "float[N] y", opset: int = 18
) -> onnx.ModelProto:
    proto = text_model(f"g ({given}) => ({output}) {{ {body} }}", None, opset=opset)
    named = {name for node in proto.graph.node for name in node.input}
    for name in named & set(CONSTANTS):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(CONSTANTS[name], name))
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    return proto


def assert_exact(proto: onnx.ModelProto) -> Graph:
    graph = import_onnx(proto)
    for seed in range(3):
        feeds = random_feeds(graph, seed)
        if graph.inputs[0].dtype.kind != "f":
            feeds = {name: (20 * array).astype(array.dtype) for name, array in feeds.items()}
        expected, found = run_float(proto, feeds), run_stated(graph, feeds)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


MOVERS = {
    "Reshape(q, flat)": "Reshape",
    "Flatten(q)": "Flatten",
    "Transpose<perm = [0, 2, 3, 1]>(q)": "Transpose",
    "Slice(q, from, to, axes)": "Slice",
    "MaxPool<kernel_shape = [2, 2], pads = [1, 1, 0, 0]>(q)": "MaxPool",
    "Pad(q, pads)": "Pad",
    "Pad(q, pads, value)": "Pad",
    "Pad<mode = 'reflect'>(q, pads)": "Pad",
    "Clip(q, low, high)": "Clip",
    "Clip(q, low)": "Clip",
    "Concat<axis = 1>(q, q)": "Concat",
    "Resize<mode = 'nearest'>(q, , two)": "Resize",
    "Relu(q)": "Clip",
}


@pytest.mark.parametrize("call", MOVERS)
def test_a_mover_between_quantize_and_dequantize_works_on_real_values(call: str) -> None:
    text = call.replace("'", '"')
    body = f"q = QuantizeLinear(x, s, z) p = {text} y = DequantizeLinear(p, s, z)"
    graph = assert_exact(network(body))
    assert ops(graph) == [MOVERS[call]]
    assert graph.stated is not None
    assert graph.stated.features == {"x": X, "y": X}


def test_all_parts_of_a_split_are_dequantized() -> None:
    body = """q = QuantizeLinear(x, s, z) k, l = Split<axis = 1>(q, halves)
        a = DequantizeLinear(k, s, z) b = DequantizeLinear(l, s, z) y = Add(a, b)"""
    graph = assert_exact(network(body, opset=13))
    assert ops(graph) == ["Split", "Add"]


def test_a_chain_of_movers_is_lifted_whole() -> None:
    body = """q = QuantizeLinear(x, s, z) k = MaxPool<kernel_shape = [2, 2]>(q)
        l = Transpose<perm = [0, 2, 3, 1]>(k) p = Flatten(l) y = DequantizeLinear(p, s, z)"""
    assert ops(assert_exact(network(body))) == ["MaxPool", "Transpose", "Flatten"]


def test_an_integer_output_of_a_mover_stays_integer() -> None:
    body = "q = QuantizeLinear(x, s, z) p = MaxPool<kernel_shape = [2, 2]>(q)"
    graph = assert_exact(network(body, output="int8[N] p"))
    assert ops(graph) == ["MaxPool", "QuantizeLinear"]
    assert [(item.name, item.dtype) for item in graph.outputs] == [("p", np.int8)]


def test_an_integer_input_is_dequantized_first() -> None:
    body = """k = Transpose<perm = [0, 3, 1, 2]>(x) l = Slice(k, from, to, axes)
        d = DequantizeLinear(l, s, z) y = Relu(d)"""
    graph = assert_exact(network(body, given="int8[1, 6, 6, 4] x"))
    assert ops(graph) == ["DequantizeLinear", "Transpose", "Slice", "Relu"]


def test_the_largest_of_integers_is_that_of_their_values() -> None:
    body = "q = QuantizeLinear(x, s, z) y = ArgMax<axis = 1>(q)"
    graph = assert_exact(network(body, output="int64[N] y"))
    assert ops(graph) == ["ArgMax"]
    assert graph.stated is not None
    assert graph.stated.features == {"x": X}


def test_a_table_of_integers_becomes_a_stated_table() -> None:
    body = "p = Gather(table, x) y = DequantizeLinear(p, s, z)"
    proto = network(body, given="int64[3] x")
    table = np.arange(-60, 60, dtype=np.int8).reshape(6, 20)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    graph = import_onnx(proto)
    assert ops(graph) == ["Gather"]
    feeds = {"x": np.array([0, 5, 2])}
    expected = run_float(proto, feeds)["y"]
    np.testing.assert_array_equal(run_float_graph(graph, feeds), expected)


def run_float_graph(graph: Graph, feeds: dict[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    return run_stated(graph, feeds)["y"]


def test_what_computes_with_integers_stays() -> None:
    body = """q = QuantizeLinear(x, s, z) p = Resize<mode = "linear">(q, , two)
        y = DequantizeLinear(p, s, z)"""
    graph = assert_exact(network(body))
    assert ops(graph) == ["QuantizeLinear", "Resize", "DequantizeLinear"]
    assert graph.stated is not None
    assert graph.stated.features == {"x": X, "y": X}
