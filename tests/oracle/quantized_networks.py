"""Quantized networks in ONNX's text form, and their import against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from oracle.float_reference import random_feeds, run_float, text_model
from oracle.stated_reference import run_stated
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureQuant, IntegerType

DRAW = np.random.default_rng(4)
INT8, UINT8 = IntegerType(8, signed=True), IntegerType(8, signed=False)
Arrays = dict[str, NDArray[np.generic]]


def scalar(value: float, dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
    return np.asarray(value, dtype)


SX, SW, SY = 0.03125, 0.0078125, 0.0625
COMMON: Arrays = {
    "sx": scalar(SX),
    "zx": scalar(3, np.uint8),
    "sw": scalar(SW),
    "zw": scalar(0, np.int8),
    "sy": scalar(SY),
    "zy": scalar(-5, np.int8),
    "w": DRAW.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
}
INPUT = "float[1, 2, 5, 5] x"
FEATURES = {"x": FeatureQuant(UINT8, SX, 3), "y": FeatureQuant(INT8, SY, -5)}
PAIR = "q = QuantizeLinear(x, sx, zx) d = DequantizeLinear(q, sx, zx)"
END = "p = QuantizeLinear(a, sy, zy) y = DequantizeLinear(p, sy, zy)"


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def import_text(body: str, arrays: Arrays, *, opset: int = 13, given: str = INPUT) -> Graph:
    return import_onnx(network(body, arrays, opset=opset, given=given))


def network(
    body: str, arrays: Arrays, *, opset: int = 13, given: str = INPUT, output: str = "float[N] y"
) -> onnx.ModelProto:
    proto = text_model(f"g ({given}) => ({output}) {{ {body} }}", None, opset=opset)
    named = {name for node in proto.graph.node for name in node.input}
    for name, array in {**COMMON, **arrays}.items():
        if name in named:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    return proto


def assert_same_as_original(proto: onnx.ModelProto) -> Graph:
    """The Graph with its statements put back gives what the model gives, exactly."""
    graph = import_onnx(proto)
    for seed in range(4):
        feeds = random_feeds(graph, seed)
        expected, found = run_float(proto, feeds), run_stated(graph, feeds)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    return graph
