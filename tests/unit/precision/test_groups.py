"""Groups of layers that must share a precision, and precisions from their states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tidlq
from random_networks import frames_for, random_models
from small_networks import SmallNetwork, parts_of
from tidlq.calibration import FloatFeatures
from tidlq.engine import FixedStage
from tidlq.graph.model import Graph
from tidlq.graph.partition import StageKind
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.precision.groups import (
    GroupState,
    PrecisionGroup,
    find_precision_groups,
    is_of_one_precision,
    precision_of_states,
)
from tidlq.precision.plan import make_plan
from tidlq.target import Device, Options, scheme_of


def features(graph: Graph, device: Device | None = None) -> list[set[str]]:
    return [set(group.features) for group in find_precision_groups(graph, parts_of(graph), device)]


def groups_of(graph: Graph, device: Device | None = None) -> dict[str, PrecisionGroup]:
    return {group.name: group for group in find_precision_groups(graph, parts_of(graph), device)}


def test_convolutions_may_change_the_precision() -> None:
    net = SmallNetwork()
    first = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    second = net.conv(first, (4, 4, 3, 3))
    assert features(net.graph(second)) == [{"input0"}, {first}, {second}]


@pytest.mark.parametrize("op", ["Sigmoid", "BatchNormalization", "AveragePool", "Add", "PRelu"])
def test_element_wise_layers_and_averages_may_change_the_precision(op: str) -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    if op == "BatchNormalization":
        y = net.batch_norm(x, 3)
    elif op == "AveragePool":
        y = net.node(op, x, kernel_shape=[2, 2])
    elif op in ("Add", "PRelu"):
        y = net.node(op, x, net.random(3, 1, 1))
    else:
        y = net.node(op, x)
    assert features(net.graph(net.conv(y, (2, 3, 1, 1))))[:2] == [{x}, {y}]


@pytest.mark.parametrize("op", ["Div", "ReduceL2", "ReduceSum"])
def test_quotients_and_reductions_that_compute_may_change_the_precision(op: str) -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    y = net.node(op, x, x if op == "Div" else net.integers([2]))
    assert features(net.graph(net.conv(y, (2, 3, 1, 1))))[:2] == [{x}, {y}]


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_reductions_that_select_keep_the_precision(op: str) -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    y = net.node(op, x, net.integers([1]))
    assert features(net.graph(net.conv(y, (2, 1, 1, 1))))[:1] == [{x, y}]


def test_products_of_feature_maps_and_normalizations_keep_the_precision() -> None:
    net = SmallNetwork()
    x, z = net.input(1, 6, 6), net.input(1, 6, 6)
    product = net.node("MatMul", x, z)
    y = net.node("LayerNormalization", product, net.random(6), net.random(6))
    assert features(net.graph(net.node("Sigmoid", y)))[:1] == [{x, z, product, y}]


def test_a_concat_joins_all_its_inputs_and_its_output() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    left, right = net.conv(x, (2, 3, 1, 1)), net.conv(x, (4, 3, 1, 1))
    joined = net.node("Concat", left, right, axis=1)
    last = net.conv(joined, (2, 6, 1, 1))
    assert features(net.graph(last)) == [{x}, {left, right, joined}, {last}]


def test_max_pool_reshape_and_inner_product_keep_the_precision() -> None:
    net = SmallNetwork()
    first = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    pooled = net.node("MaxPool", first, kernel_shape=[2, 2])
    flat = net.node("Reshape", pooled, net.integers([1, 36]))
    dense = net.node("Gemm", flat, net.random(36, 5))
    assert features(net.graph(dense)) == [{"input0"}, {first, pooled, flat, dense}]


def test_softmax_says_nothing_about_its_input() -> None:
    net = SmallNetwork()
    scores = net.conv(net.input(1, 3, 6, 6), (4, 3, 6, 6))
    likely = net.node("Softmax", scores, axis=1)
    assert features(net.graph(likely)) == [{"input0"}, {scores}, {likely}]


def test_a_group_is_named_by_its_first_layer_and_an_input_by_its_tensor() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    left = net.conv(x, (2, 3, 1, 1), name="left")
    right = net.conv(x, (4, 3, 1, 1), name="right")
    joined = net.node("Concat", left, right, axis=1, name="join")
    groups = groups_of(net.graph(net.conv(joined, (2, 6, 1, 1), name="last")))
    assert list(groups) == [x, "left", "last"]
    assert groups["left"].layers == ("left", "right", "join")
    assert groups["left"].parameters == ("left", "right")


def test_an_input_named_as_a_layer_has_a_name_of_its_own() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    graph = net.graph(net.conv(x, (2, 3, 1, 1), name=x))
    assert list(groups_of(graph)) == ["input0 (input)", "input0"]


def test_only_groups_with_parameters_can_have_wide_ones() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    y = net.node("Sigmoid", net.conv(x, (2, 3, 1, 1), name="conv"), name="sigmoid")
    groups = groups_of(net.graph(y))
    assert groups["conv"].states == tuple(GroupState)
    assert groups["sigmoid"].states == (GroupState.NARROW, GroupState.WIDE)
    assert groups[x].states == (GroupState.NARROW, GroupState.WIDE)


@pytest.mark.parametrize(
    ("device", "is_offered"),
    [(None, True), ("TDA4VM", True), ("AM62A", False), ("AM67A", False), ("AM68A", True)],
)
def test_some_devices_have_no_16_bit_deconvolution(device: str | None, is_offered: bool) -> None:
    net = SmallNetwork()
    weight = net.random(3, 2, 2, 2)
    y = net.node("ConvTranspose", net.input(1, 3, 6, 6), weight, strides=[2, 2])
    (group,) = groups_of(net.graph(y), Device[device] if device else None).values()
    assert group.features == ("input0", y)
    assert group.states == (tuple(GroupState) if is_offered else (GroupState.NARROW,))


def test_states_become_bits_of_features_and_parameters() -> None:
    net = SmallNetwork()
    first = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3), name="first")
    second = net.conv(first, (4, 4, 3, 3), name="second")
    groups = groups_of(net.graph(second)).values()
    states = {"first": GroupState.WIDE, "second": GroupState.WIDE_PARAMETERS}
    precision = precision_of_states(groups, states)
    assert dict(precision.features) == {first: 16}
    assert dict(precision.parameters) == {"first": 16, "second": 16}
    assert precision.feature_bits("input0") == 8


def test_an_impossible_state_and_an_unknown_group_are_refused() -> None:
    net = SmallNetwork()
    graph = net.graph(net.node("Sigmoid", net.input(1, 3), name="sigmoid"))
    groups = groups_of(graph).values()
    with pytest.raises(ValueError, match="cannot be 8/16, only 8/8, 16/16"):
        precision_of_states(groups, {"sigmoid": GroupState.WIDE_PARAMETERS})
    with pytest.raises(ValueError, match="no group is called 'conv'"):
        precision_of_states(groups, {"conv": GroupState.WIDE})


@settings(max_examples=25, deadline=None)
@given(random_models(), st.sampled_from((0, 1, 4)), st.data())
def test_every_choice_of_states_is_a_network_that_runs(
    model: object, scale_type: int, data: st.DataObject
) -> None:
    options = Options.parse({"accuracy_level": 2, "quantization_scale_type": scale_type})
    narrow = tidlq.compile(model, frames_for(model, 2), options)
    if narrow.plan is None:
        return
    groups = find_precision_groups(narrow.graph, narrow.partition)
    states = {group.name: data.draw(st.sampled_from(group.states)) for group in groups}
    precision = precision_of_states(groups, states)
    plan = make_plan(
        narrow.graph, narrow.partition, narrow.ranges, scheme_of(options), precision=precision
    )
    for name, feature in plan.features.items():
        assert feature.type.bits == precision.feature_bits(name)
    for layer in narrow.partition.layers:
        bits = {
            plan.features[x].type.bits for x in (*layer.inputs, layer.output) if x in plan.features
        }
        assert len(bits) == 1 or not is_of_one_precision(layer)
    frames = frames_for(model, 2, seed=1)
    for stage in narrow.partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        file = pack_network(lower_stage(narrow.graph, stage, plan, "stage"))
        fixed = FixedStage(file, stage.inputs, stage.outputs, threads=1)
        known = FloatFeatures(narrow.graph, stage.inputs, threads=1)
        given = [known.run(frame) for frame in frames]
        outputs = fixed.run({name: np.stack([x[name] for x in given]) for name in stage.inputs})
        assert all(np.isfinite(outputs[name]).all() for name in stage.outputs)
