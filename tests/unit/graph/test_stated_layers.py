"""Layers of a pre-quantized model end where the model states a tensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oracle.float_reference import text_model
from tidlq.graph.layers import Clamp, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureQuant, IntegerType, StatedQuantization

UINT8 = FeatureQuant(IntegerType(8, signed=False), 0.5, 10)
OTHER = FeatureQuant(IntegerType(8, signed=False), 0.25, 10)
CLAMPED = """g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y)
    { c = Conv(x, w) y = Clip(c, low, high) }"""
CONSTANTS = {
    "w": np.ones((4, 3, 1, 1), np.float32),
    "low": np.float32(0.1).reshape(()),
    "high": np.float32(6).reshape(()),
}


def layers(graph: Graph, **features: FeatureQuant) -> tuple[Layer, ...]:
    stated = StatedQuantization(features, {}, {}) if features else None
    return find_layers(replace(graph, stated=stated)).layers


def kinds(graph: Graph, **features: FeatureQuant) -> list[LayerKind]:
    return [layer.kind for layer in layers(graph, **features)]


CONV, CLAMP = LayerKind.CONVOLUTION, LayerKind.CLAMP


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({}, [CONV]),
        ({"x": UINT8, "y": UINT8}, [CONV]),
        ({"c": UINT8, "y": UINT8}, [CONV]),
        ({"c": UINT8, "y": OTHER}, [CONV, CLAMP]),
        ({"c": UINT8}, [CONV, CLAMP]),
    ],
)
def test_a_clamp_joins_a_layer_only_where_the_integers_are_the_same(
    features: dict[str, FeatureQuant], expected: list[LayerKind]
) -> None:
    graph = import_onnx(text_model(CLAMPED, CONSTANTS))
    assert kinds(graph, **features) == expected


def test_the_joined_clamp_gives_the_same_integers() -> None:
    # What the layer computes, rounded and then clamped, against clamped and rounded at once.
    clamp = Clamp(0.1, 6.0)
    steps = np.arange(-40, 60) / 8
    assert clamp.low is not None
    assert clamp.high is not None
    for value in steps:
        q = UINT8.quantize(float(value))
        real = UINT8.scale * (q - UINT8.zero_point)
        apart = UINT8.quantize(min(max(real, clamp.low), clamp.high))
        joined = min(max(q, UINT8.quantize(clamp.low)), UINT8.quantize(clamp.high))
        assert apart == joined


def test_a_bias_behind_a_stated_product_is_a_sum() -> None:
    text = """g (float[1, 2, 3] x) => (float[1, 2, 5] y) { m = MatMul(x, w) y = Add(m, b) }"""
    arrays = {"w": np.ones((3, 5), np.float32), "b": np.ones(5, np.float32)}
    graph = import_onnx(text_model(text, arrays))
    assert kinds(graph) == [LayerKind.INNER_PRODUCT]
    stated = kinds(graph, m=UINT8, y=UINT8)
    assert stated == [LayerKind.INNER_PRODUCT, LayerKind.SUM]


def test_an_identity_between_stated_tensors_requantizes() -> None:
    graph = import_onnx(text_model("g (float[1, 4] x) => (float[1, 4] y) { y = Identity(x) }"))
    assert kinds(graph) == []
    (layer,) = layers(graph, x=UINT8, y=OTHER)
    assert layer.kind is LayerKind.CLAMP
    assert layer.clamp is None
    assert find_layers(graph).float_nodes[0].reason == "it changes nothing"
