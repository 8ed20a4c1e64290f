"""Numbers of a pre-quantized model that it does not quantize, and that integers hold exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from small_networks import SmallNetwork
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import partition
from tidlq.graph.recognition import find_layers
from tidlq.graph.statements import find_incomplete
from tidlq.importers.onnx_model import import_onnx
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.stated_plan import make_stated_plan, stated_scheme
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    QuantPlan,
    Requantization,
    StatedParameter,
    StatedQuantization,
)

U8, S8 = IntegerType(8, signed=False), IntegerType(8, signed=True)
X, Y = FeatureQuant(U8, 0.0625, 9), FeatureQuant(U8, 0.03125, 3)


def stated(
    net: SmallNetwork, output: str, arithmetic: Requantization = Requantization.FLOAT
) -> Graph:
    graph = import_onnx(net.model(output))
    statement = StatedQuantization({"input0": X, output: Y}, {}, {}, arithmetic)
    return replace(graph, stated=statement)


def with_operand(op: str, values: list[float], **options: Requantization) -> Graph:
    net = SmallNetwork(opset=17)
    x = net.input(1, 2, 3, 3)
    shape = (-1, 1, 1)
    operand = net.constant(np.reshape(values, shape), "operand")
    return stated(net, net.node(op, x, operand, name="layer"), **options)


def normalised() -> Graph:
    net = SmallNetwork(opset=17)
    return stated(net, net.batch_norm(net.input(1, 5, 3, 3), 5, name="layer"))


def plan_of(graph: Graph) -> QuantPlan:
    parts = partition(graph, find_layers(graph))
    ranges = measure_parameters(graph, parts.layers)
    return make_stated_plan(graph, parts, ranges, stated_scheme(Requantization.FLOAT))


def reasons(graph: Graph) -> dict[str, str]:
    return dict(find_incomplete(graph, find_layers(graph).layers))


@pytest.mark.parametrize(
    ("op", "value", "factor"), [("Mul", 0.3, 0.3), ("Div", -6.0, 1 / 6), ("Add", 3.0, 3.0)]
)
def test_one_number_is_an_operand_whose_scale_it_is(op: str, value: float, factor: float) -> None:
    graph = with_operand(op, [value])
    assert reasons(graph) == {}
    operand = plan_of(graph).layers["layer"].operand
    assert operand == FeatureQuant(S8, float(np.float32(factor)), 0)


def test_equal_numbers_per_channel_are_one_number() -> None:
    assert reasons(with_operand("Div", [4.0, 4.0])) == {}


def test_zero_is_an_operand_too() -> None:
    assert plan_of(with_operand("Add", [0.0])).layers["layer"].operand == FeatureQuant(S8, 1.0, 0)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (with_operand("Mul", [0.3, 0.4]), "no scale for parameter 'operand'"),
        (with_operand("Div", [3.0, 4.0]), "it divides by a constant of several values"),
        (
            with_operand("Mul", [0.3], arithmetic=Requantization.TWICE_ROUNDED),
            "no scale for parameter 'operand'",
        ),
    ],
)
def test_other_operands_need_a_scale(graph: Graph, expected: str) -> None:
    assert expected in reasons(graph)["layer"]


def test_a_stated_number_keeps_its_own_scale() -> None:
    graph = with_operand("Mul", [0.3])
    assert graph.stated is not None
    own = StatedParameter(U8, (0.0125,), (1,))
    graph = replace(graph, stated=replace(graph.stated, parameters={"operand": own}))
    assert plan_of(graph).layers["layer"].operand == FeatureQuant(U8, 0.0125, 1)


def test_a_batch_norm_keeps_its_gain_and_nearly_its_bias() -> None:
    graph = normalised()
    assert reasons(graph) == {}
    (layer,) = find_layers(graph).layers
    parameters = layer_parameters(graph, layer)
    quant = plan_of(graph).layers["layer"]
    assert quant.weight is not None
    assert quant.requantization is Requantization.FLOAT
    gains = quant.weight.quantize(parameters.weight) * np.asarray(quant.weight.scales)
    np.testing.assert_allclose(gains, parameters.weight, rtol=2.0**-23)
    assert parameters.bias is not None
    steps = np.asarray(quant.weight.scales) * X.scale
    error = np.abs(quant.quantize_bias(X.scale) * steps - parameters.bias)
    assert (error <= np.abs(parameters.weight) * X.scale * 2.0**-15).all()


def test_statements_about_what_a_gain_is_computed_of_do_not_decide_its_scale() -> None:
    graph = normalised()
    assert graph.stated is not None
    (layer,) = find_layers(graph).layers
    coarse = StatedParameter(S8, (0.5,), (0,))
    assert layer.weight is not None
    changed = replace(graph, stated=replace(graph.stated, parameters={layer.weight: coarse}))
    assert plan_of(changed).layers["layer"].weight == plan_of(graph).layers["layer"].weight
