"""The metadata of our own exports."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import ModelError
from tidlq.importers.export_facts import ExportFacts
from tidlq.spec import FeatureQuant, IntegerType, Requantization, StatedQuantization

NAMES = st.text(max_size=8)


@st.composite
def quants(draw: st.DrawFn) -> FeatureQuant:
    type_ = IntegerType(draw(st.sampled_from((8, 16))), draw(st.booleans()))
    scale = draw(st.floats(2.0**-100, 2.0**100, width=32))
    return FeatureQuant(type_, scale, draw(st.integers(type_.lowest, type_.highest)))


@given(
    st.builds(
        ExportFacts,
        st.sampled_from(Requantization),
        st.dictionaries(NAMES, quants()),
        st.frozensets(NAMES),
        st.frozensets(NAMES),
    )
)
def test_facts_survive_a_model_s_metadata(facts: ExportFacts) -> None:
    assert ExportFacts.from_properties(facts.to_properties("any scheme")) == facts


def test_metadata_of_others_are_none_of_ours() -> None:
    assert ExportFacts.from_properties({"author": "somebody"}) is None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("tidlq.requantization", "wild"),
        ("tidlq.features", "{"),
        ("tidlq.features", "[]"),
        ("tidlq.features", '{"x": ["uint8", 0.5]}'),
        ("tidlq.features", '{"x": ["float32", 0.5, 0]}'),
        ("tidlq.features", '{"x": ["uint8", 0.5, 256]}'),
        ("tidlq.features", '{"x": ["uint8", -0.5, 0]}'),
        ("tidlq.features", '{"x": ["uint8", Infinity, 0]}'),
        ("tidlq.features", '{"x": ["uint8", [], 0]}'),
        ("tidlq.unrounded", "{}"),
        ("tidlq.float_nodes", "[1]"),
        ("tidlq.float_nodes", "[" * 100_000),
    ],
)
def test_damaged_metadata_are_refused_by_key(key: str, text: str) -> None:
    properties = {"tidlq.requantization": "shift", key: text}
    with pytest.raises(ModelError, match=f"metadata '{key}' is") as caught:
        ExportFacts.from_properties(properties)
    assert len(str(caught.value)) < 200


def test_names_that_the_graph_does_not_have_are_ignored() -> None:
    quant = FeatureQuant(IntegerType(8, signed=True), 0.5)
    facts = ExportFacts(
        Requantization.FIXED, {"a": quant, "gone": quant}, frozenset({"a", "gone"}), {"n", "gone"}
    )
    stated = facts.apply(StatedQuantization({}, {}, {}), ["a", "b"], ["n"])
    assert stated.requantization is Requantization.FIXED
    assert dict(stated.features) == {"a": quant}
    assert stated.unrounded == {"a"}
    assert stated.float_nodes == {"n"}


def test_features_are_readable_text() -> None:
    quant = FeatureQuant(IntegerType(8, signed=False), 0.25, 3)
    properties = ExportFacts(Requantization.SHIFT, {"x": quant}).to_properties("type 1")
    assert json.loads(properties["tidlq.features"]) == {"x": ["uint8", 0.25, 3]}
    assert properties["tidlq.scheme"] == "type 1"
