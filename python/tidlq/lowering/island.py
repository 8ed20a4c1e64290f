"""A float stage as an ONNX model of its own."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx import helper

from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage


def build_island(graph: Graph, stage: Stage, name: str) -> onnx.ModelProto:
    """The stage's nodes and constants, with its border tensors as inputs and outputs.

    Args:
        graph: the canonical Graph.
        stage: a float stage of its partition.
        name: the model's graph name.
    """
    members = set(stage.node_names)
    nodes = [node for node in graph.nodes if node.name in members]
    protos = [ir.serde.serialize_node(node) for node in nodes]
    read = dict.fromkeys(name for node in stage.float_nodes for name in node.inputs)
    constants = [name for name in read if graph.constant(name) is not None]
    initializers = []
    for constant in constants:
        tensor = graph.values[constant].const_value
        assert tensor is not None
        proto = ir.serde.serialize_tensor(tensor)
        proto.name = constant
        initializers.append(proto)
    return helper.make_model(
        helper.make_graph(
            protos,
            name,
            [ir.serde.serialize_value(graph.values[value]) for value in stage.inputs],
            [ir.serde.serialize_value(graph.values[value]) for value in stage.outputs],
            initializers,
        ),
        opset_imports=[
            helper.make_opsetid(domain, version)
            for domain, version in graph.model.opset_imports.items()
        ],
        ir_version=graph.model.ir_version,
        producer_name="tidlq",
    )
