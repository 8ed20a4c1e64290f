"""Sensitivity: what is measured of variants is what whole networks of their plans give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from small_networks import SmallNetwork
from tidlq._core import DivergenceStatistics, Engine, ErrorStatistics
from tidlq.analysis import Sensitivity, Variant, measure_sensitivity, sensitivity
from tidlq.analysis.stages import VariedStages
from tidlq.calibration import FloatFeatures, float_accumulator_means
from tidlq.errors import DataError
from tidlq.graph.model import Graph
from tidlq.graph.partition import StageKind
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.precision.groups import GroupState
from tidlq.spec import Precision, QuantPlan
from tidlq.target import Options, scheme_of
from variant_networks import Varied, varied

FRAMES = 5


def classifier(*, island: bool = False) -> SmallNetwork:
    """Two residual blocks and a classifier; an LpNormalization between them is a float island."""
    net = SmallNetwork(3)
    x = net.input(1, 3, 8, 8)
    for _ in range(2):
        y = net.node("Relu", net.conv(x, (3, 3, 3, 3), pads=[1] * 4))
        x = net.node("Add", net.conv(y, (3, 3, 1, 1)), x)
        if island:
            x = net.node("LpNormalization", x, axis=1)
    flat = net.node("Flatten", net.node("GlobalAveragePool", x))
    net.node("Gemm", flat, net.random(3, 10), net.random(10), name="logits")
    return net


def network(scale_type: int = 4, *, island: bool = False) -> Varied:
    options = Options.parse({"advanced_options:quantization_scale_type": scale_type})
    model = classifier(island=island).model("logits_out")
    return varied(model, scheme_of(options), FRAMES)


def variants_of(network: Varied, features: bool = True) -> list[Variant]:
    return [
        Variant(
            group.name,
            state.value,
            network.precision({group.name: state}),
            group.features if features else (),
        )
        for group in network.groups
        for state in group.states[1:]
    ]


def open_features(graph: Graph, names: Sequence[str]) -> FloatFeatures:
    return FloatFeatures(graph, names, threads=1)


def measured(network: Varied, **options: object) -> Sensitivity:
    variants = options.pop("variants", None) or variants_of(network)
    return measure_sensitivity(
        network.graph,
        network.parts,
        network.plans.plan,
        variants,
        network.frames,
        open_features,
        **options,
    )


def whole_outputs(network: Varied, precision: Precision) -> NDArray[np.float32]:
    """Logits of a network without islands, compiled as a whole."""
    (stage,) = network.parts.stages
    lowered = lower_stage(network.graph, stage, network.plans.plan(precision), "whole")
    frames = np.stack([frame["input0"] for frame in network.frames])
    (logits,) = Engine(pack_network(lowered)).run([frames])
    return logits


def float_logits(network: Varied) -> NDArray[np.float32]:
    features = open_features(network.graph, ["logits_out"])
    return np.stack([features.run(frame)["logits_out"] for frame in network.frames])


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_errors_are_those_of_the_whole_variant(scale_type: int) -> None:
    net = network(scale_type)
    found = measured(net)
    assert found.frames == FRAMES
    reference = float_logits(net)
    variants = variants_of(net)
    assert len(found.variants) == len(variants) > 8
    for result, variant in zip(found.variants, variants, strict=True):
        statistics, divergence = ErrorStatistics(), DivergenceStatistics()
        for wanted, value in zip(reference, whole_outputs(net, variant.precision), strict=True):
            statistics.update(wanted, value)
            divergence.update("logits", wanted, value)
        error = result.outputs["logits_out"]
        assert (result.group, result.state) == (variant.group, variant.state)
        assert error.mean_squared_error == statistics.mean_squared_error
        assert error.sqnr_db == statistics.sqnr_db
        assert error.cosine == statistics.cosine
        assert error.max_abs_error == statistics.max_abs_error
        assert error.divergence == divergence.mean > 0


def test_threads_and_turns_of_frames_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    for means in (None, float_accumulator_means):
        whole = measured(net, threads=1, float_means=means)
        assert measured(net, threads=3, float_means=means) == whole
        with monkeypatch.context() as patched:
            patched.setattr(sensitivity, "LARGEST_FEATURES", 1)
            assert measured(net, threads=2, float_means=means) == whole
            patched.setattr(sensitivity, "LARGEST_PATCHES", 0)
            assert measured(net, threads=2, float_means=means) == whole


def test_sixteen_bits_everywhere_leave_next_to_no_error() -> None:
    net = network()
    wide = net.precision({g.name: GroupState.WIDE for g in net.groups})
    found = measured(net, variants=[Variant("all", "16/16", wide)])
    (variant,) = found.variants
    assert variant.outputs["logits_out"].sqnr_db > found.base.outputs["logits_out"].sqnr_db + 20
    assert found.gain(variant) == pytest.approx(found.base.outputs["logits_out"].relative, rel=0.1)


def test_the_local_error_is_that_of_the_groups_features() -> None:
    net = network()
    found = measured(net)
    by_key = {(v.group, v.state): v for v in found.variants}
    assert {f for g in net.groups for f in g.features} == found.base.local.keys()
    for group in net.groups:
        wide = by_key[group.name, "16/16"]
        assert wide.local.keys() == set(group.features)
    first = net.groups[0]
    # The network's input: nothing but its own rounding is in its error.
    assert first.features == ("input0",)
    before, after = found.base.local["input0"], by_key[first.name, "16/16"].local["input0"]
    assert 30 < before.sqnr_db < 60 < after.sqnr_db


def test_one_group_alone_in_a_wide_network() -> None:
    net = network()
    wide = {group.name: GroupState.WIDE for group in net.groups}
    base = net.precision(wide)
    alone = [
        Variant(group.name, "8/8", net.precision({**wide, group.name: GroupState.NARROW}))
        for group in net.groups
    ]
    found = measured(net, variants=alone, base=base)
    assert all(found.gain(variant) < 0 for variant in found.variants)
    assert found.base.outputs["logits_out"].sqnr_db > 60


def test_islands_run_again_behind_a_variant() -> None:
    net = network(island=True)
    kinds = [stage.kind for stage in net.parts.stages]
    assert kinds.count(StageKind.FLOAT) == 2
    found = measured(net)
    for result, variant in zip(found.variants, variants_of(net), strict=True):
        plan = net.plans.plan(variant.precision)
        stages = VariedStages(net.graph, net.parts, plan, 1)
        stages.run({"input0": np.stack([f["input0"] for f in net.frames])}, FRAMES)
        values, _ = stages.outputs(())
        statistics = ErrorStatistics()
        for wanted, value in zip(float_logits(net), values["logits_out"], strict=True):
            statistics.update(wanted, value)
        error = result.outputs["logits_out"]
        assert error.mean_squared_error == statistics.mean_squared_error
        assert result.local.keys() == set(variant.features)


def test_a_metric_of_ones_own_sees_every_frame() -> None:
    net = network()
    seen: list[int] = []

    def metric(reference: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> float:
        seen.append(len(seen))
        assert reference["logits_out"].shape == outputs["logits_out"].shape == (1, 10)
        return float(np.abs(reference["logits_out"] - outputs["logits_out"]).max())

    found = measured(net, metric=metric)
    assert len(seen) == FRAMES * (1 + len(found.variants))
    plain = measured(net)
    assert plain.base.metric is None
    assert dataclasses.replace(found.base, metric=None) == plain.base
    for with_metric, without in zip(found.variants, plain.variants, strict=True):
        assert dataclasses.replace(with_metric, metric=None) == without
        assert with_metric.metric is not None
        assert with_metric.metric <= without.outputs["logits_out"].max_abs_error


def test_progress_is_told_and_may_interrupt() -> None:
    net = network()
    told: list[tuple[int, int | None]] = []
    measured(net, progress=lambda done, total: told.append((done, total)))
    count = len(variants_of(net))
    assert told == [(done, count) for done in range(count + 1)]

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(net, progress=interrupt)


def test_no_frames_are_refused() -> None:
    net = dataclasses.replace(network(), frames=())
    with pytest.raises(DataError, match="no frames"):
        measured(net)


def test_without_any_variant_the_base_is_measured() -> None:
    net = network()
    found = measure_sensitivity(net.graph, net.parts, net.plans.plan, [], net.frames, open_features)
    assert found.variants == ()
    assert math.isfinite(found.base.outputs["logits_out"].sqnr_db)


def test_matched_biases_take_back_what_a_variant_shifts() -> None:
    net = SmallNetwork(5)
    model = net.model(net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3), pads=[1] * 4, name="conv"))
    options = Options.parse({"advanced_options:quantization_scale_type": 4})
    small = varied(model, scheme_of(options), FRAMES)
    frames = {"input0": np.stack([frame["input0"] for frame in small.frames])}
    stages = VariedStages(small.graph, small.parts, small.plans.plan(Precision()), 1)
    stages.run(frames, FRAMES)
    plan = small.plans.plan(Precision(parameters={"conv": 16}))
    quant = plan.layers["conv"]
    shifted = tuple(
        bias + shift for bias, shift in zip(quant.bias, (0.3, -0.2, 0, 0.1), strict=True)
    )
    layers = {**plan.layers, "conv": dataclasses.replace(quant, bias=shifted)}
    means = float_accumulator_means(small.graph, small.parts.layers, small.frames)
    moved, _ = stages.matched_variants(dataclasses.replace(plan, layers=layers), (), means, FRAMES)

    def channel_means(plan: QuantPlan) -> NDArray[np.float64]:
        values, _ = stages.outputs(stages.variants(plan))
        return np.asarray(values["conv_out"].astype(np.float64).mean(axis=(0, 1, 3, 4)))

    features = open_features(small.graph, ["conv_out"])
    floats = np.stack([features.run(frame)["conv_out"] for frame in small.frames])
    wanted = floats.astype(np.float64).mean(axis=(0, 1, 3, 4))
    assert means["conv"] == pytest.approx(wanted, abs=1e-5)
    step = plan.features["conv_out"].scale
    before = channel_means(dataclasses.replace(plan, layers=layers)) - wanted
    assert np.abs(before).max() > 2 * step
    assert np.abs(channel_means(moved) - wanted).max() < 0.1 * step
    assert moved.features == plan.features


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_variant_with_matched_biases_is_lowered_as_its_plan(scale_type: int) -> None:
    net = network(scale_type)
    stages = VariedStages(net.graph, net.parts, net.plans.plan(Precision()), 1)
    stages.run({"input0": np.stack([frame["input0"] for frame in net.frames])}, FRAMES)
    means = float_accumulator_means(net.graph, stages.weighted_layers, net.frames)
    moved = 0
    for variant in variants_of(net):
        plan = net.plans.plan(variant.precision)
        matched, found = stages.matched_variants(plan, variant.features, means, FRAMES)
        moved += matched != plan
        again = stages.variants(matched, variant.features)
        assert [x.network for x in found] == [x.network for x in again]
        for kept, loaded in zip(found, again, strict=True):
            outputs = zip(stages.patch(kept).outputs(), stages.patch(loaded).outputs(), strict=True)
            assert all(np.array_equal(one, other) for one, other in outputs)
    assert moved > 4
