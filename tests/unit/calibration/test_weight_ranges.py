"""Weight clipping narrows ranges, by what the inputs make of an error."""

from __future__ import annotations

import numpy as np
import pytest

from small_networks import SmallNetwork, parts_of
from tidlq._core import ChannelStatistics
from tidlq.calibration import clip_weights
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.scales import parameter_scales
from tidlq.spec import ParameterRole, Precision, RangeOrigin, Ranges, Scheme, parameter_name
from tidlq.target import Options, scheme_of

SCHEMES = [(0, False), (0, True), (1, False), (1, True), (4, True)]


def scheme_for(scale_type: int, channel_wise: bool) -> Scheme:
    options = Options(quantization_scale_type=scale_type, channel_wise_quantization=channel_wise)
    return scheme_of(options)


def statistics_of(values: np.ndarray, axis: int = 1) -> ChannelStatistics:
    statistics = ChannelStatistics(axis)
    statistics.update(np.ascontiguousarray(values, np.float32))
    return statistics


def with_outliers() -> tuple[Graph, dict[str, ChannelStatistics]]:
    """Layers whose largest weights meet inputs that are nearly constant."""
    net = SmallNetwork(0)
    x = net.input(1, 4, 8, 8)
    net.conv(x, (6, 4, 3, 3), name="conv")
    net.conv("conv_out", (6, 3, 3, 3), group=2, name="grouped")
    net.batch_norm("grouped_out", 6, name="norm")
    net.node("PRelu", "norm_out", net.random(6, 1, 1), name="prelu")
    net.node("Mul", "prelu_out", net.random(1, 6, 1, 1), name="operand")
    net.node("Flatten", net.node("GlobalAveragePool", "operand_out"), name="flat")
    last = net.node("MatMul", "flat_out", net.random(6, 9), name="product")
    weights = {node.name: net.constants[node.input[1]] for node in net.nodes if len(node.input) > 1}
    weights["conv"][:, 0] *= 8
    weights["grouped"][:, 1] *= 8
    weights["product"][2] *= 8
    rng = np.random.default_rng(1)
    small = {"input0": [0], "conv_out": [1, 4], "flat_out": [2]}
    seen: dict[str, ChannelStatistics] = {}
    for name, places in small.items():
        values = rng.normal(size=(64, 4 if name == "input0" else 6))
        values[:, places] *= 1e-4
        seen[name] = statistics_of(values if name == "flat_out" else values[..., None, None])
    return net.graph(last), seen


CLIPPED = {parameter_name(x, ParameterRole.WEIGHT) for x in ("conv", "grouped", "product")}


def clipped(
    graph: Graph,
    scheme: Scheme,
    statistics: dict[str, ChannelStatistics] | None = None,
    precision: Precision | None = None,
    *,
    has_bias_calibration: bool = True,
) -> tuple[Ranges, Ranges]:
    parts = parts_of(graph)
    own = measure_parameters(graph, parts.layers)
    found = clip_weights(
        graph,
        parts,
        own,
        statistics or {},
        scheme,
        precision or Precision(),
        has_bias_calibration=has_bias_calibration,
    )
    return own, found


@pytest.mark.parametrize(("scale_type", "channel_wise"), SCHEMES)
def test_ranges_of_weights_are_narrowed_and_all_others_stay(
    scale_type: int, channel_wise: bool
) -> None:
    graph, seen = with_outliers()
    own, found = clipped(graph, scheme_for(scale_type, channel_wise), seen)
    assert found.parameters.keys() == own.parameters.keys()
    assert found.channels.keys() == own.channels.keys()
    for name, before in own.parameters.items():
        after = found.parameters[name]
        if name not in CLIPPED:
            assert after == before
            continue
        assert before.min <= after.min <= after.max <= before.max
        assert after.absolute_max < before.absolute_max
        assert after.origin is RangeOrigin.MEASURED
    for name, channels in own.channels.items():
        if not channel_wise:
            assert found.channels[name] == channels
            continue
        for before, after in zip(channels, found.channels[name], strict=True):
            assert before.min <= after.min <= after.max <= before.max
        whole = found.parameters[name]
        assert whole.min == min(channel.min for channel in found.channels[name])
        assert whole.max == max(channel.max for channel in found.channels[name])


@pytest.mark.parametrize("channel_wise", [False, True])
def test_a_16_bit_weight_keeps_its_range(channel_wise: bool) -> None:
    graph, seen = with_outliers()
    precision = Precision(8, parameters={"conv": 16, "product": 16})
    own, found = clipped(graph, scheme_for(0, channel_wise), seen, precision)
    changed = {n for n, before in own.parameters.items() if found.parameters[n] != before}
    assert changed == {parameter_name("grouped", ParameterRole.WEIGHT)}
    changed = {n for n, before in own.channels.items() if found.channels[n] != before}
    assert changed == ({parameter_name("grouped", ParameterRole.WEIGHT)} if channel_wise else set())


def product_of(weight: np.ndarray) -> Graph:
    net = SmallNetwork()
    return net.graph(
        net.node("MatMul", net.input(1, len(weight)), net.constant(weight), name="product")
    )


def test_an_outlier_is_kept_where_its_input_is_large_and_left_out_where_it_is_small() -> None:
    rng = np.random.default_rng(3)
    weight = rng.uniform(-1, 1, size=(400, 1))
    weight[0] = 8
    graph, name = product_of(weight), parameter_name("product", ParameterRole.WEIGHT)
    scheme = scheme_for(4, True)
    for first, is_kept in ((30.0, True), (1e-3, False)):
        x = rng.normal(size=(64, 400)) * np.where(np.arange(400) == 0, first, 1.0)
        _, found = clipped(graph, scheme, {"input0": statistics_of(x, -1)})
        assert (found.parameters[name].max == 8) is is_kept
        assert is_kept or found.parameters[name].max < 1.5


def test_a_mean_counts_where_no_bias_takes_it_back() -> None:
    rng = np.random.default_rng(3)
    weight = rng.uniform(-1, 1, size=(400, 1))
    weight[0] = 4
    graph, name = product_of(weight), parameter_name("product", ParameterRole.WEIGHT)
    x = rng.normal(size=(64, 400))
    x[:, 0] = 0.4 + 1e-3 * x[:, 0]
    seen = {"input0": statistics_of(x, -1)}
    kept = {
        has_bias: clipped(graph, scheme_for(4, True), seen, has_bias_calibration=has_bias)[1]
        for has_bias in (False, True)
    }
    assert kept[False].parameters[name].max == 4
    assert kept[True].parameters[name].max < 4


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_moments_meet_the_input_channels_of_their_group(groups: int) -> None:
    net = SmallNetwork(4)
    last = net.conv(net.input(1, 6, 5, 5), (6, 6 // groups, 3, 3), group=groups, name="conv")
    net.constants["c0"] = np.sign(net.constants["c0"]) * np.abs(net.constants["c0"]) ** 4
    graph = net.graph(last)
    x = np.random.default_rng(1).normal(size=(8, 6, 5, 5)) * np.exp2(np.arange(6.0) - 3).reshape(
        -1, 1, 1
    )
    seen = statistics_of(x)
    _, found = clipped(graph, scheme_for(4, True), {"input0": seen}, has_bias_calibration=False)
    weight = layer_parameters(graph, parts_of(graph).layers[0]).weight.astype(np.float64)
    moments = seen.sums_of_squares / seen.count
    channels = found.channels[parameter_name("conv", ParameterRole.WEIGHT)]

    def error(o: int, limit: float) -> float:
        (scale,) = parameter_scales(
            np.array([limit]), 8, scheme_for(4, True).weight_rule, full_code=False
        ).tolist()
        total = 0.0
        for k in range(6 // groups):
            c = (o // (6 // groups)) * (6 // groups) + k
            q = np.clip(np.rint(weight[o, k] / scale), -127, 127)
            total += moments[c] * float(((weight[o, k] - q * scale) ** 2).sum())
        return total

    for o, channel in enumerate(channels):
        own = float(np.abs(weight[o]).max())
        chosen = error(o, channel.absolute_max)
        # As good as a fine sweep, but for what lies between the limits that either looks at.
        best = min(error(o, own * part / 500) for part in range(50, 501))
        assert chosen <= error(o, own)
        assert chosen <= 1.1 * best


def test_a_feature_map_of_two_meanings_gives_moments_to_the_layer_it_was_measured_for() -> None:
    net = SmallNetwork(6)
    x = net.input(1, 4, 6)
    outputs = [net.conv(x, (3, 4, 2), name="conv"), net.node("MatMul", x, net.random(6, 5))]
    graph = net.graph(*outputs)
    values = np.random.default_rng(0).normal(size=(3, 4, 6))
    scheme = scheme_for(4, True)
    none = clipped(graph, scheme)[1]
    for axis, other in ((1, "matmul1"), (-1, "conv")):
        _, found = clipped(graph, scheme, {"input0": statistics_of(values, axis)})
        name = parameter_name(other, ParameterRole.WEIGHT)
        assert found.channels[name] == none.channels[name]


def test_weights_of_zeros_stay() -> None:
    for scale_type, channel_wise in SCHEMES:
        own, found = clipped(product_of(np.zeros((4, 2))), scheme_for(scale_type, channel_wise))
        assert found.parameters == own.parameters
        assert found.channels == own.channels
