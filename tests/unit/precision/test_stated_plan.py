"""Plans of pre-quantized models: what they state is kept exactly, what changes is made anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from small_networks import SmallNetwork
from tidlq.errors import QuantProtoError
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import Partition, partition
from tidlq.graph.recognition import find_layers
from tidlq.graph.statements import find_incomplete, float_outputs, resolve_features
from tidlq.importers.onnx_model import import_onnx
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.stated_plan import make_stated_plan, stated_scheme
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    Precision,
    QuantPlan,
    Range,
    Ranges,
    Requantization,
    StatedParameter,
    StatedQuantization,
)

S8, U8 = IntegerType(8, signed=True), IntegerType(8, signed=False)
X = FeatureQuant(U8, 0.02, 3)
C = FeatureQuant(U8, 0.05, 0)
Y = FeatureQuant(S8, 0.25, -7)
BIAS = (2_147_483_000, -5, 0)


def conv_and_gemm(
    weight: NDArray[np.int64], scales: NDArray[np.float32], zero_point: int = 0
) -> Graph:
    """Conv of one input channel, ReLU, flatten, Gemm; all stated."""
    net = SmallNetwork()
    x = net.input(1, 1, 4, 4)
    real = (weight - zero_point) * scales.reshape(-1, 1, 1, 1).astype(np.float64)
    w, b = net.constant(real, "w"), net.constant(np.array(BIAS) * X.scale * scales, "b")
    c = net.node("Relu", net.node("Conv", x, w, b, name="conv"), name="relu")
    flat = net.node("Flatten", c, name="flat")
    y = net.node("Gemm", flat, net.constant(np.eye(12)[:, :5], "v"), name="gemm")
    graph = import_onnx(net.model(y))
    per_channel = tuple(map(float, scales))
    stored = U8 if zero_point else S8
    stated = StatedQuantization(
        features={x: X, c: C, y: Y},
        parameters={
            "w": StatedParameter(stored, per_channel, (zero_point,) * len(per_channel)),
            "v": StatedParameter(S8, (1.0,), (0,)),
        },
        biases={"b": BIAS},
    )
    return replace(graph, stated=stated)


def parts_of(graph: Graph) -> Partition:
    return partition(graph, find_layers(graph))


def plan_of(graph: Graph, ranges: Ranges | None = None, **bits: Precision) -> QuantPlan:
    assert graph.stated is not None
    parts = parts_of(graph)
    own = measure_parameters(graph, parts.layers)
    features = {} if ranges is None else ranges.features
    scheme = stated_scheme(graph.stated.requantization)
    return make_stated_plan(graph, parts, replace(own, features=features), scheme, **bits)


def layer_of(graph: Graph, name: str) -> Layer:
    return next(layer for layer in parts_of(graph).layers if layer.name == name)


WEIGHT = np.random.default_rng(0).integers(-128, 128, (3, 1, 3, 3))
SCALES = np.array([2e-9, 0.01, 0.3], np.float32)


def test_stated_scales_and_integers_are_the_plans() -> None:
    graph = conv_and_gemm(WEIGHT, SCALES)
    plan = plan_of(graph)
    quant = plan.layers["conv"]
    assert plan.is_stated
    assert plan.features["input0"] == X
    assert plan.features["relu_out"] == plan.features["flat_out"] == C
    assert plan.features["gemm_out"] == Y
    assert quant.weight is not None
    assert quant.weight.scales == tuple(map(float, SCALES))
    weight = layer_parameters(graph, layer_of(graph, "conv")).weight
    np.testing.assert_array_equal(quant.weight.quantize(weight), WEIGHT)
    assert tuple(quant.quantize_bias(X.scale)) == BIAS
    assert quant.requantization is Requantization.FLOAT


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-12, 3e-3, 1.0, 7e8]),
)
def test_weights_with_a_zero_point_are_signed_differences(
    zero_point: int, seed: int, unit: float
) -> None:
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (3, 1, 3, 3))
    scales = np.full(3, unit * random.uniform(1, 2), np.float32)
    graph = conv_and_gemm(stored, scales, zero_point)
    quant = plan_of(graph).layers["conv"].weight
    assert quant is not None
    weight = layer_parameters(graph, layer_of(graph, "conv")).weight
    np.testing.assert_array_equal(quant.quantize(weight), stored - zero_point)


def test_a_float_bias_gets_the_integers_that_onnx_runtime_gives_it() -> None:
    scales = np.array([2e-5, 3e-3, 0.7], np.float32)
    graph = conv_and_gemm(np.arange(-13, 14).reshape(3, 1, 3, 3), scales)
    assert graph.stated is not None
    graph = replace(graph, stated=replace(graph.stated, biases={}))
    conv = layer_of(graph, "conv")
    own = layer_parameters(graph, conv).bias
    assert own is not None
    steps = scales * np.float32(X.scale)
    expected = np.rint(own.astype(np.float32) / steps)
    assert expected[0] != np.rint(own[0] / (np.float64(scales[0]) * X.scale))
    assert plan_of(graph).layers["conv"].quantize_bias(X.scale).tolist() == expected.tolist()


def test_a_changed_range_makes_a_new_scale_and_leaves_the_model_its_arithmetic_elsewhere() -> None:
    graph = conv_and_gemm(WEIGHT, SCALES)
    assert graph.stated is not None
    graph = replace(
        graph, stated=replace(graph.stated, requantization=Requantization.TWICE_ROUNDED)
    )
    plan = plan_of(graph, Ranges({"gemm_out": Range(-1, 1)}, {}, {}))
    assert plan.features["gemm_out"].scale == pytest.approx(2 / 255)
    assert plan.layers["gemm"].requantization is Requantization.FIXED
    assert plan.layers["conv"].requantization is Requantization.TWICE_ROUNDED
    same = plan_of(graph, Ranges({"gemm_out": Y.range}, {}, {}))
    assert same == plan_of(graph)


def test_a_lifted_layer_has_16_bits_and_the_same_real_values() -> None:
    graph = conv_and_gemm(WEIGHT, SCALES)
    lifted = Precision(features={"gemm_out": 16}, parameters={"gemm": 16})
    plan = plan_of(graph, precision=lifted)
    assert plan.features["gemm_out"].type.bits == 16
    assert plan.features["relu_out"] == C
    weight = plan.layers["gemm"].weight
    assert weight is not None
    assert weight.type.bits == 16
    assert weight.scales[0] == pytest.approx(1 / 32767)


def test_shifts_are_recovered_from_stated_scales() -> None:
    graph = conv_and_gemm(WEIGHT, np.float32(2.0) ** np.array([-9, -6, -7], np.float32))
    assert graph.stated is not None
    features = {"input0": FeatureQuant(U8, 2.0**-6), "relu_out": FeatureQuant(U8, 2.0**-5)}
    features["gemm_out"] = FeatureQuant(S8, 0.3)
    stated = replace(graph.stated, features=features, requantization=Requantization.SHIFT)
    plan = plan_of(replace(graph, stated=stated))
    assert plan.layers["conv"].requantization is Requantization.SHIFT
    assert plan.layers["conv"].shift == (10, 7, 8)
    assert plan.layers["gemm"].requantization is Requantization.FIXED


def test_what_only_moves_hands_statements_on_in_both_directions() -> None:
    graph = conv_and_gemm(WEIGHT, SCALES)
    assert graph.stated is not None
    backward = {"input0": X, "flat_out": C, "gemm_out": Y}
    for features in ({"input0": X, "relu_out": C, "gemm_out": Y}, backward):
        known = resolve_features(
            replace(graph, stated=replace(graph.stated, features=features)), parts_of(graph).layers
        )
        assert known["relu_out"] == known["flat_out"] == C


@pytest.mark.parametrize(
    ("feature", "parameter", "expected"),
    [
        ("gemm_out", None, {}),
        ("input0", None, {"conv": "feature map 'input0'"}),
        (None, "v", {"gemm": "parameter 'v'"}),
    ],
)
def test_a_layer_with_something_unstated_is_incomplete(
    feature: str | None, parameter: str | None, expected: dict[str, str]
) -> None:
    graph = conv_and_gemm(WEIGHT, SCALES)
    assert graph.stated is not None
    stated = replace(
        graph.stated,
        features={n: q for n, q in graph.stated.features.items() if n != feature},
        parameters={n: q for n, q in graph.stated.parameters.items() if n != parameter},
    )
    graph = replace(graph, stated=stated)
    found = find_incomplete(graph, parts_of(graph).layers)
    assert found.keys() == expected.keys()
    assert all(expected[name] in reason for name, reason in found.items())


def without_output(arithmetic: Requantization = Requantization.FLOAT) -> Graph:
    """All is stated but the output of the Gemm."""
    graph = conv_and_gemm(WEIGHT, SCALES)
    assert graph.stated is not None
    features = {n: q for n, q in graph.stated.features.items() if n != "gemm_out"}
    stated = replace(graph.stated, features=features, requantization=arithmetic)
    return replace(graph, stated=stated)


def test_an_output_without_a_statement_is_complete_and_stays_float32() -> None:
    graph = without_output()
    layers = parts_of(graph).layers
    assert float_outputs(graph, layers) == {"gemm_out"}
    plan = plan_of(graph)
    assert "gemm_out" not in plan.features
    assert plan.layers["gemm"].requantization is Requantization.FLOAT


def test_an_output_without_a_statement_that_is_to_have_a_range_is_incomplete() -> None:
    graph = without_output()
    found = find_incomplete(graph, parts_of(graph).layers, needs_ranges=True)
    assert "feature map 'gemm_out'" in found["gemm"]
    assert found.keys() == {"gemm"}


def test_an_output_without_a_statement_is_quantized_where_a_range_is_given() -> None:
    plan = plan_of(without_output(), Ranges({"gemm_out": Range(-1, 1)}, {}, {}))
    assert plan.features["gemm_out"].scale == pytest.approx(2 / 255)


def test_only_onnx_runtimes_arithmetic_has_float32_outputs() -> None:
    graph = without_output(Requantization.TWICE_ROUNDED)
    layers = parts_of(graph).layers
    assert float_outputs(graph, layers) == set()
    assert find_incomplete(graph, layers).keys() == {"gemm"}
    with pytest.raises(QuantProtoError, match="'gemm_out' is missing"):
        plan_of(graph)


def test_what_another_layer_reads_or_a_clamp_bounds_does_not_stay_float32() -> None:
    net = SmallNetwork()
    x = net.input(1, 1, 4, 4)
    weights = [net.constant(np.ones((1, 1, 1, 1)), name) for name in ("a", "b", "c")]
    first = net.node("Conv", x, weights[0], name="first")
    second = net.node("Conv", first, weights[1], name="second")
    last = net.node("Relu", net.node("Conv", x, weights[2], name="third"), name="relu")
    graph = import_onnx(net.model(second, last))
    one = StatedParameter(S8, (1.0,), (0,))
    stated = StatedQuantization({x: X, second: Y}, {"a": one, "b": one, "c": one}, {})
    graph = replace(graph, stated=stated)
    layers = parts_of(graph).layers
    assert float_outputs(graph, layers) == set()
    # The first one is complete by itself; its reader is not.
    assert find_incomplete(graph, layers).keys() == {"second", "third"}
    alone = [layer for layer in layers if layer.name == "first"]
    assert float_outputs(graph, alone) == {"first_out"}


def test_a_bias_that_is_not_stated_is_added_to_a_float32_output() -> None:
    net = SmallNetwork()
    x = net.input(1, 1, 4, 4)
    y = net.node("Conv", x, net.constant(WEIGHT * 0.5, "w"), net.constant([1, -2, 3], "b"))
    graph = import_onnx(net.model(y))
    weight = StatedParameter(S8, (0.5,), (0,))
    real = replace(graph, stated=StatedQuantization({x: X}, {"w": weight}, {}))
    quant = next(iter(plan_of(real).layers.values()))
    assert quant.is_bias_real
    assert quant.bias == (1, -2, 3)
    assert real.stated is not None
    whole = replace(real, stated=replace(real.stated, biases={"b": (100, -200, 300)}))
    quant = next(iter(plan_of(whole).layers.values()))
    assert not quant.is_bias_real
    assert tuple(quant.quantize_bias(X.scale)) == (100, -200, 300)


def test_scales_along_another_axis_make_a_layer_incomplete() -> None:
    graph = conv_and_gemm(WEIGHT, SCALES)
    assert graph.stated is not None
    rows = StatedParameter(S8, (1.0,) * 12, (0,) * 12, axis=0)
    stated = replace(graph.stated, parameters={**graph.stated.parameters, "v": rows})
    graph = replace(graph, stated=stated)
    assert "output channels" in find_incomplete(graph, parts_of(graph).layers)["gemm"]
