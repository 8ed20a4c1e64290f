"""Regions of a Graph that compute a function of one variable, element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from tidlq.graph.element_functions import (
    Float64,
    error_function,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    sigmoid,
    softplus,
)
from tidlq.graph.layers import FunctionAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.recognition.elementwise import read_clamp
from tidlq.graph.recognition.reading import NodeReader, RefusedError

LARGEST_REGION = 12


def _clip(node: NodeReader, x: Float64) -> Float64:
    bounds = read_clamp(node)
    low = -np.inf if bounds.low is None else bounds.low
    high = np.inf if bounds.high is None else bounds.high
    return np.clip(x, low, high)


_UNARY: Mapping[str, Callable[[NodeReader, Float64], Float64]] = MappingProxyType(
    {
        "Sigmoid": lambda _, x: sigmoid(x),
        "HardSigmoid": lambda n, x: hard_sigmoid(x, n.real("alpha", 0.2), n.real("beta", 0.5)),
        "Tanh": lambda _, x: np.tanh(x),
        "Erf": lambda _, x: error_function(x),
        "Softplus": lambda _, x: softplus(x),
        "HardSwish": lambda _, x: hard_swish(x),
        "LeakyRelu": lambda n, x: leaky_relu(x, n.real("alpha", 0.01)),
        "Relu": _clip,
        "Clip": _clip,
    }
)
_BINARY: Mapping[str, Callable[[Float64, Float64], Float64]] = MappingProxyType(
    {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Pow": np.power,
    }
)


@dataclass(frozen=True)
class Region:
    """Nodes between a tensor and the output of the last of them.

    Attributes:
        source: the only tensor, constants aside, that they read from outside.
        nodes: in execution order.
    """

    source: str
    nodes: tuple[NodeReader, ...]

    def probe(self) -> Float64 | None:
        """What the region makes of `PROBES`; None where constants cannot be read."""
        try:
            return self._evaluate(PROBES)
        except RefusedError:
            return None

    def layer(self, attributes: FunctionAttributes) -> Layer:
        """The region as one layer, under the name of its last node.

        Raises:
            RefusedError: The engine does not take tensors of that type or shape.
        """
        last = self.nodes[-1]
        last.float_shape(self.source)
        return Layer(
            name=last.name,
            kind=LayerKind.FUNCTION,
            op_type=attributes.function,
            nodes=tuple(node.name for node in self.nodes),
            inputs=(self.source,),
            output=last.output(),
            attributes=attributes,
        )

    def _evaluate(self, x: Float64) -> Float64:
        known: dict[str, Float64] = {self.source: x}

        def operand(node: NodeReader, name: str) -> Float64:
            if name in known:
                return known[name]
            constant = node.graph.constant(name)
            assert constant is not None
            return np.asarray(constant, np.float64).reshape(-1)

        with np.errstate(all="ignore"):
            for node in self.nodes:
                unary = _UNARY.get(node.op_type)
                if unary is not None:
                    value = unary(node, operand(node, node.inputs[0]))
                else:
                    first, second = (operand(node, name) for name in node.inputs)
                    value = _BINARY[node.op_type](first, second)
                known[node.outputs[0]] = value
        return known[self.nodes[-1].outputs[0]]


def regions_ending_at(last: NodeReader) -> Iterator[Region]:
    """Ever larger regions that end at a node and read one tensor.

    No tensor inside is read from outside or is an output of the network, and every tensor has the
    shape of the region's output.
    """
    graph = last.graph
    nodes: list[NodeReader] = []
    frontier: dict[str, ir.Value] = {}
    taken = _take(graph, last.node, nodes, frontier)
    while taken and len(nodes) <= LARGEST_REGION:
        if len(frontier) == 1:
            (source,) = frontier
            yield Region(source, tuple(reversed(nodes)))
        latest = _latest(frontier, {node.node for node in nodes})
        if latest is None:
            return
        del frontier[latest.outputs[0].name or ""]
        taken = _take(graph, latest, nodes, frontier)


def _take(
    graph: Graph, node: ir.Node, nodes: list[NodeReader], frontier: dict[str, ir.Value]
) -> bool:
    """Adds a node to the region, if it computes element by element."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in {*_UNARY, *_BINARY}:
        return False
    reader = NodeReader(graph, node)
    shape = graph.shape(reader.outputs[0])
    count = 1 if reader.op_type in _UNARY else len(reader.inputs)
    for value in node.inputs[:count]:
        if value is None or not value.name:
            return False
        constant = graph.constant(value.name)
        if constant is not None:
            if constant.size != 1 or constant.dtype != np.float32:
                return False
        elif shape is None or graph.shape(value.name) != shape:
            return False
        else:
            frontier[value.name] = value
    nodes.append(reader)
    return True


def _latest(frontier: Mapping[str, ir.Value], inside: set[ir.Node]) -> ir.Node | None:
    """The node nearest to the region's end of those that write what it reads.

    It is one that nothing outside reads; where two are left, the one that reads the other's source
    comes later, so one whose readers all lie inside.
    """
    for value in frontier.values():
        node = value.producer()
        if node is None or value.is_graph_output() or len(node.outputs) != 1:
            continue
        if all(use.node in inside for use in value.uses()):
            return node
    return None


PROBES = np.concatenate([np.linspace(-20.0, 20.0, 81), np.linspace(-3.3, 3.3, 67)])
"""Values at which regions are compared with functions: float64 [n]."""

_TOLERANCE = 1e-6


def is_close(found: Float64, expected: Float64) -> bool:
    """Two functions agree at the probes, to within float32 constants."""
    return bool(np.all(np.abs(found - expected) <= _TOLERANCE * (1 + np.abs(expected))))
