"""Fusions: several nodes that are one layer, so that nothing is rounded between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.recognition.fusions.activations import fuse_activation
from tidlq.graph.recognition.fusions.layer_norm import fuse_layer_norm
from tidlq.graph.recognition.fusions.scaled_activations import fuse_scaled_activation
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.spec import Fusion

Fuse = Callable[[NodeReader, Collection[Fusion]], Layer | None]

FUSIONS: Mapping[str, tuple[Fuse, ...]] = MappingProxyType(
    {
        "Mul": (fuse_activation, fuse_scaled_activation, fuse_layer_norm),
        "Div": (fuse_activation, fuse_scaled_activation, fuse_layer_norm),
        "Add": (fuse_scaled_activation, fuse_layer_norm),
        "Sub": (fuse_scaled_activation,),
    }
)
"""What may be fused into one layer, by the operator of the last node."""


@dataclass(frozen=True)
class FusionChoice:
    """Which fusions are allowed, and where.

    Attributes:
        left_out: fusions that are switched off.
        shown: tensors that have a range of their own, so that no fusion may hide them.
    """

    left_out: Collection[Fusion] = ()
    shown: Collection[str] = ()

    @property
    def is_off(self) -> bool:
        """No fusion is allowed."""
        return all(fusion in self.left_out for fusion in Fusion)


NO_FUSION = FusionChoice(left_out=tuple(Fusion))


def find_fusions(
    graph: Graph,
    denied: Mapping[str, str],
    allowed: Collection[str] | None,
    choice: FusionChoice,
) -> Mapping[str, Layer]:
    """Layers of several nodes, by the name of the last of these.

    Args:
        graph: the canonical Graph.
        denied: nodes that run in float; none of them is taken in.
        allowed: nodes that may give their name to a layer; None allows all.
        choice: which fusions are allowed.
    """
    found: dict[str, Layer] = {}
    if choice.is_off:
        return found
    for node in graph.nodes:
        fusing = FUSIONS.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ()
        reader = NodeReader(graph, node)
        if not fusing or (allowed is not None and reader.name not in allowed):
            continue
        for fuse in fusing:
            try:
                layer = fuse(reader, choice.left_out)
            except RefusedError:
                continue
            if layer is not None and _is_allowed(graph, layer, denied, choice):
                found[reader.name] = layer
                break
    return _disjoint(found)


def _is_allowed(
    graph: Graph, layer: Layer, denied: Mapping[str, str], choice: FusionChoice
) -> bool:
    """Nothing states a tensor inside, and all around it is of one kind."""
    if not denied.keys().isdisjoint(layer.nodes):
        return False
    nodes = {node.name: node for node in graph.nodes if node.name in layer.nodes}
    inner = {
        value.name or "" for name in layer.nodes[:-1] for value in nodes[name].outputs if value.name
    }
    if not inner.isdisjoint(choice.shown):
        return False
    if graph.stated is None:
        return True
    features = graph.stated.features
    ends = (layer.inputs[0], layer.output)
    return inner.isdisjoint(features) and all(name in features for name in ends)


def _disjoint(found: Mapping[str, Layer]) -> dict[str, Layer]:
    """Of fusions that share nodes, the one that ends last."""
    kept: dict[str, Layer] = {}
    taken: set[str] = set()
    for name, layer in reversed(tuple(found.items())):
        if taken.isdisjoint(layer.nodes):
            kept[name] = layer
            taken.update(layer.nodes)
    return kept
