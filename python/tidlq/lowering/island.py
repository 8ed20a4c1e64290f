"""A float stage as an ONNX model of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage
from tidlq.spec import FeatureQuant

# ONNX Runtime's own operators also take 16 bits, which the standard ones do from opset 21 on.
_ROUNDING_DOMAIN = "com.microsoft"
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm"})


def rounding_pair(
    tensor: str, source: str, result: str, quant: FeatureQuant, sizes: Sequence[int] = ()
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that round a feature map to its integers and back, and their constants.

    The way back can repeat its scale along an axis: behind a single scale ONNX Runtime
    (`WeightBiasQuantization`) rounds the float weights of a Conv, ConvTranspose or Gemm to 8 bits.

    Args:
        tensor: name that the nodes and constants are called after.
        source: tensor that is read.
        result: tensor that is written.
        quant: of the feature map.
        sizes: its shape, for a scale that is repeated.
    """
    scale, zero, integers = f"{tensor}/scale", f"{tensor}/zero_point", f"{tensor}/integers"
    scales, zeros = f"{tensor}/scales", f"{tensor}/zero_points"
    axis = max(range(len(sizes)), key=lambda index: (index > 0, sizes[index]), default=0)
    repeated = tuple(sizes[axis : axis + 1])
    constants = [
        numpy_helper.from_array(np.full(shape, value, dtype), name)
        for shape, scale_name, zero_name in (((), scale, zero), (repeated, scales, zeros))
        for name, value, dtype in (
            (scale_name, quant.scale, np.dtype(np.float32)),
            (zero_name, quant.zero_point, quant.type.dtype),
        )
    ]
    nodes = [
        helper.make_node(op, inputs, outputs, f"{tensor}/{op}", domain=_ROUNDING_DOMAIN)
        for op, inputs, outputs in (
            ("QuantizeLinear", [source, scale, zero], [integers]),
            ("DequantizeLinear", [integers, scales, zeros], [result]),
        )
    ]
    if repeated:
        nodes[1].attribute.append(helper.make_attribute("axis", axis))
    return nodes, constants


def _weighted_features(node: ir.Node) -> list[str | None]:
    """The feature map that an operator with weights reads."""
    return [value.name for value in node.inputs[:1] if value and node.op_type in _WEIGHTED]


def keeps_layout(graph: Graph, stage: Stage) -> bool:
    """Whether ONNX Runtime executes the source of the island in the plain layout.

    It leaves convolutions between Q/DQ as they are, and moves others to a blocked layout, where
    float32 sums have another order. The source of our own exports is the float model.

    Args:
        graph: the canonical Graph.
        stage: a float stage of its partition.
    """
    if graph.stated is None or graph.stated.is_exported:
        return False
    weighted = [node for node in stage.float_nodes if node.op_type in _WEIGHTED]
    return any(
        name in graph.stated.parameters or name in graph.stated.features
        for node in weighted
        for name in node.inputs[:2]
    )


def build_island(
    graph: Graph, stage: Stage, name: str, rounded: Mapping[str, FeatureQuant] | None = None
) -> onnx.ModelProto:
    """The stage's nodes and constants, with its border tensors as inputs and outputs.

    Args:
        graph: the canonical Graph.
        stage: a float stage of its partition.
        name: the model's graph name.
        rounded: feature maps that a QuantizeLinear and a DequantizeLinear round, by name.
    """
    members = set(stage.node_names)
    nodes = [node for node in graph.nodes if node.name in members]
    weighted = {name for node in nodes for name in _weighted_features(node)}
    given = {signature.name for signature in graph.inputs}
    # What comes from another stage is rounded; behind a pair ONNX Runtime has integer kernels.
    entering = [name for name in stage.inputs if name in given or name not in weighted]
    protos: list[onnx.NodeProto] = []
    roundings: list[onnx.TensorProto] = []
    renamed: dict[str, str] = {}

    def add_rounding(tensor: str, source: str, result: str) -> None:
        quant = (rounded or {})[tensor]
        sizes = (graph.shape(tensor) or ()) if tensor in weighted else ()
        pair, constants = rounding_pair(tensor, source, result, quant, sizes)
        protos.extend(pair)
        roundings.extend(constants)

    for tensor in sorted(set(entering) & set(rounded or ())):
        renamed[tensor] = f"{tensor}/rounded"
        add_rounding(tensor, tensor, renamed[tensor])
    for node in nodes:
        proto = ir.serde.serialize_node(node)
        proto.input[:] = [renamed.get(value, value) for value in proto.input]
        protos.append(proto)
        for index, tensor in enumerate(proto.output):
            if tensor in (rounded or {}):
                proto.output[index] = f"{tensor}/exact"
                add_rounding(tensor, f"{tensor}/exact", tensor)
    read = dict.fromkeys(name for node in stage.float_nodes for name in node.inputs)
    constants = [name for name in read if graph.constant(name) is not None]
    initializers = []
    for constant in constants:
        held = graph.values[constant].const_value
        assert held is not None
        stored = ir.serde.serialize_tensor(held)
        stored.name = constant
        initializers.append(stored)
    opsets = dict(graph.model.opset_imports)
    if roundings:
        opsets.setdefault(_ROUNDING_DOMAIN, 1)
    return helper.make_model(
        helper.make_graph(
            protos,
            name,
            [ir.serde.serialize_value(graph.values[value]) for value in stage.inputs],
            [ir.serde.serialize_value(graph.values[value]) for value in stage.outputs],
            [*initializers, *roundings],
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=graph.model.ir_version,
        producer_name="tidlq",
    )
