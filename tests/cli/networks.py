"""Small ONNX networks for tests of the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
SIDE = 8
CLASSES = 3


def weight(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    values = np.random.default_rng([seed, *shape]).normal(0, 0.5, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def classifier(channels: int = 1, shape: Sequence[int | str] | None = None) -> onnx.ModelProto:
    """Conv, ReLU, average over the picture, Gemm: [N, channels, 8, 8] to [N, 3]."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "first", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c1"], ["r1"], "rectify"),
        helper.make_node("GlobalAveragePool", ["r1"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w2", "b2"], ["scores"], "dense", transB=1),
    ]
    constants = [
        weight("w1", 4, channels, 3, 3),
        weight("b1", 4),
        weight("w2", CLASSES, 4),
        weight("b2", CLASSES),
    ]
    return model(nodes, constants, shape or ["N", channels, SIDE, SIDE], {"scores": ["N", CLASSES]})


def with_island(operator: str = "LpNormalization") -> onnx.ModelProto:
    """Conv, an operator without integer kernel, Conv: [1, 1, 8, 8] to [1, 2, 4, 4]."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], "first", kernel_shape=[3, 3]),
        helper.make_node(operator, ["c1"], ["e1"], "strange"),
        helper.make_node("Conv", ["e1", "w2"], ["y"], "second", kernel_shape=[3, 3]),
    ]
    constants = [weight("w1", 4, 1, 3, 3), weight("w2", 2, 4, 3, 3)]
    return model(nodes, constants, [1, 1, SIDE, SIDE], {"y": [1, 2, 4, 4]})


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    shape: Sequence[int | str],
    outputs: dict[str, Sequence[int | str]],
) -> onnx.ModelProto:
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", float32, shape)],
        [helper.make_tensor_value_info(name, float32, size) for name, size in outputs.items()],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def frames(count: int = 6, channels: int = 1, seed: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, (count, channels, SIDE, SIDE)).astype(np.float32)


def save_model(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path
