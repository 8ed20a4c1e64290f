"""Small networks with statements, as an importer leaves them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from small_networks import SmallNetwork
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    Requantization,
    StatedParameter,
    StatedQuantization,
)

U8, S8 = IntegerType(8, signed=False), IntegerType(8, signed=True)
STEP = 1 / 64


def stated_chain(
    layers: int = 3,
    *,
    zero_point: int = 3,
    weight_zero_point: int = 0,
    requantization: Requantization = Requantization.FLOAT,
) -> Graph:
    """Convolutions `conv0`, `conv1` ... one behind the other, everything stated.

    Args:
        layers: how many.
        zero_point: of every feature map.
        weight_zero_point: of every weight; another one makes them unsigned.
        requantization: the arithmetic that is stated.
    """
    net = SmallNetwork(opset=17)
    draw = np.random.default_rng(0)
    names = [net.input(1, 2, 4, 4)]
    parameters = {}
    for index in range(layers):
        weight = net.constant(draw.integers(-7, 8, (2, 2, 1, 1)) * STEP, f"w{index}")
        names.append(net.node("Conv", names[-1], weight, name=f"conv{index}"))
        stored = U8 if weight_zero_point else S8
        parameters[weight] = StatedParameter(stored, (STEP,), (weight_zero_point,))
    graph = import_onnx(net.model(names[-1]))
    features = {
        name: FeatureQuant(U8, float(np.float32(0.02 * (1 + place))), zero_point)
        for place, name in enumerate(names)
    }
    stated = StatedQuantization(features, parameters, {}, requantization)
    return replace(graph, stated=stated)


def output_of(graph: Graph, node: str) -> str:
    """The feature map that a node writes."""
    (name,) = (x.outputs[0].name for x in graph.nodes if x.name == node)
    assert name is not None
    return name


def without(graph: Graph, *names: str) -> Graph:
    """The Graph without the statements about these feature maps and constants."""
    assert graph.stated is not None
    features = {n: quant for n, quant in graph.stated.features.items() if n not in names}
    parameters = {n: stored for n, stored in graph.stated.parameters.items() if n not in names}
    stated = replace(graph.stated, features=features, parameters=parameters)
    return replace(graph, stated=stated)
