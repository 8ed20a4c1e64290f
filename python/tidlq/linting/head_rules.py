"""The first and the last convolutions, which gain most from 16 bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tidlq.graph.model import Graph
from tidlq.linting.findings import Finding, Rule, Severity

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "DeformConv"})
_DECIDING = frozenset({"Softmax", "LogSoftmax", "ArgMax", "ArgMin", "TopK"})
_AVERAGING = frozenset({"GlobalAveragePool", "AveragePool", "ReduceMean", "GlobalMaxPool"})
"""What lies before a pool has no single element of an output in its hands."""
_OPTION = "output_feature_16bit_names_list"


@dataclass(frozen=True)
class Ends:
    """Where a network begins and ends to multiply.

    Attributes:
        first: names of the weighted nodes that an input reaches first.
        last: names of the convolutions over a plane after which nothing is multiplied.
        regressing: outputs that such convolutions reach without softmax, argmax or top-k.
    """

    first: tuple[str, ...]
    last: tuple[str, ...]
    regressing: tuple[str, ...]


def find_ends(graph: Graph) -> Ends:
    """The first and the last weighted nodes of a network."""
    first: dict[str, None] = {}
    for value in graph.model.graph.inputs:
        for node in _forward(value):
            if node.op_type in _WEIGHTED:
                first[node.name or ""] = None
    last: dict[str, None] = {}
    regressing = []
    for value in graph.model.graph.outputs:
        found, is_decided = _backward(graph, value)
        last |= dict.fromkeys(found)
        if found and not is_decided:
            regressing.append(value.name or "")
    order = [node.name or "" for node in graph.nodes]
    return Ends(
        tuple(name for name in order if name in first),
        tuple(name for name in order if name in last),
        tuple(regressing),
    )


def find_heads(ends: Ends) -> Iterator[Finding]:
    """A network that ends in convolutions over a plane: what to give 16 bits first."""
    names = tuple(dict.fromkeys((*ends.first, *ends.last)))
    if not ends.last or any("," in name for name in names):
        return
    option = f"{_OPTION}={','.join(names)}"
    if ends.regressing:
        yield Finding(
            Rule.REGRESSION_HEAD,
            Severity.HINT,
            names,
            f"convolutions write {_listed(ends.regressing)} without softmax or argmax, as boxes, "
            "depth and key points are written: these need precision; where 8 bits cost accuracy, "
            "give 16 to the first and last convolutions.",
            option,
        )
    else:
        yield Finding(
            Rule.LAST_CONVOLUTION,
            Severity.HINT,
            names,
            "where 8 bits cost accuracy, give 16 to the first and last convolutions.",
            option,
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    more = len(names) - 3
    return f"output{'s' if len(names) > 1 else ''} {shown}" + (f" and {more} more" * (more > 0))


def _forward(value: ir.Value) -> Iterator[ir.Node]:
    """Nodes behind a value, up to the first weighted ones."""
    seen: set[ir.Node] = set()
    waiting = [use.node for use in value.uses()]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if node.op_type not in _WEIGHTED:
            waiting += [use.node for output in node.outputs for use in output.uses()]


def _backward(graph: Graph, value: ir.Value) -> tuple[list[str], bool]:
    """Convolutions over a plane that a value comes from, and whether a decision lies between."""
    seen: set[ir.Node] = set()
    found: list[str] = []
    is_decided = False
    waiting = [value.producer()]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        is_decided |= node.op_type in _DECIDING
        if node.op_type in _WEIGHTED:
            shape = graph.shape(node.outputs[0].name or "") or ()
            if node.op_type in ("Conv", "ConvTranspose") and math.prod(shape[2:]) > 1:
                found.append(node.name or "")
            continue
        if node.op_type not in _AVERAGING:
            waiting += [item.producer() for item in node.inputs if item is not None]
    return found, is_decided
