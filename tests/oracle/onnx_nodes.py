"""Runs small ONNX graphs in ONNX Runtime, without its graph optimisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

Array = NDArray[np.generic]
OPSET = 21


def run_nodes(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Array], output: str, dtype: np.dtype
) -> Array:
    """Feeds every array, runs the nodes and returns one tensor of the given dtype."""
    graph = helper.make_graph(
        list(nodes),
        "oracle",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [helper.make_tensor_value_info(output, helper.np_dtype_to_tensor_dtype(dtype), None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (result,) = session.run([output], dict(inputs))
    return np.asarray(result)


def run_node(
    op_type: str, inputs: Mapping[str, Array], dtype: np.dtype, **attributes: object
) -> Array:
    """Runs one node on its inputs in order."""
    node = helper.make_node(op_type, list(inputs), ["output"], **attributes)
    return run_nodes([node], inputs, "output", dtype)


def quantize_node(source: str, target: str, scale: str, zero_point: str) -> onnx.NodeProto:
    """A QuantizeLinear node."""
    return helper.make_node("QuantizeLinear", [source, scale, zero_point], [target])


def dequantize_node(source: str, target: str, scale: str, zero_point: str) -> onnx.NodeProto:
    """A DequantizeLinear node."""
    return helper.make_node("DequantizeLinear", [source, scale, zero_point], [target])


def channels_first(array: Array) -> Array:
    """(N, ..., C) to (N, C, ...)."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def channels_last(array: Array) -> Array:
    """(N, C, ...) to (N, ..., C)."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))
