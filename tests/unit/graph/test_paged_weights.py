"""Networks whose weights lie in a file are the networks that they were."""

from __future__ import annotations

import tempfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tidlq.calibration import FloatFeatures
from tidlq.graph.model import Graph
from tidlq.graph.paged_weights import with_paged_weights
from tidlq.importers.model import import_model
from tidlq.paging import LEAST_PAGED

CHANNELS = 1 << 11
X = np.linspace(-1, 1, CHANNELS, dtype=np.float32).reshape(1, CHANNELS, 1, 1)


def large_network() -> Graph:
    """One with as much weight as is paged."""
    return network(CHANNELS)


def network(channels: int) -> Graph:
    """Two convolutions, the second one with few weights."""
    random = np.random.default_rng(1)
    weights = {
        "w0": random.normal(0, 0.02, (channels, CHANNELS, 1, 1)).astype(np.float32),
        "w1": random.normal(0, 0.02, (4, channels, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "w1"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", X.shape), ("y", (1, 4, 1, 1)))
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "large", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return import_model(onnx.ModelProto.FromString(model.SerializeToString()))


def features(graph: Graph) -> dict[str, np.ndarray]:
    return FloatFeatures(graph, ["h", "y"], threads=1).run({"x": X})


@pytest.fixture(scope="module")
def plain() -> dict[str, np.ndarray]:
    """Features of the network in memory."""
    return features(large_network())


def test_paged_weights_leave_the_fingerprint_as_it_is():
    graph = large_network()
    paged = with_paged_weights(graph)
    assert len(paged.pages) == 1
    assert sum(x.nbytes for x in paged.pages[0].arrays.values()) >= LEAST_PAGED
    assert paged.fingerprint == large_network().fingerprint


def test_weights_are_paged_once():
    paged = with_paged_weights(large_network())
    assert with_paged_weights(paged).pages == paged.pages


def test_features_of_a_paged_network_are_the_same_bits(plain):
    paged = with_paged_weights(large_network())
    paged.rest_weights()
    found = features(paged)
    assert all(np.array_equal(found[name], plain[name]) for name in plain)


def test_a_float_session_leaves_no_file_behind(tmp_path, monkeypatch):
    paged = with_paged_weights(large_network())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    features(paged)
    assert list(tmp_path.iterdir()) == []


def test_without_room_for_files_the_float_session_is_opened_from_memory(monkeypatch, plain):
    paged = with_paged_weights(large_network())

    def refuse(**_options: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    found = features(paged)
    assert all(np.array_equal(found[name], plain[name]) for name in plain)


def test_small_networks_stay_in_memory():
    small = network(CHANNELS // 2)
    assert with_paged_weights(small) is small
