"""ONNX Runtime as the oracle of statements: a Graph with Q/DQ put back where it states them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from oracle.float_reference import Arrays, run_float
from tidlq.graph.model import Graph
from tidlq.spec import FeatureQuant

MICROSOFT = "com.microsoft"


def quantized_model(graph: Graph) -> onnx.ModelProto:
    """The Graph as a model that rounds every stated feature map to its integers."""
    proto = onnx.ModelProto()
    proto.CopyFrom(ir.to_proto(graph.model))
    if graph.stated is None:
        return proto
    if all(entry.domain != MICROSOFT for entry in proto.opset_import):
        proto.opset_import.add(domain=MICROSOFT, version=1)
    outputs = {info.name for info in proto.graph.output}
    raw = {name: f"{name}/raw" for name in graph.stated.features if name in outputs}
    rounded = {
        name: name if name in outputs else f"{name}/rounded" for name in graph.stated.features
    }
    nodes: list[onnx.NodeProto] = []
    for info in proto.graph.input:
        if info.name in graph.stated.features:
            nodes += _pair(proto, info.name, info.name, rounded, graph.stated.features[info.name])
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = rounded.get(name, name)
        names = list(node.output)
        for index, name in enumerate(names):
            node.output[index] = raw.get(name, name)
        nodes.append(node)
        for name in names:
            if name in graph.stated.features:
                quant = graph.stated.features[name]
                nodes += _pair(proto, name, raw.get(name, name), rounded, quant)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def _pair(
    proto: onnx.ModelProto, name: str, data: str, rounded: dict[str, str], quant: FeatureQuant
) -> list[onnx.NodeProto]:
    scale, zero = f"{name}/scale", f"{name}/zero"
    proto.graph.initializer.append(
        onnx.numpy_helper.from_array(np.float32(quant.scale).reshape(()), scale)
    )
    proto.graph.initializer.append(
        onnx.numpy_helper.from_array(np.asarray(quant.zero_point, quant.type.dtype), zero)
    )
    return [
        onnx.helper.make_node(
            "QuantizeLinear", [data, scale, zero], [f"{name}/integers"], domain=MICROSOFT
        ),
        onnx.helper.make_node(
            "DequantizeLinear", [f"{name}/integers", scale, zero], [rounded[name]], domain=MICROSOFT
        ),
    ]


def run_stated(graph: Graph, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
    """Runs a Graph by its statements."""
    return run_float(quantized_model(graph), feeds)


def output_steps(graph: Graph, found: Arrays, expected: Arrays) -> dict[str, NDArray[np.float64]]:
    """Differences of stated outputs, in steps of their scale; of others, in their own units."""
    features = {} if graph.stated is None else graph.stated.features
    return {
        name: np.abs(np.asarray(found[name], np.float64) - np.asarray(expected[name], np.float64))
        / (features[name].scale if name in features else 1.0)
        for name in expected
    }
