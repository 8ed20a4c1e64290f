"""Convolutions that never had a batch-norm, seen before anything is folded."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx

from tidlq.graph.layers import ConvolutionAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.linting.findings import Finding, Rule, Severity

FOLDED = (
    "The file has no batch-norms: they were folded before it was written, or there were none. "
    "Whether each convolution had one cannot be told where it has a bias."
)


def find_bare_convolutions(
    graph: Graph, layers: tuple[Layer, ...], source: onnx.GraphProto | None, ends: frozenset[str]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Convolutions without a batch-norm; the last ones, and those of gates, may go without.

    A folded batch-norm leaves a bias. So in a file that still has batch-norms every convolution
    that none follows is without; in a file that has none, those without a bias are.

    Args:
        graph: the canonical Graph.
        layers: its layers.
        source: the model's graph as it is in the file; None where it is not ONNX.
        ends: names of the last convolutions.

    Returns:
        The findings, and what could not be told.
    """
    checked = [
        layer
        for layer in layers
        if layer.kind is LayerKind.CONVOLUTION
        and layer.name not in ends
        and math.prod((graph.shape(layer.output) or (1,))[2:]) > 1
    ]
    normed = frozenset() if source is None else _normed(source)
    if normed:
        written = {node.name: node.outputs[0].name for node in graph.nodes}
        convolved = frozenset() if source is None else _convolved(source)
        bare = [x for x in checked if written[x.nodes[0]] in convolved - normed]
        unchecked: tuple[str, ...] = ()
    else:
        bare = [layer for layer in checked if layer.bias is None]
        unchecked = (FOLDED,) if len(bare) < len(checked) else ()
    return tuple(_findings(graph, bare)), unchecked


def _normed(source: onnx.GraphProto) -> frozenset[str]:
    """Tensors that batch-norms read."""
    return frozenset(n.input[0] for n in source.node if n.op_type == "BatchNormalization")


def _convolved(source: onnx.GraphProto) -> frozenset[str]:
    return frozenset(node.output[0] for node in source.node if node.op_type == "Conv")


def _findings(graph: Graph, bare: list[Layer]) -> Iterator[Finding]:
    depthwise = [layer.name for layer in bare if _is_depthwise(graph, layer)]
    others = [layer.name for layer in bare if layer.name not in depthwise]
    for names, what in ((depthwise, "depthwise convolution"), (others, "convolution")):
        if names:
            yield Finding(
                Rule.NO_BATCH_NORM,
                Severity.WARNING if names is depthwise else Severity.HINT,
                tuple(names),
                f"{what} without a batch-norm: its weights and outputs may spread widely; TI's "
                "guidelines want one after every convolution but the last.",
            )


def _is_depthwise(graph: Graph, layer: Layer) -> bool:
    channels = (graph.shape(layer.inputs[0]) or (0, 0))[1]
    attributes = layer.attributes
    groups = attributes.groups if isinstance(attributes, ConvolutionAttributes) else 1
    return groups == channels > 1
