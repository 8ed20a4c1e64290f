"""Which nodes become one layer, and what keeps them apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from small_networks import SmallNetwork, parts_of
from tidlq.graph.layers import FunctionAttributes, Layer, LayerKind
from tidlq.graph.recognition import find_layers
from tidlq.graph.recognition.fusions import FusionChoice
from tidlq.spec import FeatureQuant, Fusion, IntegerType, StatedQuantization

Spelling = Callable[[SmallNetwork, str], str]


def network() -> tuple[SmallNetwork, str]:
    net = SmallNetwork()
    return net, net.conv(net.input(1, 3, 4, 4), (2, 3, 1, 1), name="c")


def fused(spelling: Spelling, choice: FusionChoice | None = None) -> tuple[Layer, ...]:
    net, x = network()
    graph = net.graph(spelling(net, x))
    return parts_of(graph, choice).layers[1:]


def silu(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", net.node("Sigmoid", x), x)


def quick_gelu(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", x, net.node("Sigmoid", net.node("Mul", x, net.constant(1.702))))


def hard_swish(net: SmallNetwork, x: str) -> str:
    gate = net.clip(net.node("Add", x, net.constant(3.0)), 0, 6)
    return net.node("Div", net.node("Mul", x, gate), net.constant(6.0))


def hard_swish_by_gate(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", x, net.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def hard_swish_by_share(net: SmallNetwork, x: str) -> str:
    gate = net.clip(net.node("Add", net.constant(3.0), x), 0, 6)
    return net.node("Mul", net.node("Mul", gate, net.constant(1 / 6)), x)


def mish(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", x, net.node("Tanh", net.node("Softplus", x)))


def one_and_erf(net: SmallNetwork, x: str) -> str:
    scaled = net.node("Div", x, net.constant(math.sqrt(2)))
    return net.node("Add", net.node("Erf", scaled), net.constant(1.0))


def gelu_half_last(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", net.node("Mul", x, one_and_erf(net, x)), net.constant(0.5))


def gelu_half_first(net: SmallNetwork, x: str) -> str:
    return net.node("Mul", net.node("Mul", x, net.constant(0.5)), one_and_erf(net, x))


def gelu_by_tanh(net: SmallNetwork, x: str) -> str:
    cube = net.node("Mul", net.node("Pow", x, net.constant(3.0)), net.constant(0.044715))
    inner = net.node("Mul", net.node("Add", x, cube), net.constant(math.sqrt(2 / math.pi)))
    one = net.node("Add", net.node("Tanh", inner), net.constant(1.0))
    return net.node("Mul", net.node("Mul", net.constant(0.5), x), one)


@pytest.mark.parametrize(
    ("spelling", "function", "parameters"),
    [
        (silu, "Swish", {"alpha": 1.0}),
        (quick_gelu, "Swish", {"alpha": pytest.approx(1.702)}),
        (hard_swish, "HardSwish", {}),
        (hard_swish_by_gate, "HardSwish", {}),
        (hard_swish_by_share, "HardSwish", {}),
        (mish, "Mish", {}),
        (gelu_half_last, "Gelu", {"by_tanh": 0.0}),
        (gelu_half_first, "Gelu", {"by_tanh": 0.0}),
        (gelu_by_tanh, "Gelu", {"by_tanh": 1.0}),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_an_activation_that_is_spelled_out_is_one_table(
    spelling: Spelling, function: str, parameters: dict[str, float]
) -> None:
    (layer,) = fused(spelling)
    assert isinstance(layer.attributes, FunctionAttributes)
    assert (layer.kind, layer.attributes.function) == (LayerKind.FUNCTION, function)
    assert dict(layer.attributes.parameters) == parameters
    assert layer.attributes.is_plain
    assert layer.name == layer.nodes[-1]


@pytest.mark.parametrize("operator", ["Relu", "Sigmoid", "Tanh", "HardSigmoid", "LeakyRelu"])
def test_numbers_behind_an_activation_are_its_gain_and_shift(operator: str) -> None:
    def spelling(net: SmallNetwork, x: str) -> str:
        product = net.node("Mul", net.node(operator, x), net.constant(1.25))
        return net.node("Add", product, net.constant([-0.5]))

    (layer,) = fused(spelling)
    assert isinstance(layer.attributes, FunctionAttributes)
    assert layer.attributes.function == operator
    assert layer.attributes.gain == pytest.approx(1.25, rel=1e-6)
    assert layer.attributes.shift == pytest.approx(-0.5, rel=1e-6)


def test_a_gain_per_channel_is_a_layer_of_its_own() -> None:
    layers = fused(lambda net, x: net.node("Mul", net.node("Tanh", x), net.random(2, 1, 1)))
    assert [layer.kind for layer in layers] == [LayerKind.FUNCTION, LayerKind.PRODUCT]


def test_a_gate_that_somebody_else_reads_stays_apart() -> None:
    net, x = network()
    gate = net.node("Sigmoid", x)
    graph = net.graph(net.node("Mul", x, gate), gate)
    kinds = [layer.kind for layer in parts_of(graph).layers]
    assert kinds == [LayerKind.CONVOLUTION, LayerKind.FUNCTION, LayerKind.PRODUCT]


@pytest.mark.parametrize(
    ("spelling", "fusion"),
    [
        (silu, Fusion.SILU),
        (hard_swish, Fusion.HARD_SWISH),
        (mish, Fusion.MISH),
        (gelu_half_last, Fusion.GELU),
    ],
)
def test_a_fusion_can_be_left_out(spelling: Spelling, fusion: Fusion) -> None:
    net, x = network()
    graph = net.graph(spelling(net, x))
    table = find_layers(graph, fusions=FusionChoice(left_out=(fusion,)))
    assert len(table.layers) + len(table.float_nodes) > 2


def test_a_tensor_that_has_a_range_of_its_own_is_not_hidden() -> None:
    net, x = network()
    gate = net.node("Sigmoid", x)
    graph = net.graph(net.node("Mul", x, gate))
    assert len(find_layers(graph).layers) == 2
    assert len(find_layers(graph, fusions=FusionChoice(shown=(gate,))).layers) == 3


def test_a_denied_node_is_not_taken_in() -> None:
    net, x = network()
    gate = net.node("Sigmoid", x, name="gate")
    graph = net.graph(net.node("Mul", x, gate))
    table = find_layers(graph, {"gate": "denied"})
    assert [node.name for node in table.float_nodes] == ["gate"]


@pytest.mark.parametrize(
    ("stated", "layers"), [(("x", "gate", "y"), 3), (("x", "y"), 2), (("x",), 3)]
)
def test_statements_of_a_pre_quantized_model_decide(stated: tuple[str, ...], layers: int) -> None:
    net, x = network()
    gate = net.node("Sigmoid", x)
    y = net.node("Mul", x, gate)
    names = {"x": x, "gate": gate, "y": y}
    quant = FeatureQuant(IntegerType(8, signed=False), 0.5, 3)
    statements = StatedQuantization({names[name]: quant for name in stated}, {}, {})
    graph = replace(net.graph(y), stated=statements)
    assert len(find_layers(graph).layers) == layers
