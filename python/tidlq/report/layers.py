"""The layer report: where each layer runs, with which ranges, scales and precision."""

from __future__ import annotations

import math
from typing import Any

from tidlq.graph.layers import FloatNode, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, Stage
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    LayerQuant,
    ParameterRole,
    QuantPlan,
    Range,
    Ranges,
    parameter_name,
)


def layer_report(
    graph: Graph, partition: Partition, ranges: Ranges, plan: QuantPlan | None
) -> dict[str, Any]:
    """Every layer and float node in execution order, as JSON values.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        ranges: ranges of all features and parameters.
        plan: the decisions; None for a float network.

    Returns:
        `features` that enter from outside, `stages` with their layers.
    """
    entering = [
        _feature(name, ranges.features.get(name), plan.features[name])
        for name in dict.fromkeys(n for s in partition.stages if s.layers for n in s.inputs)
        if plan is not None
    ]
    stages = [
        _stage(graph, number, stage, ranges, plan) for number, stage in enumerate(partition.stages)
    ]
    return {"features": entering, "stages": stages}


def _stage(
    graph: Graph, number: int, stage: Stage, ranges: Ranges, plan: QuantPlan | None
) -> dict[str, Any]:
    layers = [_float_node(node) for node in stage.float_nodes]
    if plan is not None:
        layers += [_layer(graph, layer, ranges, plan) for layer in stage.layers]
    return {
        "stage": number,
        "kind": stage.kind.value,
        "inputs": list(stage.inputs),
        "outputs": list(stage.outputs),
        "layers": layers,
    }


def _float_node(node: FloatNode) -> dict[str, Any]:
    return {"name": node.name, "op_type": node.op_type, "runs_in": "float", "reason": node.reason}


def _feature(name: str, known: Range | None, quant: FeatureQuant | None) -> dict[str, Any]:
    return {
        "tensor": name,
        "type": "f32" if quant is None else _type_name(quant.type),
        "scale": None if quant is None else quant.scale,
        "zero_point": None if quant is None else quant.zero_point,
        "min": None if known is None else known.min,
        "max": None if known is None else known.max,
        "origin": None if known is None else known.origin.value,
    }


def _layer(graph: Graph, layer: Layer, ranges: Ranges, plan: QuantPlan) -> dict[str, Any]:
    quant = plan.layers[layer.name]
    entry: dict[str, Any] = {
        "name": layer.name,
        "op_type": layer.op_type,
        "kind": layer.kind.value,
        "runs_in": "fixed",
        "nodes": list(layer.nodes),
        "output": _feature(
            layer.output, ranges.features.get(layer.output), plan.features.get(layer.output)
        ),
        "shape": list(graph.shape(layer.output) or ()),
        "requantization": quant.requantization.value,
    }
    if quant.headroom_bits is not None:
        entry["headroom_bits"] = round(quant.headroom_bits, 2)
        entry["bias_bits"] = quant.bias_bits
    return {**entry, **_parameters(layer, ranges, quant)}


def _parameters(layer: Layer, ranges: Ranges, quant: LayerQuant) -> dict[str, Any]:
    """The weight, slope or constant operand, as JSON values by that name."""
    is_slope = layer.kind is LayerKind.PRELU
    role = ParameterRole.SLOPE if is_slope else ParameterRole.WEIGHT
    known = ranges.parameters.get(parameter_name(layer.name, role))
    if known is None:
        return {}
    entry: dict[str, Any] = {"min": known.min, "max": known.max}
    if quant.weight is not None:
        scales = quant.weight.scales
        entry |= {
            "type": _type_name(quant.weight.type),
            "scales": len(scales),
            "smallest_scale": min(scales),
            "largest_scale": max(scales),
            "scale_spread_bits": round(math.log2(max(scales) / min(scales)), 2),
        }
        return {role.value: entry}
    if quant.operand is not None:
        entry |= {"type": _type_name(quant.operand.type), "scale": quant.operand.scale}
        return {"operand": entry}
    return {}


def _type_name(type_: IntegerType) -> str:
    return f"{'s' if type_.signed else 'u'}{type_.bits}"
