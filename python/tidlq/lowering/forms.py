"""Which tensors of a fixed stage are integers, and which stay float32, before anything is lowered.

A stage's inputs arrive in float32; Softmax writes float32, and so does a layer whose output the
plan does not quantize. A layer that only moves elements of a tensor whose integers nobody has asked
for yet moves float32, and a concat that leaves the stage joins float32. Everything else reads and
writes integers.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage
from tidlq.graph.statements import unrounded_features
from tidlq.spec import QuantPlan


@dataclass(frozen=True)
class StageForms:
    """How the layers of a fixed stage read and write.

    Attributes:
        float_layers: names of layers that read and write float32.
        integers: tensors that a layer writes as integers.
    """

    float_layers: frozenset[str]
    integers: frozenset[str]


def stage_forms(graph: Graph, stage: Stage, plan: QuantPlan) -> StageForms:
    """The forms in which lowering reads and writes the tensors of a fixed stage."""
    joined = float_joins(graph, stage, plan)
    floats = set(stage.inputs)
    asked: set[str] = set()
    float_layers: set[str] = set()
    written: set[str] = set()
    for layer in stage.layers:
        source = layer.inputs[0]
        is_moved = layer.kind.keeps_float and source in floats and source not in asked
        if layer.output in joined or is_moved:
            float_layers.add(layer.name)
            floats.add(layer.output)
            continue
        asked.update(layer.inputs)
        if layer.kind is LayerKind.SOFTMAX or layer.output not in plan.features:
            floats.add(layer.output)
        else:
            asked.add(layer.output)
            written.add(layer.output)
    return StageForms(frozenset(float_layers), frozenset(written))


def float_joins(graph: Graph, stage: Stage, plan: QuantPlan) -> frozenset[str]:
    """Outputs of concats that join float32 forms.

    In a plan of statements these are only the ones that the model leaves unrounded.
    """
    joined = joined_in_float(stage)
    if not plan.is_stated:
        return joined
    return joined & unrounded_features(graph)


def joined_in_float(stage: Stage) -> frozenset[str]:
    """Outputs of concats that nothing in the stage computes with."""
    leaving: set[str] = set()
    readers: dict[str, list[Layer]] = {}
    for layer in stage.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    for layer in reversed(stage.layers):
        only_moved = layer.kind.keeps_float or layer.kind is LayerKind.CONCAT
        if only_moved and all(x.output in leaving for x in readers.get(layer.output, ())):
            leaving.add(layer.output)
    joined = (layer for layer in stage.layers if layer.kind is LayerKind.CONCAT)
    return frozenset(layer.output for layer in joined if layer.output in leaving)
