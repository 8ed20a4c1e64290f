"""Nodes of a Graph as the operations whose limits `target/` knows."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from tidlq.graph.model import Graph
from tidlq.target.acceleration import Operand, Operation

_MOST_VALUES = 64
_DOMAINS = ("", "ai.onnx")


def read_operation(graph: Graph, node: ir.Node, *, is_tflite: bool = False) -> Operation:
    """What a device's limits are about in a node.

    Args:
        graph: the canonical Graph.
        node: of it.
        is_tflite: the Graph came from a TFLite file.
    """
    attributes = {name: _plain(value) for name, value in node.attributes.items()}
    op_type = node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"
    outputs = [value for value in node.outputs if value.name]
    ends = any(value is not None and value.is_graph_input() for value in node.inputs)
    return Operation(
        op_type=op_type,
        inputs=tuple(_operand(graph, value) for value in node.inputs),
        output=graph.shape(outputs[0].name or "") if outputs else None,
        attributes=attributes,
        opset=int(graph.model.opset_imports.get("", 1)),
        is_tflite=is_tflite,
        is_terminal=ends or any(value.is_graph_output() for value in outputs),
        in_gelu=node.op_type == "Erf" and _is_in_gelu(graph, node),
    )


def _operand(graph: Graph, value: ir.Value | None) -> Operand | None:
    if value is None or not value.name:
        return None
    shape = graph.shape(value.name)
    if value.const_value is None:
        return Operand(shape)
    values = None
    if value.const_value.size <= _MOST_VALUES and value.dtype != ir.DataType.STRING:
        array = graph.constant(value.name)
        assert array is not None
        values = tuple(float(item) for item in array.reshape(-1).tolist())
    return Operand(tuple(value.const_value.shape.numpy()), is_constant=True, values=values)


def _plain(attribute: ir.Attr) -> Any:
    """Numbers, texts and tuples of them; None for graphs and tensors."""
    match attribute.type:
        case ir.AttributeType.INT | ir.AttributeType.FLOAT | ir.AttributeType.STRING:
            return attribute.value
        case ir.AttributeType.INTS | ir.AttributeType.FLOATS | ir.AttributeType.STRINGS:
            return tuple(attribute.value)
    return None


def _is_in_gelu(graph: Graph, node: ir.Node) -> bool:
    """X * 0.5 * (1 + erf(x / sqrt(2))), of which the sum is proof enough."""
    readers = [use.node for use in node.outputs[0].uses()]
    if len(readers) != 1 or readers[0].op_type != "Add":
        return False
    addends = [graph.constant(value.name or "") for value in readers[0].inputs if value is not None]
    return any(item is not None and item.size == 1 and float(item.item()) == 1 for item in addends)
