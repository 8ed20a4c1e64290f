"""What a bundle's model says in its metadata."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_networks import SmallNetwork
from tidlq.errors import ModelError
from tidlq.importers.bundle_facts import BundleFacts
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import ChannelRanges

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
PAIRS = st.lists(st.tuples(FLOATS, FLOATS).map(sorted), max_size=5)


def ranges_of(pairs: list[list[float]]) -> ChannelRanges:
    array = np.array(pairs, np.float32).reshape(-1, 2)
    return ChannelRanges(array[:, 0], array[:, 1])


def model() -> onnx.ModelProto:
    net = SmallNetwork(0)
    return net.model(net.node("Relu", net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3))))


def with_properties(properties: dict[str, str]) -> onnx.ModelProto:
    found = model()
    onnx.helper.set_model_props(found, properties)
    return found


@given(st.text(max_size=8), st.dictionaries(st.text(max_size=8), PAIRS, max_size=3))
def test_facts_read_back_equal(batch: str, tables: dict[str, list[list[float]]]) -> None:
    # Protobuf strings hold no lone surrogates.
    batch = batch.encode(errors="ignore").decode()
    facts = BundleFacts(batch, {name: ranges_of(pairs) for name, pairs in tables.items()})
    assert BundleFacts.of_model(with_properties(facts.to_properties())) == facts


def test_a_model_without_facts_has_none() -> None:
    assert BundleFacts.of_model(model()) == BundleFacts()
    assert BundleFacts().to_properties() == {}


def test_the_batch_is_free_again() -> None:
    graph = import_onnx(with_properties({"tidlq.batch": "n"}))
    assert graph.free_batch
    assert graph.inputs[0].interface_shape == ("n", 3, 8, 8)
    assert graph.inputs[0].shape == (1, 3, 8, 8)
    assert not import_onnx(model()).free_batch


def test_a_batch_that_was_edited_to_another_size_stays_fixed() -> None:
    edited = with_properties({"tidlq.batch": "n"})
    for info in (*edited.graph.input, *edited.graph.output):
        info.type.tensor_type.shape.dim[0].dim_value = 2
    assert not import_onnx(edited).free_batch


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", '{"a": 3}', '{"a": [[1], [2], [3]]}', '{"a": [[1, 2], [3]]}',
        '{"a": [[2], [1]]}', '{"a": [["x"], [1]]}', '{"a": [[NaN], [1]]}',
        '{"a": [[1e99], [1e99]]}', '{"a": [[[1]], [[2]]]}', json.dumps({"a": [[1], [10**400]]}),
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_no_bundle_has_is_one_sentence(text: str) -> None:
    with pytest.raises(ModelError, match=r"metadata 'tidlq.channel_ranges' is .*not what tidlq"):
        import_onnx(with_properties({"tidlq.channel_ranges": text}))
