"""Float islands, with roundings between their nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from small_networks import SmallNetwork, random_frame
from tidlq.float_runtime import open_float_session
from tidlq.graph.partition import StageKind, partition
from tidlq.graph.recognition import find_layers
from tidlq.lowering.island import build_island, keeps_layout
from tidlq.spec import FeatureQuant, IntegerType, StatedQuantization


def test_operators_without_weights_run_in_integer_kernels() -> None:
    net = SmallNetwork()
    left, right = net.input(1, 5, 7), net.input(1, 7, 6)
    product = net.node("MatMul", left, right, name="product")
    graph = net.graph(net.node("Softmax", product, axis=-1, name="share"))
    (stage,) = partition(graph, find_layers(graph, dict.fromkeys(("product", "share"), ""))).stages
    byte = IntegerType(8, signed=False)
    rounded = {
        left: FeatureQuant(byte, 0.02, 120),
        right: FeatureQuant(byte, 0.03, 130),
        "product_out": FeatureQuant(byte, 0.05, 128),
        "share_out": FeatureQuant(byte, float(np.float32(1 / 255))),
    }
    island = build_island(graph, stage, "island", rounded).SerializeToString()
    session = open_float_session(island)
    # The integer kernel for a Softmax takes 1 for 254 steps.
    largest = max(
        float(session.run(["share_out"], random_frame(graph, seed, 60.0))[0].max())
        for seed in range(4)
    )
    assert round(largest * 255) == 254


@pytest.mark.parametrize("bits", [8, 16])
def test_float_weights_between_roundings_stay_float(bits: int) -> None:
    net = SmallNetwork()
    first = net.node("Relu", net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3)), name="relu")
    graph = net.graph(net.conv(first, (2, 4, 3, 3), name="last"))
    table = find_layers(graph, {node.name or "": "denied" for node in graph.nodes})
    (stage,) = partition(graph, table).stages
    assert stage.kind is StageKind.FLOAT
    rounded = {
        "relu_out": FeatureQuant(IntegerType(bits, signed=False), 2.0 ** (4 - bits)),
        "last_out": FeatureQuant(IntegerType(bits, signed=True), 2.0 ** (7 - bits)),
    }
    island = build_island(graph, stage, "island", rounded).SerializeToString()
    frame = random_frame(graph, 0)
    optimized, plain = (
        open_float_session(island, is_optimized=flag).run(["last_out"], frame)[0]
        for flag in (True, False)
    )
    steps = np.abs(optimized - plain) / rounded["last_out"].scale
    # The order of sums may turn a rounding, but nothing is rounded that was not to be.
    assert np.mean(steps == 0) > (0.99 if bits == 8 else 0.9)
    assert steps.max() <= 1
    assert np.array_equal(plain / rounded["last_out"].scale % 1, np.zeros_like(plain))


@pytest.mark.parametrize("is_stated", [True, False])
def test_only_convolutions_that_the_model_quantizes_in_part_keep_the_plain_layout(
    is_stated: bool,
) -> None:
    net = SmallNetwork()
    graph = net.graph(net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3), name="conv"))
    (stage,) = partition(graph, find_layers(graph, {"conv": "denied"})).stages
    source = graph.inputs[0].name if is_stated else "elsewhere"
    features = {source: FeatureQuant(IntegerType(8, signed=True), 0.5)}
    stated = StatedQuantization(features, {}, {})
    assert keeps_layout(replace(graph, stated=stated), stage) == is_stated
    assert not keeps_layout(graph, stage)
