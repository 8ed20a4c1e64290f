"""Plans: ranges that are asked for, biases that are given, and what a saved proto gives back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, partition
from tidlq.graph.recognition import find_layers
from tidlq.graph.recognition.fusions import NO_FUSION
from tidlq.importers.onnx_model import import_onnx
from tidlq.lowering.lower import lower_stage
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import make_plan, ranged_features
from tidlq.quantproto import read_quant_params, resolve_ranges, write_quant_params
from tidlq.quantproto.network_ranges import expected_layers, to_saved
from tidlq.spec import FeatureScales, Precision, QuantPlan, Range, Ranges, Scheme
from tidlq.target import Options, scheme_of

SCALE_TYPES = [0, 1, 4]


def scheme(scale_type: int, **options: object) -> Scheme:
    return scheme_of(Options.parse({"quantization_scale_type": scale_type, **options}))


def network() -> tuple[Graph, Partition]:
    """Conv + ReLU, max pool, conv without a bias, their concat, sigmoid, product, sum."""
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("MaxPool", ["r1"], ["p1"], name="pool", kernel_shape=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], name="conv2"),
        helper.make_node("Sigmoid", ["c2"], ["s2"], name="sigmoid"),
        helper.make_node("Mul", ["c2", "s2"], ["m2"], name="mul"),
        helper.make_node("Concat", ["m2", "c2"], ["j"], name="concat", axis=1),
        helper.make_node("Add", ["j", "k"], ["y"], name="add"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [value("y", TensorProto.FLOAT, None)],
        [
            weight("w1", 4, 2, 3, 3),
            weight("b1", 4),
            weight("w2", 3, 4, 1, 1),
            weight("k", 1, 6, 1, 1),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    imported = import_onnx(model)
    return imported, partition(imported, find_layers(imported, {}, None, NO_FUSION))


GRAPH, PARTS = network()
OWN = measure_parameters(GRAPH, PARTS.layers)
FEATURES = {
    "x": Range(-1.0, 1.5),
    "r1": Range(0.0, 3.0),
    "c2": Range(-2.0, 1.0),
    "s2": Range(0.0, 0.9),
    "m2": Range(-0.3, 0.7),
    "j": Range(-2.0, 1.0),
    "y": Range(-2.5, 2.0),
}
RANGES = Ranges(FEATURES, OWN.parameters, OWN.channels)


def test_the_network_has_the_layers_that_the_tests_speak_of() -> None:
    assert [layer.name for layer in PARTS.layers] == [
        "conv1", "pool", "conv2", "sigmoid", "mul", "concat", "add",
    ]  # fmt: skip
    assert ranged_features(PARTS) == tuple(FEATURES)


@pytest.mark.parametrize("precision", [Precision(), Precision(16), Precision(8, {}, {"conv2": 16})])
@pytest.mark.parametrize("scale_type", SCALE_TYPES)
def test_chosen_ranges_give_the_plan_of_the_same_ranges_saved(
    scale_type: int, precision: Precision
) -> None:
    asked: list[str] = []

    def choose(name: str, scales: FeatureScales) -> Range:
        asked.append(name)
        assert scales.bits == precision.feature_bits(name)
        return FEATURES[name]

    rules = scheme(scale_type)
    without_features = Ranges({}, OWN.parameters, OWN.channels)
    chosen = make_plan(GRAPH, PARTS, without_features, rules, precision=precision, choose=choose)
    assert chosen == make_plan(GRAPH, PARTS, RANGES, rules, precision=precision)
    assert asked == list(FEATURES)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale_type", SCALE_TYPES)
def test_the_scales_offered_are_the_scales_that_the_plan_takes(scale_type: int, bits: int) -> None:
    offered: dict[str, FeatureScales] = {}

    def choose(name: str, scales: FeatureScales) -> Range:
        offered[name] = scales
        return FEATURES[name]

    plan = make_plan(
        GRAPH, PARTS, RANGES, scheme(scale_type), precision=Precision(bits), choose=choose
    )
    for name, scales in offered.items():
        feature = plan.features[name]
        assert feature.type.bits == scales.bits == bits
        assert scales.asymmetric == (scale_type == 4)
        if scale_type == 4:
            assert scales.unit is None
            assert not feature.type.signed
            continue
        assert feature.zero_point == 0
        is_free = name in ("x", "s2")
        if is_free and scale_type == 0:
            assert scales == FeatureScales(bits)
            continue
        assert scales.unit is not None
        exponent = math.log2(feature.scale / scales.unit)
        assert exponent == pytest.approx(round(exponent), abs=1e-6)
        assert scales.least_shift is None or round(exponent) >= scales.least_shift
        if is_free:
            assert (scales.unit, scales.least_shift) == (1.0, None)
        if name in ("r1", "c2"):
            layer = {"r1": ("conv1", "x"), "c2": ("conv2", "r1")}[name]
            weight = plan.layers[layer[0]].weight
            assert weight is not None
            assert scales.unit == plan.features[layer[1]].scale * max(weight.scales)
            assert scales.least_shift == 0


def test_shared_quantization_keeps_the_bits_of_its_tensor() -> None:
    precision = Precision(8, {"r1": 16, "j": 16})
    plan = make_plan(GRAPH, PARTS, RANGES, scheme(4), precision=precision)
    bits = {name: feature.type.bits for name, feature in plan.features.items()}
    assert bits == {"x": 8, "r1": 16, "p1": 16, "c2": 8, "s2": 8, "m2": 8, "j": 16, "y": 8}
    assert plan.layers["conv1"].bias_bits == 32
    assert plan.layers["conv2"].bias_bits == 48
    for stage in PARTS.stages:
        lower_stage(GRAPH, stage, plan, "mixed")


def test_parameters_have_the_bits_of_their_layer() -> None:
    precision = Precision(8, {}, {"conv1": 16, "add": 16})
    plan = make_plan(GRAPH, PARTS, RANGES, scheme(0), precision=precision)
    weights = {n: q.weight.type.bits for n, q in plan.layers.items() if q.weight is not None}
    assert weights == {"conv1": 16, "conv2": 8}
    operand = plan.layers["add"].operand
    assert operand is not None
    assert operand.type.bits == 16
    assert {feature.type.bits for feature in plan.features.values()} == {8}


GIVEN = {
    "conv1.bias": (0.5, -40.0, 0.25, 0.0),
    # A layer without a bias of its own.
    "conv2.bias": (0.125, -0.375, 7.0),
}


def read_back(plan: QuantPlan, ranges: Ranges, path: Path) -> tuple[Ranges, Precision]:
    write_quant_params(path, to_saved(GRAPH, PARTS, ranges, plan, None))
    decisions = resolve_ranges(read_quant_params(path), expected_layers(PARTS, OWN))
    found = decisions.ranges
    channels = {**OWN.channels, **found.channels}
    return Ranges(found.features, found.parameters, channels, decisions.values), decisions.precision


@pytest.mark.parametrize("channel_wise", [0, 1])
@pytest.mark.parametrize("precision", [Precision(), Precision(16), Precision(8, {}, {"conv2": 16})])
@pytest.mark.parametrize(
    ("scale_type", "device"),
    [(0, ""), (0, "TDA4VM"), (1, "TDA4VM"), (1, "AM68A"), (4, ""), (4, "AM68A")],
)
def test_given_biases_survive_the_proto(
    tmp_path: Path, scale_type: int, precision: Precision, device: str, channel_wise: int
) -> None:
    rules = scheme(scale_type, device=device, channel_wise_quantization=channel_wise)
    ranges = Ranges(FEATURES, OWN.parameters, OWN.channels, GIVEN)
    plan = make_plan(GRAPH, PARTS, ranges, rules, precision=precision)
    assert plan.layers["conv2"].bias == GIVEN["conv2.bias"]
    again, bits = read_back(plan, ranges, tmp_path / "q.prototxt")
    assert again.biases == GIVEN
    assert make_plan(GRAPH, PARTS, again, rules, precision=bits) == plan
    for stage in PARTS.stages:
        network = lower_stage(GRAPH, stage, plan, "net")
        layers = {layer.name: layer for layer in network.layers}
        weight = plan.layers["conv2"].weight
        assert weight is not None
        step = plan.features["p1"].scale * np.asarray(weight.scales)
        bias = np.asarray(layers["conv2"].convolution.bias) * step
        np.testing.assert_allclose(bias, GIVEN["conv2.bias"], atol=step.max())


def test_a_layer_without_a_bias_needs_none_in_the_proto(tmp_path: Path) -> None:
    plan = make_plan(GRAPH, PARTS, RANGES, scheme(4))
    again, _ = read_back(plan, RANGES, tmp_path / "q.prototxt")
    assert set(again.biases) == {"conv1.bias"}
    assert plan.layers["conv2"].bias == ()


@pytest.mark.parametrize("scale_type", SCALE_TYPES)
def test_a_smaller_bias_does_not_refine_the_scale_of_the_models_own(scale_type: int) -> None:
    rules = scheme(scale_type, bias_clipping=0)
    narrow = Scheme(**{**vars(rules), "bias_bits": 12})
    before = make_plan(GRAPH, PARTS, RANGES, narrow)
    wide = make_plan(GRAPH, PARTS, RANGES, rules)
    assert before.layers["conv1"].weight != wide.layers["conv1"].weight
    small = Ranges(FEATURES, OWN.parameters, OWN.channels, {"conv1.bias": (0.0, 0.0, 0.0, 0.0)})
    after = make_plan(GRAPH, PARTS, small, narrow)
    assert after.features == before.features
    assert after.layers["conv1"].weight == before.layers["conv1"].weight


def test_head_room_knows_what_a_fused_relu_leaves() -> None:
    plan = make_plan(GRAPH, PARTS, RANGES, scheme(0))
    assert not plan.features["r1"].type.signed
    weight = plan.layers["conv2"].weight
    assert weight is not None
    array = GRAPH.constant("w2")
    assert array is not None
    flat = weight.quantize(np.asarray(array, np.float32)).reshape(3, -1).astype(np.int64)
    low, high = plan.features["r1"].quantize(0.0), plan.features["r1"].type.highest
    assert low == 0
    largest = max(
        abs(np.where(row * sign > 0, row, 0).sum() * high) for row in flat for sign in (1, -1)
    )
    assert plan.layers["conv2"].headroom_bits == pytest.approx(31 - math.log2(largest))
