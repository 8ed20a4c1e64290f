"""A patched network computes, bit for bit, what the whole network of the other plan computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_networks import random_models
from tidlq._core import Baseline, Engine, Patch
from tidlq.errors import TidlqError
from tidlq.graph.partition import Stage, StageKind
from tidlq.lowering.lower import build_stage, lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.lowering.patch import PatchableStage, StagePatch
from tidlq.spec import Precision, QuantPlan
from tidlq.target import Options, scheme_of
from variant_networks import Varied, varied

FRAMES = 3
SCALE_TYPE = "advanced_options:quantization_scale_type"


def inputs_of(network: Varied, stage: Stage) -> list[np.ndarray]:
    """Random frames for a stage, whatever it reads."""
    rng = np.random.default_rng(5)
    shapes = [network.graph.shape(name) or () for name in stage.inputs]
    return [rng.normal(size=(FRAMES, *shape)).astype(np.float32) for shape in shapes]


def check_suffix(lowered: PatchableStage, found: StagePatch, patch: Patch) -> None:
    """Only layers that read what the patch changes run again, none that it stands in for."""
    network = lowered.network
    names = [tensor.name for tensor in network.tensors]
    replaced = {name for name in found.outputs if name is not None}
    changed = set(replaced)
    expected = set()
    for layer in network.layers:
        is_fed = any(names[index] in changed for index in layer.inputs)
        if is_fed and names[layer.output] not in replaced:
            changed.add(names[layer.output])
            expected.add(layer.name)
    assert set(patch.suffix) <= expected


def check(network: Varied, stage: Stage, base: QuantPlan, other: QuantPlan) -> Patch:
    lowered = PatchableStage(network.graph, stage, base, "base")
    plain = lower_stage(network.graph, stage, base, "base")
    assert lowered.network == plain
    baseline = Baseline(pack_network(lowered.network))
    inputs = inputs_of(network, stage)
    baseline.run(inputs)
    features = [layer.output for layer in stage.layers]
    found = lowered.patch(other, features)
    patch = Patch(baseline, pack_network(found.network), list(found.inputs), list(found.outputs))
    check_suffix(lowered, found, patch)
    results = patch.outputs()
    builder = build_stage(network.graph, stage, other, "other")
    whole = Engine(pack_network(builder.network))
    count = len(stage.outputs)
    for got, wanted in zip(results[:count], whole.run(inputs), strict=True):
        assert np.array_equal(got, wanted, equal_nan=True)
    for name, got in zip(features, results[count:], strict=True):
        integers, floats = builder.forms_of(name)
        form = (integers or floats)[0]
        tensor = builder.network.tensors[form.index]
        for frame in range(FRAMES):
            (wanted,) = whole.trace([x[frame] for x in inputs], [tensor.name])
            if integers:
                wanted = np.float32(tensor.scale) * (
                    wanted.astype(np.int32) - tensor.zero_point
                ).astype(np.float32)
            assert form.layout == lowered.layout(name)
            assert np.array_equal(got[frame], wanted, equal_nan=True), name
    return patch


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@given(model=random_models(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_patched_network_is_the_other_plans_network(scale_type, model, data) -> None:
    try:
        network = varied(model, scheme_of(Options.parse({SCALE_TYPE: scale_type})))
        base = network.plans.plan(Precision())
    except TidlqError:
        return
    states = network.draw_states(data)
    other = network.plans.plan(network.precision(states))
    for stage in network.parts.stages:
        if stage.kind is StageKind.FIXED:
            check(network, stage, base, other)
            check(network, stage, other, base)
