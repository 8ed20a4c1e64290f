"""Layer and RMS normalization that exporters spell out.

What: the nodes that take off a mean, divide by the root of a mean square, and multiply and add
    constants become one layer.
When: an exporter writes `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon) * gain + shift`, or
    the same without the mean (RMS), with a division or a reciprocal.
Before -> After: `Add(Mul(Div(Sub(x, m), Sqrt(...)), gain), shift)` -> one NORMALIZATION layer,
    under the last node's name.
Numerics: exact integer sums of the rounded input, and one rounding, of the result.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from tidlq.graph.layers import Layer, LayerKind, NormalizationAttributes
from tidlq.graph.model import Graph
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.spec import Fusion


@dataclass(frozen=True)
class _Found:
    """A normalization with the nodes that it is made of.

    Attributes:
        source: the tensor that is normalized.
        attributes: what is known of it.
        nodes: all of them, in no order.
        size: elements of a row.
    """

    source: str
    attributes: NormalizationAttributes
    nodes: tuple[ir.Node, ...]
    size: int


def fuse_layer_norm(node: NodeReader, left_out: Collection[Fusion]) -> Layer | None:
    """The normalization that ends at a node, if there is one.

    Args:
        node: the last of its nodes: a division, a gain or a shift.
        left_out: fusions that are switched off.

    Raises:
        RefusedError: A constant or an attribute that it needs cannot be read.
    """
    found = _ending_at(node.graph, node.node)
    if found is None:
        return None
    fusion = Fusion.LAYER_NORM if found.attributes.centred else Fusion.RMS_NORM
    if fusion in left_out or not _is_closed(node.node, found.nodes):
        return None
    node.float_shape(found.source)
    return Layer(
        name=node.name,
        kind=LayerKind.NORMALIZATION,
        op_type="LayerNormalization" if found.attributes.centred else "RMSNormalization",
        nodes=tuple(n.name or "" for n in node.graph.nodes if n in found.nodes),
        inputs=(found.source,),
        output=node.output(),
        attributes=found.attributes,
    )


def _ending_at(graph: Graph, node: ir.Node) -> _Found | None:
    """With a gain or a shift at its end, or none."""
    found = _core(graph, node)
    if found is not None:
        return found
    for value, other in _operands(node):
        writer, name = value.producer(), other.name or ""
        constant = graph.constant(name)
        if writer is None or constant is None:
            continue
        inner = _ending_at(graph, writer) if node.op_type == "Add" else _core(graph, writer)
        if inner is None or not _fits(graph, inner, constant.shape, value):
            continue
        nodes = (*inner.nodes, node)
        if node.op_type == "Mul" and inner.attributes.gain is None:
            return replace(inner, attributes=replace(inner.attributes, gain=name), nodes=nodes)
        if node.op_type == "Add" and inner.attributes.shift is None:
            return replace(inner, attributes=replace(inner.attributes, shift=name), nodes=nodes)
    return None


def _operands(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Both operands of a product or sum, in both orders."""
    first, second = (*node.inputs, None, None)[:2]
    if node.op_type in ("Mul", "Add") and first is not None and second is not None:
        yield first, second
        yield second, first


def _fits(graph: Graph, found: _Found, shape: tuple[int, ...], value: ir.Value) -> bool:
    """A constant has one number, or one per place of the axes that are normalized."""
    count = math.prod(shape)
    if count == 1:
        return True
    rank = len(graph.shape(value.name or "") or ())
    axes = found.attributes.axes
    is_last = axes == tuple(range(rank - len(axes), rank))
    return is_last and count == found.size and math.prod(shape[-len(axes) :]) == count


def _core(graph: Graph, node: ir.Node) -> _Found | None:
    """`c / sqrt(mean(c^2) + epsilon)`, with c the source or the source without its mean."""
    for above, root, nodes in _quotients(node):
        added = root.inputs[0].producer() if root.inputs[0] is not None else None
        if root.op_type != "Sqrt" or added is None or added.op_type != "Add":
            continue
        for square_mean, epsilon in _operands(added):
            constant = graph.constant(epsilon.name or "")
            mean = square_mean.producer()
            if constant is None or constant.size != 1 or mean is None:
                continue
            squares = mean.inputs[0].producer() if mean.inputs[0] is not None else None
            axes = _mean_axes(graph, mean)
            if axes is None or squares is None or not _is_square(graph, squares, above):
                continue
            shape = graph.shape(above.name or "") or ()
            size = math.prod(shape[axis] for axis in axes)
            attributes = NormalizationAttributes(
                axes, float(constant.reshape(-1)[0]), centred=False
            )
            found = _Found(above.name or "", attributes, (*nodes, root, added, mean, squares), size)
            return _centred(graph, found, above)
    return None


def _quotients(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Node, tuple[ir.Node, ...]]]:
    """What is divided, the node that writes the divisor, and the nodes of the division."""
    first, second = (*node.inputs, None, None)[:2]
    if node.op_type == "Div" and first is not None and second is not None:
        root = second.producer()
        if root is not None:
            yield first, root, (node,)
    for above, other in _operands(node):
        inverse = other.producer()
        if node.op_type != "Mul" or inverse is None or inverse.op_type != "Reciprocal":
            continue
        root = inverse.inputs[0].producer() if inverse.inputs[0] is not None else None
        if root is not None:
            yield above, root, (node, inverse)


def _is_square(graph: Graph, node: ir.Node, value: ir.Value) -> bool:
    if node.op_type == "Mul":
        return all(operand is value for operand in node.inputs)
    if node.op_type != "Pow" or node.inputs[0] is not value or node.inputs[1] is None:
        return False
    exponent = graph.constant(node.inputs[1].name or "")
    return exponent is not None and exponent.size == 1 and bool(np.all(exponent == 2))


def _mean_axes(graph: Graph, node: ir.Node) -> tuple[int, ...] | None:
    """The axes of a ReduceMean that keeps them as axes of size 1."""
    if node.op_type != "ReduceMean":
        return None
    reader = NodeReader(graph, node)
    listed = reader.listed(1, "axes", "axes")
    rank = len(graph.shape(reader.inputs[0]) or ())
    if not listed or not reader.integer("keepdims", 1) or not rank:
        return None
    return tuple(sorted({reader.axis(axis, rank) for axis in listed}))


def _centred(graph: Graph, found: _Found, value: ir.Value) -> _Found:
    """With the mean that is taken off the source, where one is."""
    difference = value.producer()
    if difference is None or difference.op_type != "Sub":
        return found
    source, other = difference.inputs
    mean = other.producer() if other is not None else None
    if source is None or mean is None or mean.inputs[0] is not source:
        return found
    try:
        is_same = _mean_axes(graph, mean) == found.attributes.axes
    except RefusedError:
        return found
    if not is_same:
        return found
    return replace(
        found,
        source=source.name or "",
        attributes=replace(found.attributes, centred=True),
        nodes=(*found.nodes, difference, mean),
    )


def _is_closed(last: ir.Node, nodes: Collection[ir.Node]) -> bool:
    """Nothing but these nodes reads what they write, the last one's output aside."""
    inner = [value for node in nodes if node is not last for value in node.outputs]
    return all(
        not value.is_graph_output() and all(use.node in nodes for use in value.uses())
        for value in inner
    )
