"""The work of a network's layers, as cost models take it."""

from __future__ import annotations

import math

from tidlq.graph.layers import ConvolutionAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import operand_index
from tidlq.graph.partition import Partition
from tidlq.graph.work import element_count
from tidlq.spec import Precision
from tidlq.target import LayerBits, LayerWork, MatrixWork

_VIEWS = frozenset({LayerKind.RESHAPE})


def layer_work(graph: Graph, partition: Partition) -> tuple[LayerWork, ...]:
    """The work of every fixed-point layer, in execution order.

    Args:
        graph: the canonical Graph.
        partition: its stages.
    """
    return tuple(_work(graph, layer) for layer in partition.layers)


def layer_bits(work: LayerWork, precision: Precision) -> LayerBits:
    """Bits of a layer's tensors.

    Args:
        work: of the layer.
        precision: of the network.
    """
    return LayerBits(
        tuple(precision.feature_bits(name) for name, _ in work.inputs),
        precision.parameter_bits(work.name) if work.parameters else 8,
        precision.feature_bits(work.output),
    )


def _work(graph: Graph, layer: Layer) -> LayerWork:
    features = [name for name in layer.inputs if graph.constant(name) is None]
    matrix, parameters = None, 0
    if layer.weight is not None:
        parameters = element_count(graph, layer.weight)
        if layer.kind in (
            LayerKind.CONVOLUTION,
            LayerKind.TRANSPOSED_CONVOLUTION,
            LayerKind.DEFORMABLE_CONVOLUTION,
            LayerKind.INNER_PRODUCT,
        ):
            matrix = _matrix(graph, layer, parameters)
    elif (index := operand_index(graph, layer)) is not None:
        parameters = element_count(graph, layer.inputs[index])
    if layer.kind is LayerKind.MATRIX_PRODUCT:
        matrix = _product(graph, layer)
    return LayerWork(
        layer.name,
        tuple((name, element_count(graph, name)) for name in features),
        # Positions have no bits to choose; they count as features that stay as they are.
        features[0] if layer.writes_positions else layer.output,
        element_count(graph, layer.output),
        parameters,
        matrix,
        layer.kind in _VIEWS,
    )


def _product(graph: Graph, layer: Layer) -> MatrixWork:
    """Of two feature maps: the leading axes are groups."""
    first, second = (graph.shape(name) or (1, 1) for name in layer.inputs)
    rows = first[-2] if len(first) > 1 else 1
    columns = second[-1] if len(second) > 1 else 1
    groups = element_count(graph, layer.output) // (rows * columns)
    return MatrixWork(rows, (graph.shape(layer.inputs[0]) or (1,))[-1], columns, groups)


def _matrix(graph: Graph, layer: Layer, parameters: int) -> MatrixWork:
    outputs = element_count(graph, layer.output)
    assert layer.weight is not None
    shape = graph.shape(layer.weight) or ()
    attributes = layer.attributes
    if not isinstance(attributes, ConvolutionAttributes):
        columns = (graph.shape(layer.output) or (1,))[-1]
        return MatrixWork(outputs // columns, parameters // columns, columns)
    groups, window = attributes.groups, math.prod(attributes.window.kernel)
    if layer.kind is LayerKind.TRANSPOSED_CONVOLUTION:
        # Each input position gives a window of outputs.
        channels = shape[0]
        positions = element_count(graph, layer.inputs[0]) // channels
        return MatrixWork(positions, channels // groups, shape[1] * window, groups)
    channels = shape[0]
    width = (graph.shape(layer.output) or (1,))[attributes.window.axes[-1]]
    rows = shape[1] * window // attributes.window.kernel[-1]
    return MatrixWork(
        outputs // channels, shape[1] * window, channels // groups, groups, width, rows
    )
