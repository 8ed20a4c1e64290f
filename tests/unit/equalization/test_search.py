"""The noise model against formulas and quantizers, and the factors that it leads to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_networks import SmallNetwork, float_outputs, parts_of, random_frame
from tidlq.calibration import FloatFeatures
from tidlq.equalization import (
    ChannelSpread,
    EqualizationGain,
    equalize,
    find_channel_groups,
    find_equalization,
)
from tidlq.equalization.channel_wise import ChannelWiseTerms, ReaderTerm
from tidlq.equalization.noise import NoiseModel
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.spec import Equalization

Statistics = dict[str, ChannelSpread]


def statistics_of(graph: Graph, frames: int = 8, scale: float = 1.0) -> Statistics:
    """Of everything that a layer with a weight reads, and of every group's feature maps."""
    parts = parts_of(graph)
    names = [layer.inputs[0] for layer in parts.layers if layer.kind.has_weight]
    names += [name for group in find_channel_groups(graph, parts) for name in group.tensors]
    features = FloatFeatures(graph, list(dict.fromkeys(names)), threads=1)
    runs = [features.run(random_frame(graph, seed, scale)) for seed in range(frames)]
    found: Statistics = {}
    for name in features.tensors:
        values = np.stack([np.moveaxis(run[name], 1, 0) for run in runs], axis=1)
        flat = values.reshape(len(values), -1).astype(np.float64)
        found[name] = ChannelSpread(np.abs(flat).max(axis=1), flat.var(axis=1))
    return found


def model_of(graph: Graph, statistics: Statistics, *, is_power_of_two: bool = False) -> NoiseModel:
    parts = parts_of(graph)
    groups = find_channel_groups(graph, parts)
    return NoiseModel(graph, parts, groups, statistics, is_power_of_two)


def search(
    graph: Graph,
    *,
    is_power_of_two: bool = False,
    bias_codes: float = math.inf,
    statistics: Statistics | None = None,
) -> EqualizationGain:
    parts = parts_of(graph)
    statistics = statistics or statistics_of(graph)
    groups = find_channel_groups(graph, parts)
    return find_equalization(
        graph,
        parts,
        groups,
        statistics,
        is_power_of_two=is_power_of_two,
        bias_codes=bias_codes,
    )


def chain(seed: int, *, clip: float | None = None, spread: float = 2.0) -> Graph:
    """conv -> depthwise -> grouped conv -> conv, with channels of very different sizes."""
    net = SmallNetwork(seed)
    shapes = [(4, 3, 3, 3), (4, 1, 3, 3), (6, 2, 1, 1), (2, 6, 3, 3)]
    x = net.input(1, 3, 8, 8)
    for index, (shape, groups) in enumerate(zip(shapes, (1, 4, 2, 1), strict=True)):
        weight = net.random(*shape)
        sizes = np.exp2(net.rng.uniform(-spread, spread, size=(shape[0], 1, 1, 1)))
        net.constants[weight] = (net.constants[weight] * sizes).astype(np.float32)
        bias = net.random(shape[0])
        x = net.node("Conv", x, weight, bias, group=groups, pads=[1] * 4, name=f"conv{index}")
        if index < 3:
            x = net.node("Relu", x) if clip is None else net.clip(x, 0, clip)
    return net.graph(x)


def residual(seed: int) -> Graph:
    net = SmallNetwork(seed)
    x = net.conv(net.input(1, 3, 6, 6), (4, 3, 1, 1), name="stem")
    y = net.conv(x, (8, 4, 1, 1), name="expand")
    y = net.conv(net.clip(y, 0, 3), (4, 8, 1, 1), name="project")
    x = net.node("Add", x, y)
    return net.graph(net.conv(x, (2, 4, 1, 1), name="last"))


def loop(seed: int) -> Graph:
    """A convolution that reads and writes one group."""
    net = SmallNetwork(seed)
    x = net.conv(net.input(1, 3, 6, 6), (4, 3, 1, 1), name="stem")
    for index in range(2):
        weight = net.random(4, 4, 1, 1)
        net.constants[weight] *= np.exp2(net.rng.uniform(-5, 5, size=(4, 1, 1, 1))).astype("f4")
        y = net.node("Conv", x, weight, name=f"inner{index}")
        x = net.node("Add", x, net.node("Relu", y))
    return net.graph(net.conv(x, (2, 4, 1, 1), name="last"))


# --- the model


def plain_noise(
    graph: Graph, factors: dict[str, np.ndarray], statistics: Statistics, bias_codes: float
) -> float:
    """The page's formula for conv0 -> conv1 -> conv2 -> conv3 in plain loops.

    factors: by feature map that is rescaled, one per channel.
    """
    layers = parts_of(graph).layers
    weights = [layer_parameters(graph, layer).weight.astype(np.float64) for layer in layers]
    groups = [layer.attributes.groups for layer in layers]
    importance = np.ones(2)
    by_output = {layers[-1].output: importance}
    total = 0.0
    for layer, weight, count in zip(layers[::-1], weights[::-1], groups[::-1], strict=True):
        outputs = by_output[layer.output] * (0.5 if layer.clamp else 1.0)
        per_group, rows = weight.shape[1], len(weight) // count
        channels = per_group * count
        g = factors.get(layer.output, np.ones(len(weight)))
        f = factors.get(layer.inputs[0], np.ones(channels))
        seen = statistics[layer.inputs[0]]
        scaled, noise = weight.copy(), 0.0
        passed = np.zeros(channels)
        for o in range(len(weight)):
            for k in range(per_group):
                c = (o // rows) * per_group + k
                scaled[o, k] *= f[c] / g[o]
                taps = weight[o, k].size
                noise += outputs[o] * g[o] ** 2 * seen.variances[c] / f[c] ** 2 * taps
                passed[c] += (weight[o, k] ** 2).sum() * outputs[o]
        step = (seen.magnitudes / f).max() / 255
        bias = layer_parameters(graph, layer).bias
        largest_bias = float(np.abs(bias / g).max())
        weight_step = max(np.abs(scaled).max() / 128, largest_bias / (bias_codes * step))
        if layer.inputs[0] in factors or layer.output in factors:
            total += weight_step**2 * noise
        if layer.inputs[0] in factors:
            total += step**2 * (f**2 * passed).sum()
        by_output[layer.inputs[0]] = passed
    return total


@pytest.mark.parametrize("bias_codes", [math.inf, 400.0])
@given(seed=st.integers(0, 1 << 16))
def test_the_model_is_the_formula(bias_codes: float, seed: int) -> None:
    graph = chain(seed)
    statistics, parts = statistics_of(graph, 2), parts_of(graph)
    groups = find_channel_groups(graph, parts)
    model = NoiseModel(graph, parts, groups, statistics, False, bias_codes)
    rng = np.random.default_rng(seed)
    factors: dict[str, np.ndarray] = {}
    for index, group in enumerate(groups):
        chosen = np.exp2(rng.uniform(-3, 3, size=group.channels))
        model.set_factors(index, chosen)
        (name,) = group.tensors
        factors[name] = chosen
    want = plain_noise(graph, factors, statistics, bias_codes)
    assert model.noise() == pytest.approx(want, rel=1e-9)


def test_a_large_bias_of_few_bits_is_rescaled_like_a_large_weight() -> None:
    net = SmallNetwork(11)
    x = net.conv(net.input(1, 3, 8, 8), (8, 3, 3, 3), name="first")
    graph = net.graph(net.conv(net.node("Relu", x), (4, 8, 1, 1), name="last"))
    net.constants[net.nodes[0].input[2]][5] = 300
    graph = net.graph("last_out")
    blind, seeing = search(graph), search(graph, bias_codes=2.0**15 - 2)
    step = statistics_of(graph)["input0"].magnitudes.max() / 255
    weight = layer_parameters(graph, parts_of(graph).layers[0]).weight

    def codes(gain: EqualizationGain) -> float:
        """Codes that are left for the weights where the bias has 15 bits and a sign."""
        factors = np.array(gain.equalization.factors["first"])
        largest = (np.abs(weight).reshape(8, -1).max(axis=1) / factors).max()
        bias = np.abs(layer_parameters(graph, parts_of(graph).layers[0]).bias) / factors
        return float(largest / (bias.max() / (step * (2.0**15 - 2))))

    assert codes(seeing) > codes(blind)


def test_a_matrix_product_over_more_axes_has_an_importance() -> None:
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 8), (4, 3, 1))
    x = net.conv(net.node("Relu", x), (4, 4, 1))
    graph = net.graph(net.node("MatMul", x, net.random(8, 5)))
    gain = search(graph)
    assert gain.noise_after <= gain.noise_before


@pytest.mark.parametrize("part", ["features", "first weight", "last weight"])
def test_the_model_predicts_the_noise_of_quantizers(part: str) -> None:
    # conv -> conv without a non-linearity: the importance is exact, and so is the variance that
    # uniform rounding errors leave, up to how uniform they are: within a quarter of it.
    net = SmallNetwork(9)
    x = net.conv(net.input(1, 16, 4, 4), (32, 16, 1, 1), name="first")
    graph = net.graph(net.conv(x, (16, 32, 1, 1), name="last"))
    statistics = statistics_of(graph, 16)
    model = model_of(graph, statistics)
    terms, ones = model.terms(0), np.ones(32)
    predicted = {
        "features": terms.feature_noise(ones, ones),
        "first weight": terms.producer_noise(0, ones, ones),
        "last weight": terms.consumer_noise(0, ones, ones, terms.feature_step(ones)),
    }[part]
    first, last = (
        layer_parameters(graph, layer).weight.astype(np.float64)[..., 0, 0]
        for layer in parts_of(graph).layers
    )
    bias = layer_parameters(graph, parts_of(graph).layers[0]).bias

    def rounded(values: np.ndarray, largest: float, codes: float) -> np.ndarray:
        step = largest / codes
        return np.rint(values / step) * step

    found = []
    for seed in range(16):
        x = random_frame(graph, seed)["input0"].astype(np.float64).reshape(16, 16)
        hidden = first @ x + bias[:, None]
        exact = last @ hidden
        if part == "features":
            found.append(last @ rounded(hidden, terms.magnitudes.max(), 255) - exact)
        elif part == "first weight":
            change = rounded(first, np.abs(first).max(), 128) - first
            found.append(last @ (change @ x))
        else:
            found.append((rounded(last, np.abs(last).max(), 128) - last) @ hidden)
    errors = np.stack(found, axis=1).reshape(16, -1)
    assert errors.var(axis=1).sum() == pytest.approx(predicted / 12, rel=0.25)


# --- the search


NETWORKS = {"chain": chain, "residual": residual, "loop": loop}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("is_power_of_two", [False, True])
@given(seed=st.integers(0, 1 << 16))
def test_factors_never_leave_more_noise_than_none(
    name: str, is_power_of_two: bool, seed: int
) -> None:
    graph = NETWORKS[name](seed)
    statistics = statistics_of(graph, 2)
    gain = search(graph, is_power_of_two=is_power_of_two, statistics=statistics)
    assert gain.noise_after <= gain.noise_before
    model = model_of(graph, statistics, is_power_of_two=is_power_of_two)
    assert model.noise() == gain.noise_before
    for index, group in enumerate(model.groups):
        chosen = gain.equalization.factors.get(group.producers[0].name)
        if chosen is not None:
            model.set_factors(index, np.array(chosen))
            assert np.isfinite(chosen).all()
            assert min(chosen) > 0
    # float32 factors instead of float64; a power of two may be missed by that.
    assert model.noise() <= gain.noise_before * (1 + 1e-5)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_search_has_one_answer(clip: float | None) -> None:
    graph = chain(4, clip=clip)
    assert search(graph).equalization == search(graph).equalization


def test_every_producer_of_a_group_has_its_factors() -> None:
    gain = search(residual(3))
    factors = gain.equalization.factors
    assert factors["stem"] == factors["project"]


def test_dead_channels_keep_finite_factors() -> None:
    net = SmallNetwork(7)
    x = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="first")
    x = net.node("Conv", net.node("Relu", x), net.random(5, 4, 1, 1), name="second")
    graph = net.graph(net.conv(net.node("Relu", x), (2, 5, 1, 1), name="last"))
    first, bias = net.nodes[0].input[1:3]
    second = net.nodes[2].input[1]
    net.constants[first][1], net.constants[bias][1] = 0, 0
    net.constants[second][:, 2] = 0
    net.constants[second][3] = 0
    graph = net.graph("last_out")
    for is_power_of_two in (False, True):
        gain = search(graph, is_power_of_two=is_power_of_two)
        assert gain.noise_after < gain.noise_before
        for factors in gain.equalization.factors.values():
            assert np.isfinite(factors).all()
            assert min(factors) >= 2.0**-20
            assert max(factors) <= 2.0**20
        assert gain.equalization.factors["first"][1] == 1.0


@pytest.mark.parametrize("dead", [0, 1])
def test_a_layer_of_zeros_does_not_stop_the_others(dead: int) -> None:
    net = SmallNetwork(8)
    x = net.node("Relu", net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="first"))
    net.constants[net.nodes[0].input[1]][2] *= 100
    outputs = [net.conv(x, (2, 4, 1, 1), name=name) for name in ("one", "other")]
    net.constants[net.nodes[2 + dead].input[1]][:] = 0
    gain = search(net.graph(*outputs))
    assert gain.noise_after < 0.5 * gain.noise_before


def test_a_network_of_zeros_is_left_alone() -> None:
    net = SmallNetwork(8)
    x = net.clip(net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="first"), 0, 6)
    graph = net.graph(net.conv(x, (2, 4, 1, 1), name="last"))
    for name, values in net.constants.items():
        if values.ndim:
            net.constants[name] = np.zeros_like(values)
    graph = net.graph("last_out")
    assert search(graph).equalization == Equalization()


def test_one_channel_of_large_weights_no_longer_takes_the_codes_of_the_others() -> None:
    net = SmallNetwork(10)
    x = net.conv(net.input(1, 3, 8, 8), (8, 3, 3, 3), name="first")
    graph = net.graph(net.conv(net.node("Relu", x), (4, 8, 1, 1), name="last"))
    weight, bias = net.nodes[0].input[1:3]
    net.constants[weight][5] *= 100
    net.constants[bias][5] *= 100
    graph = net.graph("last_out")
    gain = search(graph)
    groups = find_channel_groups(graph, parts_of(graph))
    changed = equalize(graph, groups, gain.equalization)

    def largest_codes(of: Graph) -> np.ndarray:
        first = layer_parameters(of, parts_of(of).layers[0]).weight
        step = np.abs(first).max() / 127
        return np.abs(np.rint(first / step)).reshape(8, -1).max(axis=1)

    before, after = largest_codes(graph), largest_codes(changed)
    others = np.arange(8) != 5
    assert before[others].max() <= 4
    assert after[others].min() >= 12
    assert gain.noise_after < 0.1 * gain.noise_before
    frame = random_frame(graph, 1)
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    np.testing.assert_allclose(got, want, atol=1e-5 * float(np.abs(want).max()))


def test_factors_under_a_common_clip_reach_it_nowhere_but_where_it_was_reached() -> None:
    graph = chain(12, clip=6.0)
    statistics = statistics_of(graph)
    gain = search(graph, statistics=statistics)
    for group in find_channel_groups(graph, parts_of(graph)):
        name = group.producers[0].name
        if name not in gain.equalization.factors or name in gain.equalization.bounds:
            continue
        factors = np.array(gain.equalization.factors[name])
        magnitudes = np.max([statistics[t].magnitudes for t in group.tensors], axis=0)
        is_clipped = magnitudes >= 0.999 * 6
        assert (factors[is_clipped] == 1).all()
        assert (magnitudes[~is_clipped] / factors[~is_clipped] <= 6 * (1 + 1e-6)).all()


def test_bounds_leave_every_channel_all_that_the_clip_does() -> None:
    graph = chain(13, clip=6.0, spread=5.0)
    statistics = statistics_of(graph, scale=4.0)
    gain = search(graph, statistics=statistics)
    assert gain.equalization.bounds
    for group in find_channel_groups(graph, parts_of(graph)):
        for layer in group.clipped:
            if layer.name in gain.equalization.bounds:
                factors = np.array(gain.equalization.factors[layer.name])
                held = gain.equalization.bounds[layer.name] * factors
                magnitudes = np.max([statistics[t].magnitudes for t in group.tensors], axis=0)
                room = np.where(magnitudes > 0, 6.0, 0.0)
                assert (held >= room * (1 - 1e-6)).all()


# --- One scale per output channel


def channel_wise_terms(seed: int, spread: float) -> ChannelWiseTerms:
    rng = np.random.default_rng(seed)
    magnitudes = np.exp(rng.uniform(-spread, 0, size=6))
    readers = tuple(
        ReaderTerm(np.abs(rng.normal(size=shape)), rng.uniform(0.5, 2, size=shape[:2]))
        for shape in ((1, 5, 6), (6, 1, 1))
    )
    features = rng.uniform(0.5, 2, size=6) / magnitudes**2
    return ChannelWiseTerms(magnitudes, features, (magnitudes / 3) ** 2, readers)


@given(seed=st.integers(0, 1 << 16), spread=st.floats(0, 12))
def test_factors_for_a_scale_per_channel_are_never_worse_than_none(
    seed: int, spread: float
) -> None:
    terms = channel_wise_terms(seed, spread)
    assert terms.noise(terms.best_factors()) <= terms.noise(np.ones(6))


@given(seed=st.integers(0, 1 << 16), factor=st.floats(1e-3, 1e3))
def test_one_factor_for_all_channels_changes_no_noise(seed: int, factor: float) -> None:
    terms = channel_wise_terms(seed, 3)
    plain, scaled = (terms.noise(np.full(6, value)) for value in (1.0, factor))
    assert scaled == pytest.approx(plain, rel=1e-9)


def test_the_noise_with_a_scale_per_channel_is_that_of_the_formula() -> None:
    largest = np.array([[[1.0, 4.0], [2.0, 0.5]]])
    reader = ReaderTerm(largest, np.array([[3.0, 5.0]]))
    terms = ChannelWiseTerms(
        np.array([2.0, 8.0]), np.array([1.0, 7.0]), np.array([0.5, 4.0]), (reader,)
    )
    factors = np.array([0.5, 2.0])
    features = (4 / 255) ** 2 * (0.25 * 1 + 4 * 7)
    spread = 0.5 / 0.25 + 4 / 4
    weights = (3 * (8 / 127) ** 2 + 5 * (1 / 127) ** 2) * spread
    assert terms.noise(factors) == pytest.approx(features + weights)


def test_small_channels_are_enlarged_where_their_steps_would_swallow_them() -> None:
    terms = channel_wise_terms(3, 8)
    factors = terms.best_factors()
    order = np.argsort(terms.magnitudes)
    assert factors[order[0]] < 0.1 * factors[order[-1]]
    assert terms.noise(factors) < 0.1 * terms.noise(np.ones(6))


def test_a_small_channel_is_not_enlarged_beyond_its_headroom() -> None:
    net = SmallNetwork(7)
    x = net.conv(net.input(1, 3, 8, 8), (4, 3, 1, 1))
    x = net.conv(net.node("Relu", x), (4, 1, 3, 3), group=4)
    graph = net.graph(x)
    parts = parts_of(graph)
    (group,) = find_channel_groups(graph, parts)
    seen = np.array([8.0, 1.0, 0.25, 0.01])
    least = []
    for headroom in (1.0, 16.0):
        spread = ChannelSpread(seen, seen**2 / 9, headroom)
        statistics = {name: spread for name in group.tensors} | {
            graph.inputs[0].name: ChannelSpread(np.ones(3), np.ones(3))
        }
        model = NoiseModel(graph, parts, (group,), statistics, False, is_channel_wise=True)
        factors = model.channel_wise_terms(0).best_factors()
        least.append(factors / factors.max())
    assert np.allclose(least[0], seen / 8)
    assert np.allclose(least[1], np.minimum(seen * 16, 8) / 8)
