"""Which branch of a network each element of an output comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.float_runtime import open_float_session
from tidlq.graph.layers import FloatNode
from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage, StageKind
from tidlq.lowering.island import build_island

_MOVING = frozenset(
    {"Concat", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def output_branches(graph: Graph, output: str) -> NDArray[np.intp] | None:
    """The number of the branch that each element of an output comes from.

    Branches are what a concat at the end of the network joins, such as the boxes and the scores of
    a detection head. The nodes behind them only move elements, so they are run on numbers.

    Args:
        graph: the canonical Graph.
        output: of the network.

    Returns:
        Branch numbers from 0 on, of the output's shape; None where there is one branch, or where
        the shapes depend on the data.
    """
    nodes, branches = _way_back(graph, output)
    shapes = {name: graph.shape(name) for name in branches}
    sizes = {name: shape for name, shape in shapes.items() if shape is not None}
    is_computed = all(graph.constant(name) is None for name in branches)
    if len(branches) < 2 or len(sizes) < len(shapes) or not is_computed:
        return None
    stage = Stage(
        StageKind.FLOAT,
        float_nodes=tuple(_float_node(node) for node in nodes),
        inputs=tuple(branches),
        outputs=(output,),
    )
    numbers = {
        name: np.full(sizes[name], number, _dtype(graph.values[name]))
        for number, name in enumerate(branches)
    }
    session = open_float_session(build_island(graph, stage, "branches").SerializeToString())
    (labels,) = session.run([output], numbers)
    return np.asarray(labels).astype(np.intp)


def _way_back(graph: Graph, output: str) -> tuple[list[ir.Node], Mapping[str, None]]:
    """The moving nodes behind the branches of an output, and the branches in their order."""
    nodes: list[ir.Node] = []
    branches: dict[str, None] = {}
    pending, seen = [graph.values[output]], {output}
    while pending:
        value = pending.pop()
        node = value.producer()
        if node is None or not _moves(graph, node):
            branches[str(value.name)] = None
            continue
        nodes.append(node)
        for source in reversed(_sources(node)):
            if source is not None and source.name not in seen:
                seen.add(str(source.name))
                pending.append(source)
    return nodes, branches


def _sources(node: ir.Node) -> Sequence[ir.Value | None]:
    """What a moving node takes elements from; its other inputs say where they go."""
    return node.inputs if node.op_type == "Concat" else node.inputs[:1]


def _moves(graph: Graph, node: ir.Node) -> bool:
    others = [value for value in node.inputs if value is not None and value not in _sources(node)]
    is_fixed = all(graph.constant(str(value.name)) is not None for value in others)
    return node.op_type in _MOVING and not node.domain and is_fixed


def _dtype(value: ir.Value) -> np.dtype[np.generic]:
    return np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()


def _float_node(node: ir.Node) -> FloatNode:
    inputs = tuple(str(value.name) for value in node.inputs if value is not None)
    outputs = tuple(str(value.name) for value in node.outputs)
    return FloatNode(str(node.name), node.op_type, inputs, outputs, "moves elements")
