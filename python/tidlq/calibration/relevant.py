"""Values of a feature map beyond which its readers no longer tell a difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tidlq.graph.layers import FunctionAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.spec import Range

_EVERYTHING = (-math.inf, math.inf)
# Beyond these, a function is within a step of 8 bits of its limit.
_OF_FUNCTION: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "Sigmoid": (-6.25, 6.25),
        "Tanh": (-3.5, 3.5),
        "HardSwish": (-3.0, math.inf),
        "Elu": (-6.25, math.inf),
    }
)
# x * sigmoid(x) is above -0.003 there, and below it closer to zero still.
_OF_SWISH = (-8.0, math.inf)


def find_relevant_ranges(graph: Graph, layers: Iterable[Layer]) -> dict[str, Range]:
    """Intervals that hold all that matters of a feature map, where that is not everything.

    A feature map that only saturating functions read needs no integers for values at which they
    are flat, however far these reach: in x * sigmoid(x) what lies below -8.

    Args:
        graph: the canonical Graph.
        layers: fixed-point layers; a tensor that anything else reads matters everywhere.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in dict.fromkeys(layer.inputs):
            readers.setdefault(name, []).append(layer)
    found: dict[str, Range] = {}
    for name, reading in readers.items():
        value = graph.values[name]
        if value.is_graph_output() or len(set(value.consumers())) > len(reading):
            continue
        low, high = math.inf, -math.inf
        for least, most in (_relevant(name, layer, readers) for layer in reading):
            low, high = min(low, least), max(high, most)
        if (low, high) != _EVERYTHING and low < high:
            largest = 2.0**127
            found[name] = Range(max(low, -largest), min(high, largest))
    return found


def _relevant(name: str, layer: Layer, readers: Mapping[str, list[Layer]]) -> tuple[float, float]:
    attributes = layer.attributes
    if isinstance(attributes, FunctionAttributes):
        if attributes.function == "Sigmoid" and _is_swish(name, layer.output, readers):
            return _OF_SWISH
        if attributes.parameters and attributes.function != "HardSwish":
            return _EVERYTHING
        return _OF_FUNCTION.get(attributes.function, _EVERYTHING)
    gates = [reader.output for reader in readers[name] if reader.output in layer.inputs]
    if layer.kind is LayerKind.PRODUCT and any(_is_swish(name, gate, readers) for gate in gates):
        return _OF_SWISH
    return _EVERYTHING


def _is_swish(name: str, gate: str, readers: Mapping[str, list[Layer]]) -> bool:
    """`gate` is read once, by a product with `name`."""
    reading = readers.get(gate, [])
    return len(reading) == 1 and (
        reading[0].kind is LayerKind.PRODUCT and set(reading[0].inputs) == {name, gate}
    )
