"""Precision from the options: lists of names, ranges of layers, and what they take along."""

from __future__ import annotations

import pytest

import tidlq
from small_networks import SmallNetwork, parts_of
from tidlq.graph.model import Graph
from tidlq.precision.assignment import Assignment, assign_precision
from tidlq.target import Options


def branches() -> Graph:
    """Two convolutions of one input, concatenated, then two in a row."""
    net = SmallNetwork()
    x = net.input(1, 3, 8, 8)
    left = net.conv(x, (2, 3, 1, 1), name="left")
    right = net.conv(x, (4, 3, 1, 1), name="right")
    joined = net.node("Concat", left, right, axis=1, name="join")
    third = net.node("Relu", net.conv(joined, (4, 6, 3, 3), name="third"), name="relu")
    return net.graph(net.conv(third, (2, 4, 3, 3), name="out:side"))


GRAPH = branches()


def assigned(graph: Graph = GRAPH, **options: object) -> Assignment:
    return assign_precision(Options.parse(options), graph, parts_of(graph))


def wide(assignment: Assignment) -> set[str]:
    return {name.removesuffix("_out") for name in assignment.precision.features}


def test_nothing_is_asked_by_default() -> None:
    assert assigned() == Assignment(assigned().precision)
    assert assigned().precision.default == 8


def test_a_concat_takes_its_inputs_along_and_says_so() -> None:
    found = assigned(output_feature_16bit_names_list="join")
    assert wide(found) == {"left", "right", "join"}
    assert set(found.precision.parameters) == {"left", "right"}
    assert found.asked == ("join",)
    assert found.taken_along == ("left", "right")
    (notice,) = found.notices
    assert "'left', 'right' with 'join'" in notice


def test_a_layer_alone_in_its_group_takes_nothing_along() -> None:
    found = assigned(output_feature_16bit_names_list="third")
    assert wide(found) == {"relu"}
    assert found.precision.parameters == {"third": 16}
    assert (found.taken_along, found.notices) == ((), ())


@pytest.mark.parametrize("entry", ["third", "relu_out", "third_out"])
def test_a_layer_is_named_by_itself_or_by_its_outputs(entry: str) -> None:
    assert assigned(output_feature_16bit_names_list=entry).asked == ("third",)


def test_a_range_names_every_layer_between_its_ends() -> None:
    found = assigned(params_16bit_names_list="right:third")
    assert list(found.precision.parameters) == ["right", "third"]
    assert found.precision.features == {}


def test_ends_of_a_range_may_be_outputs_and_contain_colons() -> None:
    found = assigned(params_16bit_names_list="third_out:out:side, left")
    assert set(found.precision.parameters) == {"third", "out:side", "left"}
    assert set(assigned(params_16bit_names_list="out:side").precision.parameters) == {"out:side"}


def test_an_input_of_the_network_may_have_16_bits() -> None:
    found = assigned(output_feature_16bit_names_list="input0")
    assert wide(found) == {"input0"}
    assert found.precision.parameters == {}


@pytest.mark.parametrize(
    ("option", "entry", "message"),
    [
        ("output_feature_16bit_names_list", "thrid", "does not have. Did you mean '.*third'"),
        ("output_feature_16bit_names_list", "third:left", "'left' comes before 'third'"),
        ("params_16bit_names_list", "join", r"'join' \(Concat\), which has no parameters"),
        ("params_16bit_names_list", "left:nowhere", "does not have"),
    ],
)
def test_names_that_mean_nothing_are_refused(option: str, entry: str, message: str) -> None:
    with pytest.raises(tidlq.OptionError, match=message):
        assigned(**{option: entry})


def deconvolved() -> Graph:
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 6, 6), (3, 3, 1, 1), name="conv")
    return net.graph(net.node("ConvTranspose", x, net.random(3, 2, 2, 2), name="deconv"))


@pytest.mark.parametrize("option", ["output_feature_16bit_names_list", "params_16bit_names_list"])
def test_a_device_without_16_bit_deconvolution_refuses_to_be_asked(option: str) -> None:
    with pytest.raises(tidlq.OptionError, match="AM62A has 8-bit deconvolution only"):
        assigned(deconvolved(), device="AM62A", **{option: "deconv"})
    assert assigned(deconvolved(), device="AM68A", **{option: "deconv"}).precision.parameters


def test_all_of_16_bits_leaves_deconvolution_at_8_where_a_device_has_no_other() -> None:
    found = assigned(deconvolved(), device="AM62A", tensor_bits=16)
    assert found.precision.feature_bits("input0") == 16
    assert {found.precision.feature_bits(x) for x in ("conv_out", "deconv_out")} == {8}
    assert {found.precision.parameter_bits(x) for x in ("conv", "deconv")} == {8}
    (notice,) = found.notices
    assert "'conv', 'deconv'" in notice


def test_a_compilation_reports_what_a_list_took_along() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    parts = [net.conv(x, (2, 3, 1, 1), name=name) for name in ("left", "right")]
    model = net.model(net.node("Concat", *parts, axis=1, name="join"))
    frames = [{"input0": net.rng.normal(size=(1, 3, 6, 6)).astype("float32")}]
    compiled = tidlq.compile(model, frames, {"output_feature_16bit_names_list": "left"})
    assert compiled.artifacts.report["precision"] == {
        "asked": ["left"],
        "taken_along": ["right", "join"],
    }
    assert any("takes along 'right', 'join' with 'left'" in text for text in compiled.notices)
