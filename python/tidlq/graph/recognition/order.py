"""Layers that put elements in order: TopK, ArgMax and ArgMin."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from tidlq.graph.layers import AxisAttributes, Layer, LayerKind, OrderAttributes
from tidlq.graph.recognition.gathers import refuse_restated
from tidlq.graph.recognition.reading import NodeReader, RefusedError

_MOST = 2**28
_POSITION_TYPES = (ir.DataType.INT32, ir.DataType.INT64)


def recognise_arg_extreme(node: NodeReader) -> Layer:
    """ArgMax and ArgMin along any axis; the positions leave as integers."""
    attributes = OrderAttributes(
        _axis(node, 0),
        least=node.op_type == "ArgMin",
        higher_first=bool(node.integer("select_last_index", 0)),
    )
    return _positions(node, node.outputs[0], attributes)


def recognise_top_k(node: NodeReader) -> tuple[Layer, ...]:
    """TopK with a constant K, in order; its positions leave as integers."""
    shape = node.float_shape(node.feature(0))
    listed = node.listed(1, "k", "K") if node.has_input(1) else (node.integer("k", 1),)
    count = listed[0] if listed else 0
    axis = _axis(node, -1)
    if not 1 <= count <= shape[axis]:
        raise RefusedError(f"it takes {count} of {shape[axis]} elements")
    attributes = OrderAttributes(axis, least=not node.integer("largest", 1), count=count)
    found: list[Layer] = []
    if node.outputs[0] and node.is_used(node.outputs[0]):
        refuse_restated(node)
        node.float_shape(node.outputs[0])
        found.append(
            Layer(
                name=node.name,
                kind=LayerKind.TOP_K,
                op_type=node.op_type,
                nodes=(node.name,),
                inputs=(node.inputs[0],),
                output=node.outputs[0],
                attributes=attributes,
            )
        )
    if len(node.outputs) > 1 and node.outputs[1] and node.is_used(node.outputs[1]):
        layer = _positions(node, node.outputs[1], attributes)
        found.append(replace(layer, name=f"{node.name}:1") if found else layer)
    if not found:
        raise RefusedError("nothing reads it")
    return tuple(found)


def absorb_cast(layer: Layer, node: NodeReader) -> Layer | None:
    """Positions in another integer type, where the engine writes it."""
    if not layer.writes_positions or node.op_type != "Cast":
        return None
    value = node.graph.values[node.outputs[0]]
    if value.dtype not in _POSITION_TYPES or node.graph.shape(node.outputs[0]) is None:
        return None
    return layer.fused(node.name, node.outputs[0])


def absorb_arg_extreme(layer: Layer, node: NodeReader) -> Layer | None:
    """The order of a Softmax's features along its axis, read before it.

    It keeps their order, and its integers would be coarser than theirs.
    """
    if layer.kind is not LayerKind.SOFTMAX or node.op_type not in ("ArgMax", "ArgMin"):
        return None
    try:
        found = recognise_arg_extreme(node)
    except RefusedError:
        return None
    assert isinstance(layer.attributes, AxisAttributes)
    assert isinstance(found.attributes, OrderAttributes)
    if layer.attributes.axis != found.attributes.axis:
        return None
    return replace(found, name=layer.name, nodes=(*layer.nodes, *found.nodes), inputs=layer.inputs)


def _axis(node: NodeReader, default: int) -> int:
    shape = node.float_shape(node.feature(0))
    axis = node.axis(node.integer("axis", default), len(shape))
    if shape[axis] > _MOST:
        raise RefusedError(f"it orders {shape[axis]} elements, the engine takes up to {_MOST}")
    return axis


def _positions(node: NodeReader, output: str, attributes: OrderAttributes) -> Layer:
    if node.graph.shape(output) is None:
        raise RefusedError(f"the shape of tensor {output!r} is not known")
    return Layer(
        name=node.name,
        kind=LayerKind.POSITIONS,
        op_type=node.op_type,
        nodes=(node.name,),
        inputs=(node.inputs[0],),
        output=output,
        attributes=attributes,
    )
