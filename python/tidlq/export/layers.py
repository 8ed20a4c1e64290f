"""What changes in the nodes of a fixed-point layer: integers take the place of its constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.export.parameters import (
    StoredBias,
    StoredConstant,
    stored_bias,
    stored_operand,
    stored_weight,
)
from tidlq.graph.layers import (
    BatchNormAttributes,
    ConvolutionAttributes,
    Layer,
    LayerKind,
    ProductAttributes,
)
from tidlq.graph.model import Graph
from tidlq.graph.parameters import exchanged_channels, layer_parameters
from tidlq.graph.partition import Partition
from tidlq.spec import FeatureQuant, LayerQuant, QuantPlan

Replacement = StoredConstant | StoredBias | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NodeEdit:
    """Changes to one node.

    Attributes:
        constants: by input index; an index beyond the node's inputs adds one, None leaves the
            last one out.
        op_type: another operator, where integers need one.
        dropped: attributes that are part of the integers now.
        reals: attributes that are set.
        added: a bias that a node of its own adds to the output.
    """

    constants: Mapping[int, Replacement | None] = field(default_factory=dict)
    op_type: str | None = None
    dropped: frozenset[str] = frozenset()
    reals: Mapping[str, float] = field(default_factory=dict)
    added: StoredBias | None = None


def edit_layers(graph: Graph, partition: Partition, plan: QuantPlan) -> Mapping[str, NodeEdit]:
    """The changes of every node with parameters, by node name.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions for its fixed stages.
    """
    nodes = {node.name or "": node for node in graph.nodes}
    edits: dict[str, NodeEdit] = {}
    for layer in partition.layers:
        edit = _EDITS.get(layer.kind)
        if edit is not None:
            edits |= edit(graph, layer, plan)
        if layer.kind is LayerKind.INNER_PRODUCT:
            edits |= _edit_inner_product(graph, layer, plan, nodes)
        if layer.clamp is not None:
            edits |= _edit_clips(graph, layer, plan.features[layer.output], nodes)
    return edits


def _edit_clips(
    graph: Graph, layer: Layer, quant: FeatureQuant, nodes: Mapping[str, ir.Node]
) -> dict[str, NodeEdit]:
    """A bound at which the integers end moves out to the last one's real value.

    The integers stay; ONNX Runtime takes the Clip for redundant only if the bound is not within,
    as 6 is within 255 * float32(6 / 255), and then runs the layer in integers.
    """
    edits: dict[str, NodeEdit] = {}
    for name in layer.nodes:
        node = nodes[name]
        if node.op_type != "Clip":
            continue
        constants: dict[int, Replacement | None] = {}
        for index, end in ((1, quant.type.lowest), (2, quant.type.highest)):
            value = node.inputs[index] if index < len(node.inputs) else None
            bound = None if value is None else graph.constant(value.name or "")
            if bound is None or quant.quantize(float(bound.reshape(-1)[0])) != end:
                continue
            outermost = np.float32(quant.scale) * np.float32(end - quant.zero_point)
            is_within = bound > outermost if index == 1 else bound < outermost
            if is_within.all():
                constants[index] = np.full(bound.shape, outermost, np.float32)
        if constants:
            edits[name] = NodeEdit(constants)
    return edits


def _parameters(
    graph: Graph, layer: Layer, plan: QuantPlan
) -> tuple[LayerQuant, StoredConstant, StoredBias | None]:
    quant = plan.layers[layer.name]
    weight = stored_weight(graph, layer, quant)
    assert weight is not None, layer.name
    return quant, weight, stored_bias(layer, quant, plan.features[layer.inputs[0]].scale)


def _edit_convolution(graph: Graph, layer: Layer, plan: QuantPlan) -> dict[str, NodeEdit]:
    _, weight, bias = _parameters(graph, layer, plan)
    if bias is not None and _is_added_behind(layer, plan):
        rank = len(graph.shape(layer.output) or ())
        return {layer.nodes[0]: _with_bias_behind(weight, bias, rank - 2)}
    constants: dict[int, Replacement | None] = {1: weight}
    if bias is not None:
        constants[2] = bias
    return {layer.nodes[0]: NodeEdit(constants)}


def _is_added_behind(layer: Layer, plan: QuantPlan) -> bool:
    """Whether a real bias comes before a QuantizeLinear: inside the layer it would be rounded."""
    return plan.layers[layer.name].is_bias_real and layer.output in plan.features


def _with_bias_behind(weight: StoredConstant, bias: StoredBias, spatial: int) -> NodeEdit:
    values = bias.values.reshape(-1, *[1] * spatial)
    return NodeEdit({1: weight, 2: None}, added=replace(bias, values=values))


def _edit_transposed_convolution(
    graph: Graph, layer: Layer, plan: QuantPlan
) -> dict[str, NodeEdit]:
    """As a convolution; but for a depthwise one, scales of several groups have no axis.

    The weights are real then.
    """
    edits = _edit_convolution(graph, layer, plan)
    quant, attributes = plan.layers[layer.name].weight, layer.attributes
    assert isinstance(attributes, ConvolutionAttributes)
    assert quant is not None
    if attributes.groups == 1 or len(quant.scales) == 1:
        return edits
    rows = quant.quantize(layer_parameters(graph, layer).weight)
    scales = np.asarray(quant.scales, np.float64).reshape(-1, *[1] * (rows.ndim - 1))
    real = exchanged_channels((rows * scales).astype(np.float32), attributes.groups)
    if real.shape[:2] == (attributes.groups, 1):
        return edits
    edit = edits[layer.nodes[0]]
    return {layer.nodes[0]: replace(edit, constants={**edit.constants, 1: real})}


def _edit_inner_product(
    graph: Graph, layer: Layer, plan: QuantPlan, nodes: Mapping[str, ir.Node]
) -> dict[str, NodeEdit]:
    _, weight, bias = _parameters(graph, layer, plan)
    edit = NodeEdit({1: weight}, dropped=frozenset({"alpha", "beta"}))
    if bias is None:
        return {layer.nodes[0]: edit}
    if _is_added_behind(layer, plan):
        behind = _with_bias_behind(weight, bias, 0)
        return {layer.nodes[0]: replace(behind, dropped=edit.dropped)}
    leading = nodes[layer.nodes[0]]
    is_inside = len(leading.inputs) > 2 and leading.inputs[2] is not None
    if layer.bias is not None and not is_inside:
        added = nodes[layer.nodes[1]]
        index = [value.name if value else "" for value in added.inputs].index(layer.bias)
        return {layer.nodes[0]: edit, layer.nodes[1]: NodeEdit({index: bias})}
    if layer.op_type == "MatMul" and len(graph.shape(layer.inputs[0]) or ()) != 2:
        return {layer.nodes[0]: replace(edit, added=bias)}
    return {layer.nodes[0]: replace(edit, op_type="Gemm", constants={1: weight, 2: bias})}


def _edit_batch_norm(graph: Graph, layer: Layer, plan: QuantPlan) -> dict[str, NodeEdit]:
    """Mean 0, variance 1 and epsilon 0 leave the gain and the shift."""
    assert isinstance(layer.attributes, BatchNormAttributes)
    _, weight, bias = _parameters(graph, layer, plan)
    channels = weight.integers.shape
    shift: Replacement = np.zeros(channels, np.float32) if bias is None else bias
    constants: dict[int, Replacement | None] = {
        1: weight,
        2: shift,
        3: np.zeros(channels, np.float32),
        4: np.ones(channels, np.float32),
    }
    return {layer.nodes[0]: NodeEdit(constants, reals={"epsilon": 0.0})}


def _edit_weight(graph: Graph, layer: Layer, plan: QuantPlan) -> dict[str, NodeEdit]:
    """A slope."""
    weight = stored_weight(graph, layer, plan.layers[layer.name])
    assert weight is not None
    return {layer.nodes[0]: NodeEdit({1: weight})}


def _edit_deformable(graph: Graph, layer: Layer, plan: QuantPlan) -> dict[str, NodeEdit]:
    """A weight whose bias stays real."""
    quant = plan.layers[layer.name]
    weight = stored_weight(graph, layer, quant)
    assert weight is not None
    constants: dict[int, Replacement | None] = {1: weight}
    if quant.bias:
        constants[3] = np.asarray(quant.bias, np.float32)
    return {layer.nodes[0]: NodeEdit(constants)}


def _edit_operand(graph: Graph, layer: Layer, plan: QuantPlan) -> dict[str, NodeEdit]:
    found = stored_operand(graph, layer, plan.layers[layer.name])
    if found is None:
        return {}
    index, operand = found
    attributes = layer.attributes
    is_divisor = isinstance(attributes, ProductAttributes) and attributes.reciprocal
    return {layer.nodes[0]: NodeEdit({index: operand}, op_type="Mul" if is_divisor else None)}


def _edit_scattered(graph: Graph, layer: Layer, plan: QuantPlan) -> dict[str, NodeEdit]:
    found = stored_operand(graph, layer, plan.layers[layer.name])
    if found is None:
        return {}
    index, operand = found
    # The positions stand between the two.
    return {layer.nodes[0]: NodeEdit({2 * index: operand})}


_EDITS: Mapping[LayerKind, Callable[[Graph, Layer, QuantPlan], dict[str, NodeEdit]]] = (
    MappingProxyType(
        {
            LayerKind.CONVOLUTION: _edit_convolution,
            LayerKind.TRANSPOSED_CONVOLUTION: _edit_transposed_convolution,
            LayerKind.BATCH_NORM: _edit_batch_norm,
            LayerKind.DEFORMABLE_CONVOLUTION: _edit_deformable,
            LayerKind.PRELU: _edit_weight,
            LayerKind.SUM: _edit_operand,
            LayerKind.PRODUCT: _edit_operand,
            LayerKind.DIVISION: _edit_operand,
            LayerKind.SCATTERED_PRODUCT: _edit_scattered,
        }
    )
)
