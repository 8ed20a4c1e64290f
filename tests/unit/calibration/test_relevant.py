"""Intervals beyond which readers tell no difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.small_networks import SmallNetwork, parts_of

import tidlq
from tidlq.calibration.relevant import find_possible_ranges, find_relevant_ranges
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


def hard_swish(net: SmallNetwork, x: str) -> str:
    gate = net.clip(net.node("Add", x, net.constant(3.0)), 0, 6)
    return net.node("Div", net.node("Mul", gate, x), net.constant(6.0))


def hard_sigmoid_gate(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", x, net.node("HardSigmoid", x, alpha=0.25, beta=0.5))


@pytest.mark.parametrize(
    ("swish", "low"), [(hard_swish, -3.0), (hard_sigmoid_gate, -2.0)], ids=["clip", "hard sigmoid"]
)
def test_a_hard_gate_is_closed_from_a_point_on(swish, low):
    net, x = network()
    assert relevant(net, swish(net, x))[x] == (low, LARGEST)


def test_16_bits_tell_more_of_a_sigmoid_and_of_a_swish():
    net, x = network()
    graph = net.graph(net.node("Mul", x, net.node("Sigmoid", x)))
    found = find_relevant_ranges(graph, parts_of(graph).layers, 16)
    assert found[x].min == -16.0
    net, x = network()
    graph = net.graph(net.node("Sigmoid", x))
    found = find_relevant_ranges(graph, parts_of(graph).layers, 16)
    assert (found[x].min, found[x].max) == (-11.75, 11.75)


def test_with_gains_in_front_of_a_gate_every_channel_has_an_end_of_its_own():
    net, x = network()
    names = [net.constant(values) for values in ([0.5, 2.0, 1.0], [0] * 3, [0] * 3, [1] * 3)]
    gained = net.node("BatchNormalization", x, *names, epsilon=0.0)
    graph = net.graph(net.node("Mul", x, net.node("Sigmoid", gained)))
    layers = parts_of(graph).layers
    found = find_relevant_ranges(graph, layers)
    assert (found[x].min, found[gained].min) == (-16.0, -8.0)
    assert found[x].max == LARGEST
    seen = {x: np.array([-3.0, -50.0, -5.0], np.float32)}
    assert find_relevant_ranges(graph, layers, channel_minima=seen)[x].min == -5.0


@pytest.mark.parametrize(
    ("gate", "ends"),
    [
        (lambda net, x: net.node("Sigmoid", x), (-8.0, 12.0)),
        (lambda net, x: net.node("HardSigmoid", x, alpha=0.25, beta=0.5), (-2.0, 2.0)),
        (lambda net, x: net.clip(net.node("Add", x, net.constant(3.0)), 0, 6), (-3.0, 3.0)),
    ],
    ids=["sigmoid", "hard sigmoid", "clip"],
)
def test_what_only_a_gate_reads_matters_until_the_gate_is_open(gate, ends):
    net, x = network()
    names = [net.constant(values) for values in ([0.5, 2.0, 1.0], [0] * 3, [0] * 3, [1] * 3)]
    gained = net.node("BatchNormalization", x, *names, epsilon=0.0)
    graph = net.graph(net.node("Mul", x, gate(net, gained)))
    layers = parts_of(graph).layers
    found = find_relevant_ranges(graph, layers)[gained]
    assert (found.min, found.max) == ends
    assert find_relevant_ranges(graph, layers, 16)[gained].max == LARGEST


def test_gains_that_another_layer_reads_leave_everything_relevant():
    net, x = network()
    gained = net.batch_norm(x, 3)
    y = net.node("Mul", x, net.node("Sigmoid", gained))
    assert x not in relevant(net, net.node("Add", y, gained))


@pytest.mark.parametrize(
    ("function", "bounds"), [("Sigmoid", (0, 1)), ("HardSigmoid", (0, 1)), ("Tanh", (-1, 1))]
)
def test_a_bounded_function_never_leaves_its_bounds(function, bounds):
    net, x = network()
    y = net.node(function, x)
    found = find_possible_ranges(parts_of(net.graph(y)).layers)
    assert {name: (known.min, known.max) for name, known in found.items()} == {y: bounds}


def test_16_bit_ranges_are_not_widened_beyond_what_a_function_can_give():
    net, x = network()
    y = net.node("Sigmoid", x)
    model = net.model(net.conv(y, (2, 3, 1, 1)))
    rng = np.random.default_rng(3)
    frames = [{"input0": rng.normal(scale=9, size=(1, 2, 4, 4)).astype(np.float32)}] * 5
    compiled = tidlq.compile(model, frames, {"quantization_scale_type": 4, "tensor_bits": 16})
    assert compiled.ranges.features[y].max == 1.0


def test_a_searched_range_ends_where_a_swish_is_flat():
    net, x = network()
    model = net.model(net.node("Mul", x, net.node("Sigmoid", x)))
    rng = np.random.default_rng(3)
    frames = [{"input0": rng.normal(scale=60, size=(1, 2, 4, 4)).astype(np.float32)}] * 5
    compiled = tidlq.compile(model, frames, {"quantization_scale_type": 4})
    known = compiled.ranges.features[x]
    assert (known.min, known.origin) == (-16.0, RangeOrigin.MEASURED)
    extremes = tidlq.compile(model, frames, {"quantization_scale_type": 4, "accuracy_level": 2})
    assert extremes.ranges.features[x].min < -16.0
    assert isinstance(known, Range)
    assert math.isfinite(known.max)
