"""Ranges that the model itself states: they win over measured ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tidlq.graph.layers import Clamp, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.statements import resolve_features
from tidlq.spec import Range, RangeOrigin

OVERFLOW_GUARD = 2.0**15
"""Bounds this large keep float16 from overflowing; they say nothing about the range."""


def _stated(clamp: Clamp | None) -> Range | None:
    if clamp is None or clamp.low is None or clamp.high is None:
        return None
    if max(abs(clamp.low), abs(clamp.high)) >= OVERFLOW_GUARD:
        return None
    return Range(clamp.low, clamp.high, RangeOrigin.STATED)


LEARNT_RANGES = 3
"""So many different ranges do not come from an architecture."""


def is_trained_for(stated: Mapping[str, Range], features: Collection[str]) -> bool:
    """The network was trained with quantization in the loop, to judge by the ranges that it states.

    At least half of the feature maps have a stated range, and these ranges are learnt: they differ,
    where an architecture's own bounds (ReLU6) are all the same. Weights of such a network lie as
    training left them for their scales.

    Args:
        stated: ranges by feature map.
        features: feature maps whose range decides a scale.
    """
    found = [stated[name] for name in features if name in stated]
    distinct = {(known.min, known.max) for known in found}
    return 2 * len(found) >= len(features) and len(distinct) >= LEARNT_RANGES


def find_stated_ranges(graph: Graph, layers: Iterable[Layer]) -> dict[str, Range]:
    """Ranges given by Clip and ReLU6, or by the scales of a pre-quantized model, by feature map.

    A layer's output has the bounds of the Clip fused into it. A feature map that only Clips with
    both bounds read has the widest of those bounds: what lies outside is never seen.
    """
    layers = tuple(layers)
    found: dict[str, Range] = {}
    for layer in layers:
        stated = _stated(layer.clamp)
        if stated is not None:
            found[layer.output] = stated
    readers: dict[str, list[Range | None]] = {}
    for layer in layers:
        for name in layer.inputs:
            is_clip = layer.kind is LayerKind.CLAMP
            readers.setdefault(name, []).append(_stated(layer.clamp) if is_clip else None)
    for name, ranges in readers.items():
        value = graph.values[name]
        known = [stated for stated in ranges if stated is not None]
        if name in found or value.is_graph_output() or len(known) < len(tuple(value.uses())):
            continue
        low, high = min(r.min for r in known), max(r.max for r in known)
        found[name] = Range(low, high, RangeOrigin.STATED)
    if graph.stated is not None:
        found |= {name: quant.range for name, quant in resolve_features(graph, layers).items()}
    return found
