"""How much a layer computes: what decides which fixed-point stages are worth their borders."""

from __future__ import annotations

import math

from tidlq.graph.layers import Layer, LayerKind, OrderAttributes, PoolAttributes
from tidlq.graph.model import Graph


def element_count(graph: Graph, tensor: str) -> int:
    """Elements of a tensor for one frame; 1 where the shape is not known."""
    return math.prod(graph.shape(tensor) or ())


def operation_count(graph: Graph, layer: Layer) -> int:
    """Multiply-accumulates of a product or a window, else the elements that a layer writes.

    What puts elements in order counts those that it reads.

    Args:
        graph: the canonical Graph.
        layer: of it.
    """
    written = element_count(graph, layer.output)
    if layer.kind is LayerKind.MATRIX_PRODUCT:
        return written * (graph.shape(layer.inputs[0]) or (1,))[-1]
    weight = None if layer.weight is None else graph.constant(layer.weight)
    if weight is not None and weight.ndim > 1:
        match layer.kind:
            case LayerKind.CONVOLUTION | LayerKind.DEFORMABLE_CONVOLUTION:
                return written * math.prod(weight.shape[1:])
            case LayerKind.TRANSPOSED_CONVOLUTION:
                return element_count(graph, layer.inputs[0]) * math.prod(weight.shape[1:])
            case LayerKind.INNER_PRODUCT:
                columns = (graph.shape(layer.output) or (1,))[-1]
                return written * weight.size // columns
    if isinstance(layer.attributes, OrderAttributes):
        return element_count(graph, layer.inputs[0])
    if isinstance(layer.attributes, PoolAttributes):
        return written * math.prod(layer.attributes.window.kernel)
    return written
