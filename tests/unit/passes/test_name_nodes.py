"""Names of nodes: the model's own where they are unique, else those of their first outputs."""

from __future__ import annotations

import onnx_ir as ir

from oracle.float_reference import text_model
from tidlq.passes.name_nodes import NameNodes


def names(given: list[str]) -> list[str | None]:
    body = " ".join(f"t{i + 1} = Relu(t{i})" for i in range(len(given)))
    model = ir.from_proto(text_model(f"g (float[2] t0) => (float[2] t{len(given)}) {{ {body} }}"))
    for node, name in zip(model.graph, given, strict=True):
        node.name = name
    NameNodes()(model)
    return [node.name for node in model.graph]


def test_unique_names_stay() -> None:
    assert names(["b", "a", "c"]) == ["b", "a", "c"]


def test_a_missing_name_is_the_first_output() -> None:
    assert names(["", "a", ""]) == ["t1", "a", "t3"]


def test_the_first_of_equal_names_keeps_it() -> None:
    assert names(["a", "a", "a"]) == ["a", "t2", "t3"]


def test_a_derived_name_yields_to_a_given_one() -> None:
    assert names(["", "t1", "t1_1", "t1"]) == ["t1_2", "t1", "t1_1", "t4"]


def test_naming_twice_changes_nothing() -> None:
    model = ir.from_proto(text_model("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }"))
    assert NameNodes()(model).modified
    assert not NameNodes()(model).modified
