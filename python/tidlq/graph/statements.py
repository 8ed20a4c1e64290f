"""Which feature maps and layers of a pre-quantized Graph have a quantization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tidlq.graph.layers import (
    BatchNormAttributes,
    ConvolutionAttributes,
    InnerProductAttributes,
    Layer,
    LayerKind,
    ProductAttributes,
)
from tidlq.graph.model import Graph
from tidlq.graph.parameters import operand_index, operand_values
from tidlq.spec import FeatureQuant, Requantization

_COMMUTING = frozenset(
    {
        LayerKind.RESHAPE,
        LayerKind.TRANSPOSE,
        LayerKind.SLICE,
        LayerKind.GATHER,
        LayerKind.REARRANGEMENT,
        LayerKind.CONCAT,
        LayerKind.MAX_POOL,
    }
)
"""Kinds that give the same integers whether values are quantized before or after them."""


def unrounded_features(graph: Graph) -> frozenset[str]:
    """Feature maps whose float readers see them as they are before quantization."""
    return frozenset() if graph.stated is None else graph.stated.unrounded


def rounded_features(graph: Graph) -> Mapping[str, FeatureQuant]:
    """Feature maps that everything reads in their quantized form."""
    if graph.stated is None:
        return {}
    unrounded = graph.stated.unrounded
    return {name: q for name, q in graph.stated.features.items() if name not in unrounded}


def resolve_features(graph: Graph, layers: Iterable[Layer]) -> Mapping[str, FeatureQuant]:
    """The quantization of every feature map that has one: stated, or handed on by layers.

    A layer that keeps its input's quantization hands it on. A feature map without a statement that
    only a moving layer reads, a concat or a max pool may as well be quantized like that layer's
    output: the integers are the same.

    Args:
        graph: with statements.
        layers: of the graph, in execution order.
    """
    assert graph.stated is not None
    layers = tuple(layers)
    known = dict(graph.stated.features)
    for layer in reversed(layers):
        quant = known.get(layer.output)
        if quant is None or layer.kind not in _COMMUTING:
            continue
        for name in layer.inputs:
            if name not in known and _is_read_once(graph, name):
                known[name] = quant
    for layer in layers:
        if layer.keeps_quantization and layer.inputs[0] in known:
            known.setdefault(layer.output, known[layer.inputs[0]])
    return known


def _is_read_once(graph: Graph, name: str) -> bool:
    value = graph.values[name]
    return len(tuple(value.uses())) == 1 and not value.is_graph_output()


def find_incomplete(
    graph: Graph, layers: Iterable[Layer], *, needs_ranges: bool = False
) -> Mapping[str, str]:
    """Layers whose quantization the model does not state in full, by name, each with the reason.

    Args:
        graph: with statements.
        layers: of the graph, in execution order.
        needs_ranges: every output is to be quantized; otherwise a convolution or an inner product
            may write float32.
    """
    layers = tuple(layers)
    known = resolve_features(graph, layers)
    found: dict[str, str] = {}
    for layer in layers:
        reason = _missing_of(graph, layer, known, needs_ranges=needs_ranges)
        if reason is not None:
            found[layer.name] = reason
    return found


def is_free_operand(graph: Graph, layer: Layer) -> bool:
    """Whether the constant operand is one real number that the model's software takes as it is.

    It does so with a number that is not quantized, and with any divisor: 1 at the scale of that
    number stands for it exactly.

    Args:
        graph: with statements.
        layer: other than a sum or product, it has no such operand.
    """
    assert graph.stated is not None
    if layer.kind not in (LayerKind.SUM, LayerKind.PRODUCT):
        return False
    index, values = operand_index(graph, layer), operand_values(graph, layer)
    if index is None or values is None or graph.stated.requantization is not Requantization.FLOAT:
        return False
    is_divisor = isinstance(layer.attributes, ProductAttributes) and layer.attributes.reciprocal
    is_unstated = layer.inputs[index] not in graph.stated.parameters
    return (
        (is_divisor or is_unstated) and values.size > 0 and bool((values == values.flat[0]).all())
    )


def has_computed_gain(graph: Graph, layer: Layer) -> bool:
    """Whether the layer is a batch-norm whose gain is no constant of the model.

    What a model states about the constants that the gain is computed of says nothing about it, and
    its software computes with real numbers.

    Args:
        graph: with statements.
        layer: of the graph.
    """
    assert graph.stated is not None
    attributes = layer.attributes
    if not isinstance(attributes, BatchNormAttributes):
        return False
    if graph.stated.requantization is Requantization.TWICE_ROUNDED:
        return False
    variance = graph.constant(attributes.variance)
    assert variance is not None
    return attributes.epsilon != 0 or bool((variance != 1).any())


def float_outputs(graph: Graph, layers: Iterable[Layer]) -> frozenset[str]:
    """Outputs without a quantization: positions, and what layers write in float32.

    The model quantizes all of such a layer but its output.

    Only where no other of the layers reads them: these read integers.

    Args:
        graph: with statements.
        layers: of the graph that run in fixed point, in execution order.
    """
    layers = tuple(layers)
    known = resolve_features(graph, layers)
    read = {name for layer in layers for name in layer.inputs}
    return frozenset(
        layer.output
        for layer in layers
        if layer.output not in known
        and layer.output not in read
        and _missing_of(graph, layer, known, needs_ranges=False) is None
    )


def _may_write_float(graph: Graph, layer: Layer) -> bool:
    """Whether the arithmetic of the model's software has the layer with a float32 output."""
    assert graph.stated is not None
    is_exact = layer.kind in (LayerKind.CONVOLUTION, LayerKind.INNER_PRODUCT)
    is_float = graph.stated.requantization is Requantization.FLOAT
    return is_exact and is_float and layer.clamp is None


def _missing_of(
    graph: Graph, layer: Layer, known: Mapping[str, FeatureQuant], *, needs_ranges: bool
) -> str | None:
    assert graph.stated is not None
    is_free = layer.writes_positions or (not needs_ranges and _may_write_float(graph, layer))
    for name in (*layer.inputs, *(() if is_free else (layer.output,))):
        if name not in known and graph.constant(name) is None:
            return f"the model states no scale for feature map {name!r}"
    constants = [] if layer.weight is None or has_computed_gain(graph, layer) else [layer.weight]
    index = operand_index(graph, layer)
    if index is not None:
        if is_free_operand(graph, layer):
            pass
        elif isinstance(layer.attributes, ProductAttributes) and layer.attributes.reciprocal:
            return "it divides by a constant of several values"
        else:
            constants.append(layer.inputs[index])
    for name in constants:
        stated = graph.stated.parameters.get(name)
        if stated is None:
            return f"the model states no scale for parameter {name!r}"
        if len(stated.scales) > 1 and stated.axis != _output_axis(graph, layer):
            return f"the scales of parameter {name!r} do not run along its output channels"
    attributes = layer.attributes
    if isinstance(attributes, InnerProductAttributes) and attributes.alpha != 1.0:
        return "its weight is multiplied by alpha"
    return None


def _output_axis(graph: Graph, layer: Layer) -> int | None:
    """The axis of a weight, as the Graph stores it, that output channels run along."""
    if not layer.kind.has_output_channels:
        return None
    attributes = layer.attributes
    if isinstance(attributes, ConvolutionAttributes) and _is_transposed(layer):
        # Of several groups, each has its own output channels along the axis.
        groups, shape = attributes.groups, graph.shape(layer.weight or "") or ()
        return 1 if groups == 1 else 0 if shape[:2] == (groups, 1) else None
    is_column = isinstance(attributes, InnerProductAttributes) and not attributes.transposed
    return 1 if is_column else 0


def _is_transposed(layer: Layer) -> bool:
    return layer.kind is LayerKind.TRANSPOSED_CONVOLUTION


def incomplete_nodes(
    graph: Graph, layers: Sequence[Layer], *, needs_ranges: bool = False
) -> Mapping[str, str]:
    """Nodes of incomplete layers, by name, each with the reason."""
    reasons = find_incomplete(graph, layers, needs_ranges=needs_ranges)
    return {
        node: reasons[layer.name]
        for layer in layers
        if layer.name in reasons
        for node in layer.nodes
    }
