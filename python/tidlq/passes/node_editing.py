"""Editing a graph without losing a name: new constants, fresh names, nodes bypassed or absorbed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.node_reading import input_at, nested_graphs
from tidlq.passes.stated import state_bias, state_feature, state_parameter, stated_feature


class FreshNames:
    """Names of tensors and nodes that do not clash with any in a graph or its nested graphs."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken: set[str] = set()
        self._reserve(graph)

    def _reserve(self, graph: ir.Graph) -> None:
        self._taken.update(graph.initializers, _names(graph.inputs))
        for node in graph:
            self._taken.update(_names(node.outputs), (node.name or "",))
            for nested in nested_graphs(node):
                self._reserve(nested)

    def take(self, base: str) -> str:
        """Returns `base`, or `base_1`, `base_2` ... where it is taken, and reserves it."""
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name


def _names(values: Iterable[ir.Value]) -> list[str]:
    return [value.name for value in values if value.name]


def add_constant(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Registers an array as a constant under a name that is not in use."""
    tensor = ir.Tensor(array, name=name)
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def replace_by_constant(graph: ir.Graph, value: ir.Value, array: NDArray[np.generic]) -> ir.Value:
    """Makes a node's output a constant of the same name and returns it.

    A node without other outputs is removed; otherwise it stays, and loses this one.
    """
    name, node = value.name, value.producer()
    assert name is not None
    assert node is not None
    value.name = None if len(node.outputs) == 1 else ""
    constant = add_constant(graph, name, np.ascontiguousarray(array).reshape(array.shape))
    value.replace_all_uses_with(constant)
    if len(node.outputs) == 1:
        graph.remove(node, safe=True)
    return constant


def replace_constant(
    node: ir.Node, index: int, array: NDArray[np.generic], names: FreshNames, suffix: str
) -> ir.Value:
    """Gives a node other values for a constant input, and returns the constant.

    The constant keeps its name when this node alone reads it; otherwise the others keep it and
    the node reads a new one, named after itself. What it stated is withdrawn.
    """
    value = input_at(node, index)
    graph = node.graph
    assert graph is not None
    if value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        value.const_value = ir.Tensor(array, name=value.name)
        value.shape = ir.Shape(array.shape)
        state_parameter(value, None)
        state_bias(value, None)
        return value
    name = names.take(f"{node.name or node.outputs[0].name}_{suffix}")
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    constant = add_constant(graph, name, array)
    node.replace_input_with(index, constant)
    return constant


def bypass(node: ir.Node, kept: ir.Value) -> bool:
    """Removes a node whose first output equals `kept`; returns False where that is not possible.

    A graph output keeps its name, so the node goes only when `kept` may take that name. Two tensors
    that are stated to be quantized differently stay two, and so do a quantized one and a float one
    that others read.
    """
    output = node.outputs[0]
    graph = node.graph
    assert graph is not None
    stated = stated_feature(output)
    if stated is not None and stated_feature(kept) not in (None, stated):
        return False
    if stated is not None and stated_feature(kept) is None and len(kept.uses()) > 1:
        return False
    if output.is_graph_output():
        bound = kept.is_graph_input() or kept.is_graph_output() or kept.is_initializer()
        if bound or kept.producer() is None or kept.graph is not graph:
            return False
        name = output.name
        kept.type = kept.type or output.type
        output.replace_all_uses_with(kept, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        kept.name = name
    else:
        output.replace_all_uses_with(kept)
        graph.remove(node, safe=True)
    if stated is not None:
        state_feature(kept, stated)
    return True


def absorb_next(node: ir.Node, following: ir.Node) -> None:
    """Lets a node write the output of the node that follows it, and removes that node.

    The node's own output, which ends here, must not be stated.
    """
    graph = node.graph
    assert graph is not None
    result = following.outputs[0]
    produced = node.outputs[0]
    assert stated_feature(produced) is None
    state_feature(produced, stated_feature(result))
    name, shape, dtype = result.name, result.shape, result.type
    result.replace_all_uses_with(produced, replace_graph_outputs=True)
    graph.remove(following, safe=True)
    produced.name = name
    produced.shape, produced.type = shape, dtype
