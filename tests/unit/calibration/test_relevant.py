"""Intervals beyond which readers tell no difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.small_networks import SmallNetwork, parts_of

import tidlq
from tidlq.calibration.relevant import find_relevant_ranges
from tidlq.spec import Range, RangeOrigin

LARGEST = 2.0**127


def relevant(net: SmallNetwork, *outputs: str) -> dict[str, tuple[float, float]]:
    graph = net.graph(*outputs)
    found = find_relevant_ranges(graph, parts_of(graph).layers)
    return {name: (known.min, known.max) for name, known in found.items()}


def network() -> tuple[SmallNetwork, str]:
    net = SmallNetwork()
    return net, net.conv(net.input(1, 2, 4, 4), (3, 2, 1, 1), name="conv")


def test_a_sigmoid_alone_leaves_a_narrow_interval():
    net, x = network()
    assert relevant(net, net.node("Sigmoid", x)) == {x: (-6.25, 6.25)}


def test_a_swish_matters_upwards_without_end():
    net, x = network()
    y = net.node("Mul", x, net.node("Sigmoid", x))
    found = relevant(net, y)
    assert found[x] == (-8.0, LARGEST)


def test_what_another_layer_reads_as_well_matters_everywhere():
    net, x = network()
    gate = net.node("Mul", x, net.node("Sigmoid", x))
    assert relevant(net, net.node("Add", gate, x)) == {}


def test_a_gate_on_another_tensor_is_no_swish():
    net, x = network()
    other = net.conv(x, (3, 3, 1, 1))
    found = relevant(net, net.node("Mul", other, net.node("Sigmoid", x)))
    assert other not in found


def test_a_product_beside_a_swish_reads_everything():
    net, x = network()
    swish = net.node("Mul", x, net.node("Sigmoid", x))
    other = net.conv(swish, (3, 3, 1, 1))
    assert x not in relevant(net, net.node("Mul", x, other))


def test_an_output_of_the_network_matters_everywhere():
    net, x = network()
    assert relevant(net, net.node("Sigmoid", x), x) == {}


@pytest.mark.parametrize("function", ["Relu", "LeakyRelu"])
def test_other_functions_matter_everywhere(function):
    net, x = network()
    assert relevant(net, net.node(function, x)) == {}


def test_a_searched_range_ends_where_a_swish_is_flat():
    net, x = network()
    model = net.model(net.node("Mul", x, net.node("Sigmoid", x)))
    rng = np.random.default_rng(3)
    frames = [{"input0": rng.normal(scale=60, size=(1, 2, 4, 4)).astype(np.float32)}] * 5
    compiled = tidlq.compile(model, frames, {"quantization_scale_type": 4})
    known = compiled.ranges.features[x]
    assert (known.min, known.origin) == (-8.0, RangeOrigin.MEASURED)
    extremes = tidlq.compile(model, frames, {"quantization_scale_type": 4, "accuracy_level": 2})
    assert extremes.ranges.features[x].min < -8.0
    assert isinstance(known, Range)
    assert math.isfinite(known.max)
