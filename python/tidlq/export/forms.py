"""Which tensors of a network get a QuantizeLinear and DequantizeLinear, and who reads which form.

A tensor that a layer writes as integers has no float form: everything reads its dequantized values.
One that is written in float32 (a network input, what a float island or Softmax writes) is quantized
for the layers that read integers; a float island and the network's outputs read it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind
from tidlq.graph.statements import rounded_features
from tidlq.lowering.forms import stage_forms
from tidlq.lowering.requantize import clamp_integers
from tidlq.spec import FeatureQuant, QuantPlan, Requantization

_BYTE = 8
_CLAMPS = ("Relu", "Clip")
_IN_INTEGERS = (LayerKind.CONVOLUTION, LayerKind.INNER_PRODUCT)


@dataclass(frozen=True)
class NetworkForms:
    """The forms of every tensor of a network.

    Attributes:
        quantized: tensors that are followed by a QuantizeLinear and a DequantizeLinear.
        integers: those of them that have no other form.
        float_readers: names of fixed-point layers that read tensors as float nodes do.
        hidden: quantizations that no node states, of tensors that the network only has in float32.
        unrounded: tensors of the plan that are written in float32.
    """

    quantized: Mapping[str, FeatureQuant]
    integers: frozenset[str]
    float_readers: frozenset[str]
    hidden: Mapping[str, FeatureQuant]
    unrounded: frozenset[str]

    def is_dequantized(self, name: str, *, reads_float: bool) -> bool:
        """Whether a reader of a tensor gets its quantized and dequantized values.

        Args:
            name: the tensor's.
            reads_float: the reader is a float node, an output of the network or one of
                `float_readers`.
        """
        return name in self.integers or (not reads_float and name in self.quantized)


def network_forms(graph: Graph, partition: Partition, plan: QuantPlan) -> NetworkForms:
    """Follows what lowering does with each tensor.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions for its fixed stages.
    """
    float_layers: set[str] = set()
    rounded = rounded_features(graph) if plan.is_stated else {}
    integers: set[str] = set(rounded)
    for stage in partition.stages:
        if stage.kind is StageKind.FIXED:
            forms = stage_forms(graph, stage, plan)
            float_layers |= forms.float_layers
            integers |= forms.integers
    float_readers = _float_readers(graph, partition, float_layers)
    asked = set(integers)
    for layer in partition.layers:
        if layer.name not in float_readers:
            asked.update(name for name in layer.inputs if name in plan.features)
    clamped = _clamped_behind(graph, partition, plan)
    integers |= clamped.keys()
    asked |= clamped.keys()
    features = {**clamped, **rounded, **plan.features}
    return NetworkForms(
        quantized={name: quant for name, quant in features.items() if name in asked},
        integers=frozenset(integers),
        float_readers=frozenset(float_readers),
        hidden={name: quant for name, quant in plan.features.items() if name not in asked},
        unrounded=frozenset(plan.features.keys() - integers),
    )


def _clamped_behind(
    graph: Graph, partition: Partition, plan: QuantPlan
) -> Mapping[str, FeatureQuant]:
    """Tensors inside layers that are quantized before a ReLU or Clip as behind it.

    Rounding and clamping commute. ONNX Runtime runs a convolution or Gemm in integers only up to a
    clamp that the integers' own ends do not imply, and float requantization is to agree exactly.
    """
    nodes = {node.name: node for node in graph.nodes}
    found: dict[str, FeatureQuant] = {}
    for layer in partition.layers:
        quant = plan.features.get(layer.output)
        is_exact = plan.layers[layer.name].requantization is Requantization.FLOAT
        if quant is None or layer.kind not in _IN_INTEGERS or not is_exact:
            continue
        if quant.type.bits != _BYTE:
            continue
        if clamp_integers(quant, layer.clamp) == (quant.type.lowest, quant.type.highest):
            continue
        inner = [nodes[name] for name in layer.nodes[:-1]]
        first = sum(node.op_type not in _CLAMPS for node in inner) - 1
        found |= {node.outputs[0].name or "": quant for node in inner[first:]}
    return found


def _float_readers(graph: Graph, partition: Partition, float_layers: set[str]) -> set[str]:
    """Layers in float32 whose float values somebody sees.

    What a layer only moves on its way to a layer that reads integers may be quantized earlier.
    """
    seen = {signature.name for signature in graph.outputs}
    found: set[str] = set()
    for stage in reversed(partition.stages):
        for node in stage.float_nodes:
            seen.update(node.inputs)
        for layer in reversed(stage.layers):
            if layer.name in float_layers and _is_seen(layer, seen):
                found.add(layer.name)
                seen.update(layer.inputs)
    # The parts of a Split are one node, which reads once.
    nodes = {layer.nodes[0] for layer in partition.layers if layer.name in found}
    return {layer.name for layer in partition.layers if layer.nodes[0] in nodes}


def _is_seen(layer: Layer, seen: set[str]) -> bool:
    return layer.kind is LayerKind.CONCAT or layer.output in seen
