"""Recognition: which nodes of a Graph form a fixed-point layer, and which stay in float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

import onnx_ir as ir

from tidlq.graph.layers import FloatNode, InnerProductAttributes, Layer, LayerKind, LayerTable
from tidlq.graph.model import Graph
from tidlq.graph.recognition import (
    elementwise,
    functions,
    gathers,
    movement,
    order,
    pools,
    reductions,
    resize,
    rows,
    sampling,
    weighted,
)
from tidlq.graph.recognition.fusions import FusionChoice, find_fusions
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.spec import FeatureQuant

Recogniser = Callable[[NodeReader], Layer | tuple[Layer, ...]]


def _recognise_matmul(node: NodeReader) -> Layer:
    """A product with a constant matrix, or of two feature maps."""
    is_weighted = any(node.is_constant(index) for index in range(2))
    recognise = weighted.recognise_matmul if is_weighted else rows.recognise_matrix_product
    return recognise(node)


RECOGNISERS: Mapping[str, Recogniser] = MappingProxyType(
    {
        "Conv": weighted.recognise_convolution,
        "ConvTranspose": weighted.recognise_transposed_convolution,
        "DeformConv": weighted.recognise_deformable_convolution,
        "Gemm": weighted.recognise_gemm,
        "MatMul": _recognise_matmul,
        "LayerNormalization": rows.recognise_layer_norm,
        "RMSNormalization": rows.recognise_layer_norm,
        "InstanceNormalization": rows.recognise_instance_norm,
        "GridSample": sampling.recognise_grid_sample,
        "BatchNormalization": weighted.recognise_batch_norm,
        "PRelu": weighted.recognise_prelu,
        "MaxPool": pools.recognise_max_pool,
        "AveragePool": pools.recognise_average_pool,
        "GlobalAveragePool": pools.recognise_global_pool,
        "GlobalMaxPool": pools.recognise_global_pool,
        **dict.fromkeys(reductions.REDUCTIONS, reductions.recognise_reduction),
        "Add": elementwise.recognise_sum,
        "Sub": elementwise.recognise_sum,
        "Mul": elementwise.recognise_product,
        "Div": functions.recognise_division,
        "Pow": functions.recognise_power,
        "Sum": functions.recognise_many,
        "Mean": functions.recognise_many,
        "Max": functions.recognise_extremum,
        "Min": functions.recognise_extremum,
        "Relu": elementwise.recognise_clamp,
        "Clip": elementwise.recognise_clamp,
        "Identity": elementwise.recognise_requantization,
        **dict.fromkeys(elementwise.FUNCTION_DEFAULTS, elementwise.recognise_function),
        **dict.fromkeys(elementwise.STATED_FUNCTIONS, elementwise.recognise_stated_function),
        **dict.fromkeys(functions.ELEMENTARY_FUNCTIONS, functions.recognise_elementary),
        "Gelu": elementwise.recognise_gelu,
        "Softmax": elementwise.recognise_softmax,
        "Concat": movement.recognise_concat,
        "Flatten": movement.recognise_reshape,
        "Reshape": movement.recognise_reshape,
        "Squeeze": movement.recognise_reshape,
        "Unsqueeze": movement.recognise_reshape,
        "Transpose": movement.recognise_transpose,
        "Pad": gathers.recognise_pad,
        "Gather": gathers.recognise_gather,
        "GatherElements": gathers.recognise_gather_elements,
        "GatherND": gathers.recognise_gather_nd,
        "ScatterElements": gathers.recognise_scatter_elements,
        "ScatterND": gathers.recognise_scatter_nd,
        "Expand": gathers.recognise_repetition,
        "Tile": gathers.recognise_repetition,
        "DepthToSpace": gathers.recognise_depth_to_space,
        "SpaceToDepth": gathers.recognise_space_to_depth,
        "ArgMax": order.recognise_arg_extreme,
        "ArgMin": order.recognise_arg_extreme,
        "TopK": order.recognise_top_k,
        "Slice": movement.recognise_slice,
        "Split": movement.recognise_split,
        "Resize": resize.recognise_resize,
        "Upsample": resize.recognise_resize,
    }
)
"""ONNX operators (default domain) that the integer engine runs."""

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "DequantizeLinear": "it turns integers from outside into real values",
        "QuantizeLinear": "it turns real values into integers for outside",
    }
)

CLAMPABLE = frozenset(
    {
        LayerKind.CONVOLUTION,
        LayerKind.TRANSPOSED_CONVOLUTION,
        LayerKind.DEFORMABLE_CONVOLUTION,
        LayerKind.INNER_PRODUCT,
        LayerKind.BATCH_NORM,
        LayerKind.SUM,
        LayerKind.PRODUCT,
        LayerKind.AVERAGE_POOL,
        LayerKind.CLAMP,
    }
)
"""Kinds whose saturation can take in the ReLU or Clip that follows."""


def find_layers(
    graph: Graph,
    denied: Mapping[str, str] | None = None,
    allowed: Collection[str] | None = None,
    fusions: FusionChoice | None = None,
) -> LayerTable:
    """Splits a Graph's nodes into fixed-point layers and float nodes.

    Args:
        graph: the canonical Graph.
        denied: node names that must stay in float, each with the reason.
        allowed: node names that may lead a layer; what they absorb comes along. None allows all.
        fusions: which ones are allowed; None allows all.

    Returns:
        Every node exactly once, layers with their fused successors, in execution order.
    """
    denied = denied or {}
    layers: list[Layer] = []
    float_nodes: list[FloatNode] = []
    absorbed: set[str] = set()
    taken = {node.name or "" for node in graph.nodes}
    fused = find_fusions(graph, denied, allowed, fusions or FusionChoice())
    inside = {name for layer in fused.values() for name in layer.nodes}
    for node in graph.nodes:
        reader = NodeReader(graph, node)
        if reader.name in absorbed:
            continue
        if reader.name in inside:
            layers += [fused[reader.name]] if reader.name in fused else []
            continue
        try:
            if allowed is not None and reader.name not in allowed:
                raise RefusedError("it is not among the allowed layers")
            found = _recognise(reader, denied)
        except RefusedError as refusal:
            float_nodes.append(
                FloatNode(
                    reader.name,
                    node.op_type,
                    tuple(filter(None, (*reader.inputs, *_captured(node)))),
                    reader.outputs,
                    str(refusal),
                )
            )
            continue
        found = tuple(_with_own_name(layer, reader.name, taken) for layer in found)
        if len(found) == 1:
            layer = _absorb_successors(graph, found[0], denied)
            absorbed.update(layer.nodes)
            found = (layer,)
        layers.extend(found)
    return LayerTable(tuple(layers), tuple(float_nodes))


def _recognise(node: NodeReader, denied: Mapping[str, str]) -> tuple[Layer, ...]:
    if node.name in denied:
        raise RefusedError(denied[node.name])
    recogniser = RECOGNISERS.get(node.op_type) if node.node.domain in ("", "ai.onnx") else None
    if recogniser is None:
        raise RefusedError(_REASONS.get(node.op_type, "the engine has no integer kernel for it"))
    found = recogniser(node)
    return found if isinstance(found, tuple) else (found,)


def _with_own_name(layer: Layer, node: str, taken: set[str]) -> Layer:
    """A part of a node must not be called like another node."""
    name = layer.name
    while name != node and name in taken:
        name += "'"
    taken.add(name)
    return layer if name == layer.name else replace(layer, name=name)


def _captured(node: ir.Node) -> list[str]:
    """Outer tensors that the bodies of a control-flow node read."""
    names: list[str] = []
    for attribute in node.attributes.values():
        bodies: list[ir.Graph] = []
        if attribute.type is ir.AttributeType.GRAPH:
            bodies = [attribute.as_graph()]
        elif attribute.type is ir.AttributeType.GRAPHS:
            bodies = list(attribute.as_graphs())
        for body in bodies:
            local = {value.name for value in body.inputs} | set(body.initializers)
            for inner in body:
                read = [value.name for value in inner.inputs if value is not None]
                names += [n for n in (*read, *_captured(inner)) if n and n not in local]
                local |= {value.name for value in inner.outputs}
    return names


def _absorb_successors(graph: Graph, layer: Layer, denied: Mapping[str, str]) -> Layer:
    """Takes in a bias Add and any ReLU or Clip that alone reads the layer's output.

    An output that a pre-quantized model states ends the layer, save before a ReLU or Clip whose
    output is stated to be the same: rounding and clamping then commute.
    """
    while True:
        successor = _only_reader(graph, layer.output)
        if successor is None or (successor.name or "") in denied:
            return layer
        node = NodeReader(graph, successor)
        grown = _absorb_bias(layer, node) or _absorb_clamp(layer, node)
        grown = grown or order.absorb_cast(layer, node)
        if _stated(graph, layer.output) is None:
            grown = grown or order.absorb_arg_extreme(layer, node)
        if grown is None:
            return layer
        layer = grown


def _stated(graph: Graph, name: str) -> FeatureQuant | None:
    """How a pre-quantized model states the tensor."""
    return None if graph.stated is None else graph.stated.features.get(name)


def _only_reader(graph: Graph, name: str) -> ir.Node | None:
    value = graph.values[name]
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = uses[0].node
    if node.graph is not graph.model.graph or node.domain not in ("", "ai.onnx"):
        return None
    return node


def _absorb_bias(layer: Layer, node: NodeReader) -> Layer | None:
    if layer.kind is not LayerKind.INNER_PRODUCT or node.op_type != "Add":
        return None
    if layer.bias is not None or layer.clamp is not None:
        return None
    index = 1 if node.inputs[0] == layer.output else 0
    constant = node.graph.constant(node.inputs[index])
    if _stated(node.graph, layer.output) is not None:
        return None
    shape = node.graph.shape(layer.output)
    if constant is None or shape is None or node.graph.shape(node.outputs[0]) != shape:
        return None
    if constant.size not in (1, shape[-1]) or (constant.size > 1 and constant.shape[-1] == 1):
        return None
    assert isinstance(layer.attributes, InnerProductAttributes)
    plain = replace(layer, attributes=replace(layer.attributes, beta=1.0))
    return plain.fused(node.name, node.outputs[0], bias=node.inputs[index])


def _absorb_clamp(layer: Layer, node: NodeReader) -> Layer | None:
    if layer.kind not in CLAMPABLE or node.op_type not in ("Relu", "Clip"):
        return None
    if node.inputs[0] != layer.output:
        return None
    stated = _stated(node.graph, layer.output)
    if stated is not None and stated != _stated(node.graph, node.outputs[0]):
        return None
    try:
        clamp = elementwise.read_clamp(node)
    except RefusedError:
        return None
    return layer.fused(node.name, node.outputs[0], clamp=clamp)
