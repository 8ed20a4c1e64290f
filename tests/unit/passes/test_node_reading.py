"""What the passes read off a graph."""

from __future__ import annotations

import onnx_ir as ir

from oracle.float_reference import text_model
from tidlq.passes.node_reading import is_sorted, nested_graphs

CHAIN = "g (float[2] x) => (float[2] y) { a = Neg(x) y = Abs(a) }"
BRANCHES = """g (bool c, float[2] x) => (float[2] y) {
    y = If(c) <then_branch = t () => (float[2] p) { p = Neg(x) },
              else_branch = e () => (float[2] q) { q = Abs(x) }>
}"""


def test_a_chain_in_order_is_sorted_and_reversed_is_not() -> None:
    proto = text_model(CHAIN)
    assert is_sorted(ir.from_proto(proto).graph)
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    assert not is_sorted(ir.from_proto(proto).graph)


def test_a_graph_with_nested_graphs_does_not_count_as_sorted() -> None:
    graph = ir.from_proto(text_model(BRANCHES)).graph
    assert [nested.name for nested in nested_graphs(graph[0])] == ["t", "e"]
    assert not is_sorted(graph)
