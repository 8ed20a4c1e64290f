"""Products of a feature map with a gate: SiLU, hard swish, squeeze-and-excitation.

A factor per channel passes through  y = x * g  as long as the gate g stays what it is. Where g is
computed from x itself, as in x * sigmoid(x), what computes it has to read the x of before: a
batch-norm whose gains are the factors restores it,

    y / s = (x / s) * sigmoid(s * (x / s))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tidlq.graph.layers import FunctionAttributes, Layer, LayerKind
from tidlq.graph.model import Graph

_LONGEST_GATE = 4
_CHANNEL_AXIS = 1


@dataclass(frozen=True)
class Gates:
    """How the products of a stage pass factors on.

    Attributes:
        carriers: by product, the operand whose factors its output has. The other has none.
        restored: by layer with which a gate begins, the tensor that it needs as it was.
    """

    carriers: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, str] = field(default_factory=dict)


def find_gates(graph: Graph, layers: Iterable[Layer]) -> Gates:
    """Finds the products of a stage that are a feature map times a gate."""
    layers = tuple(layers)
    writers = {layer.output: layer for layer in layers}
    carriers: dict[str, str] = {}
    restored: dict[str, str] = {}
    for layer in layers:
        operands = _variable(graph, layer)
        if layer.kind is not LayerKind.PRODUCT or len(operands) != 2:
            continue
        for carrier, gate in (operands, operands[::-1]):
            if graph.shape(carrier) != graph.shape(layer.output):
                continue
            first = _first_of_gate(graph, writers, carrier, gate)
            if first is None and not _is_gate(graph, writers, carrier, gate):
                continue
            carriers[layer.name] = carrier
            if first is not None:
                restored[first.name] = carrier
            break
    return Gates(carriers, restored)


def _variable(graph: Graph, layer: Layer) -> tuple[str, ...]:
    return tuple(name for name in layer.inputs if graph.constant(name) is None)


def _first_of_gate(
    graph: Graph, writers: Mapping[str, Layer], carrier: str, gate: str
) -> Layer | None:
    """The layer with which the way from the carrier to its gate begins, if there is such a way."""
    for _ in range(_LONGEST_GATE):
        layer = writers.get(gate)
        if layer is None or not _is_elementwise(layer):
            return None
        sources = _variable(graph, layer)
        if len(sources) != 1:
            return None
        if sources[0] == carrier:
            return layer
        gate = sources[0]
    return None


def _is_elementwise(layer: Layer) -> bool:
    kinds = (LayerKind.FUNCTION, LayerKind.CLAMP, LayerKind.SUM, LayerKind.PRODUCT)
    return layer.kind in kinds


def _is_gate(graph: Graph, writers: Mapping[str, Layer], carrier: str, gate: str) -> bool:
    """Values of a function, which have no factors, or one for all places of a channel."""
    layer = writers.get(gate)
    if layer is None or gate == carrier:
        return False
    if isinstance(layer.attributes, FunctionAttributes):
        return layer.attributes.function != "LeakyRelu"
    shape, other = graph.shape(gate) or (), graph.shape(carrier) or ()
    first_place = _CHANNEL_AXIS + 1
    is_single = all(size == 1 for size in shape[first_place:])
    return is_single and len(shape) == len(other) > first_place and shape != other
