"""Normalizations that several nodes spell out."""

from __future__ import annotations

import pytest

from small_networks import SmallNetwork, parts_of
from tidlq.graph.layers import Layer, LayerKind, NormalizationAttributes
from tidlq.graph.recognition.fusions import FusionChoice
from tidlq.spec import Fusion


def layer_norm(
    net: SmallNetwork,
    x: str,
    *,
    centred: bool = True,
    square: str = "Pow",
    quotient: str = "Div",
    gain: bool = True,
    shift: bool = True,
) -> str:
    c = x
    if centred:
        c = net.node("Sub", x, net.node("ReduceMean", x, net.integers([-1])))
    squares = net.node("Pow", c, net.constant(2.0)) if square == "Pow" else net.node("Mul", c, c)
    mean = net.node("ReduceMean", squares, net.integers([-1]))
    root = net.node("Sqrt", net.node("Add", mean, net.constant(1e-4)))
    y = (
        net.node("Div", c, root)
        if quotient == "Div"
        else net.node("Mul", c, net.node("Reciprocal", root))
    )
    if gain:
        y = net.node("Mul", net.random(6), y)
    return net.node("Add", y, net.random(6)) if shift else y


def found(choice: FusionChoice | None = None, **spelling: object) -> tuple[Layer, ...]:
    net = SmallNetwork()
    x = net.input(1, 4, 6)
    return parts_of(net.graph(layer_norm(net, x, **spelling)), choice).layers  # type: ignore[arg-type]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("quotient", ["Div", "Reciprocal"])
def test_a_norm_that_is_spelled_out_is_one_layer(centred: bool, square: str, quotient: str) -> None:
    (layer,) = found(centred=centred, square=square, quotient=quotient)
    assert layer.kind is LayerKind.NORMALIZATION
    assert layer.op_type == ("LayerNormalization" if centred else "RMSNormalization")
    assert isinstance(layer.attributes, NormalizationAttributes)
    assert (layer.attributes.axes, layer.attributes.centred) == ((2,), centred)
    assert layer.attributes.epsilon == pytest.approx(1e-4)
    assert layer.inputs == ("input0",)


@pytest.mark.parametrize(("gain", "shift"), [(True, False), (False, True), (False, False)])
def test_gain_and_shift_may_be_missing(gain: bool, shift: bool) -> None:
    (layer,) = found(gain=gain, shift=shift)
    assert isinstance(layer.attributes, NormalizationAttributes)
    assert (layer.attributes.gain is not None, layer.attributes.shift is not None) == (gain, shift)


@pytest.mark.parametrize(
    ("centred", "fusion"), [(True, Fusion.LAYER_NORM), (False, Fusion.RMS_NORM)]
)
def test_either_norm_can_be_left_out(centred: bool, fusion: Fusion) -> None:
    layers = found(FusionChoice(left_out=(fusion,)), centred=centred)
    assert all(layer.kind is not LayerKind.NORMALIZATION for layer in layers)


def test_a_norm_of_which_somebody_reads_the_inside_stays_apart() -> None:
    net = SmallNetwork()
    x = net.input(1, 4, 6)
    y = layer_norm(net, x)
    graph = net.graph(y, net.nodes[1].output[0])
    assert all(layer.kind is not LayerKind.NORMALIZATION for layer in parts_of(graph).layers)
