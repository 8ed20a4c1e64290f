"""Values of a feature map beyond which its readers no longer tell a difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import FunctionAttributes, Layer, LayerKind, SumAttributes
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_values
from tidlq.spec import Range

Interval = tuple[float, float]

_EVERYTHING: Interval = (-math.inf, math.inf)
_LARGEST = 2.0**127
# By bits: beyond these, a function is within a step of its limit.
_OF_FUNCTION: Mapping[str, Mapping[int, Interval]] = MappingProxyType(
    {
        "Sigmoid": {8: (-6.25, 6.25), 16: (-11.75, 11.75)},
        "Tanh": {8: (-3.5, 3.5), 16: (-6.25, 6.25)},
        "HardSwish": {8: (-3.0, math.inf), 16: (-3.0, math.inf)},
        "Swish": {8: (-8.0, math.inf), 16: (-16.0, math.inf)},
        "Mish": {8: (-8.0, math.inf), 16: (-16.0, math.inf)},
        "Gelu": {8: (-3.5, math.inf), 16: (-5.0, math.inf)},
        "Relu": {8: (0.0, math.inf), 16: (0.0, math.inf)},
        "Elu": {8: (-6.25, math.inf), 16: (-11.75, math.inf)},
        "Erf": {8: (-2.25, 2.25), 16: (-3.25, 3.25)},
        # Outside its domain a function is as at its end.
        "Sqrt": dict.fromkeys((8, 16), (0.0, math.inf)),
        "Asin": dict.fromkeys((8, 16), (-1.0, 1.0)),
        "Acos": dict.fromkeys((8, 16), (-1.0, 1.0)),
        "Atanh": dict.fromkeys((8, 16), (-1.0, 1.0)),
    }
)
# x * sigmoid(x) is within 0.003 and 0.000002 of zero below; above, the sigmoid is within a step of
# 17 bits of 1, because x times what it lacks has to be small for large x, too.
_OF_SWISH: Mapping[int, Interval] = MappingProxyType({8: (-8.0, 12.0), 16: (-16.0, math.inf)})
_POSSIBLE: Mapping[str, Interval] = MappingProxyType(
    {
        **dict.fromkeys(("Sigmoid", "HardSigmoid"), (0.0, 1.0)),
        **dict.fromkeys(("Tanh", "Erf", "Softsign", "Sign", "Sin", "Cos"), (-1.0, 1.0)),
    }
)


def find_relevant_ranges(
    graph: Graph,
    layers: Iterable[Layer],
    bits: int = 8,
    channel_minima: Mapping[str, NDArray[np.float32]] | None = None,
) -> dict[str, Range]:
    """Intervals that hold all that matters of a feature map, where that is not everything.

    A feature map that only saturating functions read needs no integers for values at which they
    are flat, however far these reach: in x * sigmoid(x) what lies below -8.

    Args:
        graph: the canonical Graph.
        layers: fixed-point layers; a tensor that anything else reads matters everywhere.
        bits: of the feature maps.
        channel_minima: least values seen of each channel, by feature map. They tell how far down
            a map reaches of which each channel has an end of its own.
    """
    layers = tuple(layers)
    readings = _Readings(graph, layers, bits, channel_minima or {})
    found: dict[str, Range] = {}
    for name in readings.readers:
        low, high = readings.relevant(name)
        if (low, high) != _EVERYTHING and low < high:
            found[name] = Range(max(low, -_LARGEST), min(high, _LARGEST))
    return found


def find_possible_ranges(layers: Iterable[Layer]) -> dict[str, Range]:
    """Bounds that the values of a bounded function never leave, by feature map."""
    found: dict[str, Range] = {}
    for layer in layers:
        attributes = layer.attributes
        if isinstance(attributes, FunctionAttributes) and attributes.function in _POSSIBLE:
            bounds = _POSSIBLE[attributes.function]
            ends = [attributes.gain * bound + attributes.shift for bound in bounds]
            found[layer.output] = Range(min(ends), max(ends))
    return found


@dataclass(frozen=True)
class _Gate:
    """How a gate follows from a feature map x: from x itself, or from x with gains per channel.

    Attributes:
        zero_below: below this, x times the gate is zero or as good as zero.
        gains: float64 [C].
    """

    zero_below: float
    gains: NDArray[np.float64] | None = None


class _Readings:
    def __init__(
        self,
        graph: Graph,
        layers: Iterable[Layer],
        bits: int,
        channel_minima: Mapping[str, NDArray[np.float32]],
    ) -> None:
        self.graph = graph
        self.bits = 16 if bits > 8 else 8
        self.channel_minima = channel_minima
        self.readers: dict[str, list[Layer]] = {}
        for layer in layers:
            for name in dict.fromkeys(layer.inputs):
                if graph.constant(name) is None:
                    self.readers.setdefault(name, []).append(layer)
        self.writers = {layer.output: layer for layer in layers}

    def relevant(self, name: str) -> Interval:
        """Of one feature map."""
        if not self._is_inner(name):
            return _EVERYTHING
        intervals = [self._by_reader(name, layer) for layer in self.readers[name]]
        return min(low for low, _ in intervals), max(high for _, high in intervals)

    def _is_inner(self, name: str) -> bool:
        """Nothing but layers reads it."""
        value = self.graph.values[name]
        read = {node for layer in self.readers.get(name, []) for node in layer.nodes}
        return not value.is_graph_output() and all(x.name in read for x in value.consumers())

    def _by_reader(self, name: str, layer: Layer) -> Interval:
        if layer.kind is LayerKind.PRODUCT:
            gate = self._gate_of(name, layer)
            return _EVERYTHING if gate is None else (self._end(name, gate), math.inf)
        if layer.kind is LayerKind.BATCH_NORM:
            return self._by_gains(name, layer)
        ends = self._ends(layer)
        if ends is not None and self._is_gate(name, layer):
            # 16 bits have integers enough for what lies beyond.
            return ends if self.bits == 8 else (ends[0], math.inf)
        attributes = layer.attributes
        if not isinstance(attributes, FunctionAttributes):
            return _EVERYTHING
        if dict(attributes.parameters).get("alpha", 1.0) != 1.0:
            return _EVERYTHING
        return _OF_FUNCTION.get(attributes.function, {}).get(self.bits, _EVERYTHING)

    def _by_gains(self, name: str, layer: Layer) -> Interval:
        """A batch-norm of which nothing is made but gates for the same feature map."""
        gates: list[_Gate | None] = []
        for reader in self.readers.get(layer.output, []):
            products = self.readers.get(reader.output, [])
            gates.append(self._gate_of(name, products[0]) if len(products) == 1 else None)
        ends = [self._end(name, gate) for gate in gates if gate is not None]
        is_whole = len(ends) == len(gates) > 0 and self._is_inner(layer.output)
        return (min(ends), math.inf) if is_whole else _EVERYTHING

    def _end(self, name: str, gate: _Gate) -> float:
        if gate.gains is None:
            return gate.zero_below
        ends = gate.zero_below / gate.gains
        if name in self.channel_minima:
            ends = np.maximum(ends, np.minimum(self.channel_minima[name], 0))
        return float(ends.min())

    def _gate_of(self, name: str, product: Layer) -> _Gate | None:
        """How the other operand of a product follows from this one, if it does."""
        others = [x for x in product.inputs if x != name]
        is_product = product.kind is LayerKind.PRODUCT and len(product.inputs) == 2
        if not is_product or len(others) != 1 or others[0] not in self.writers:
            return None
        layer = self.writers[others[0]]
        ends = self._ends(layer)
        source = next((x for x in layer.inputs if self.graph.constant(x) is None), "")
        is_read_once = len(self.readers[others[0]]) == 1 and self._is_inner(others[0])
        if ends is None or not is_read_once:
            return None
        below, _ = ends
        if source == name:
            return _Gate(below)
        norm = self.writers.get(source)
        if norm is None or norm.kind is not LayerKind.BATCH_NORM or norm.inputs[0] != name:
            return None
        parameters = layer_parameters(self.graph, norm)
        is_plain = norm.clamp is None and not np.any(parameters.bias)
        gains = parameters.weight.astype(np.float64)
        return _Gate(below, gains) if is_plain and (gains > 0).all() else None

    def _is_gate(self, name: str, layer: Layer) -> bool:
        """A product, and nothing else, reads the output, with what the gate is made of."""
        reading = self.readers.get(layer.output, [])
        if len(reading) != 1:
            return False
        if self._gate_of(name, reading[0]) is not None:
            return True
        norm = self.writers.get(name)
        return norm is not None and self._gate_of(norm.inputs[0], reading[0]) is not None

    def _ends(self, layer: Layer) -> Interval | None:
        """Below the one, a gate times its input is as good as zero; above the other, as its input.

        None for a layer that is not the first one of a gate.
        """
        attributes = layer.attributes
        if isinstance(attributes, FunctionAttributes):
            known = dict(attributes.parameters)
            if attributes.function == "Sigmoid":
                return _OF_SWISH[self.bits]
            alpha, beta = known.get("alpha", 0.2), known.get("beta", 0.5)
            if attributes.function == "HardSigmoid" and alpha > 0:
                return min(-beta / alpha, 0.0), max((1 - beta) / alpha, 0.0)
            return None
        added, clamp = operand_values(self.graph, layer), layer.clamp
        if not isinstance(attributes, SumAttributes) or added is None or clamp is None:
            return None
        if added.size != 1 or clamp.low != 0 or set(attributes.signs) != {1.0}:
            return None
        shift = float(added.reshape(-1)[0])
        above = math.inf if clamp.high is None else max(clamp.high - shift, 0.0)
        return min(-shift, 0.0), above
