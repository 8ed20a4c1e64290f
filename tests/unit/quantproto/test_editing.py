"""Assignments change ranges, bits and biases, and say what they cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidlq.errors import OptionError
from tidlq.quantproto import SavedLayer, SavedRanges, SavedTensor, edit_saved
from tidlq.quantproto.editing import Change
from tidlq.spec import IntegerType, Range, RangeOrigin

U8 = IntegerType(8, signed=False)
CONV = SavedLayer(
    "block.1/conv",
    "TIDL_ConvolutionLayer",
    outputs=(SavedTensor("y", Range(0.0, 4.0), 8, type=U8, scales=(64.0,), zero_points=(0,)),),
    weights=(
        SavedTensor("block.1/conv.weight", Range(-1.0, 1.0), 4, channels=(Range(-1.0, 1.0),) * 2),
    ),
    bias=(SavedTensor("block.1/conv.bias", Range(0.1, 0.2), 2, (0.1, 0.2), scales=(9.0,)),),
)
SPLIT = SavedLayer(
    "split",
    "TIDL_SliceLayer",
    outputs=(SavedTensor("p", None, 1), SavedTensor("q", Range(-1.0, 1.0), 1)),
)
SAVED = SavedRanges((CONV, SPLIT))


def edited(*assignments: str) -> tuple[SavedLayer, SavedLayer]:
    first, second = edit_saved(SAVED, assignments).saved.layers
    return first, second


@pytest.mark.parametrize(
    "target", ["block.1/conv.outputs", "block.1/conv.output[0]", "block.1/conv.y", "y", "blo*.y"]
)
def test_a_range_is_set_by_layer_and_role_or_by_the_tensors_name(target: str) -> None:
    conv, split = edited(f"{target}=-0.5:6")
    assert conv.outputs == (SavedTensor("y", Range(-0.5, 6.0, RangeOrigin.SAVED), 8),)
    assert (conv.weights, conv.bias, split) == (CONV.weights, CONV.bias, SPLIT)


@pytest.mark.parametrize(
    ("value", "known"),
    [(":6", (0.0, 6.0)), ("-1:", (-1.0, 4.0)), (" -1e-3 : 1e3 ", (-0.001, 1000.0))],
)
def test_one_bound_alone_keeps_the_other(value: str, known: tuple[float, float]) -> None:
    assert edited(f"y={value}")[0].outputs[0].range == Range(*known, RangeOrigin.SAVED)


def test_a_weights_new_range_takes_the_ranges_of_its_channels_out() -> None:
    weight = edited("block.1/conv.weights=-0.5:0.5")[0].weights[0]
    assert (weight.range, weight.channels) == (Range(-0.5, 0.5, RangeOrigin.SAVED), ())


def test_unknown_takes_ranges_and_bias_values_out() -> None:
    conv, _ = edited("y=unknown", "block.1/conv.bias=unknown")
    assert conv.outputs[0].range is None
    assert (conv.bias[0].range, conv.bias[0].values, conv.bias[0].size) == (None, (), 2)


def test_values_of_a_bias_give_its_range() -> None:
    bias = edited("block.1/conv.bias=0.5,-0.25")[0].bias[0]
    assert bias.values == (0.5, -0.25)
    assert bias.range == Range(-0.25, 0.5, RangeOrigin.SAVED)
    assert bias.scales == ()


def test_bits_of_features_are_those_of_parameters_too() -> None:
    conv, split = edited("*.bits=16")
    assert (conv.bit_depth, conv.parameter_bit_depth, split.bit_depth) == (16, None, 16)
    assert (conv.outputs[0].scales, conv.outputs[0].type) == ((), None)
    assert conv.outputs[0].range == CONV.outputs[0].range


def test_bits_of_parameters_alone() -> None:
    conv, _ = edited("block.1/conv.parameter_bits=16")
    assert (conv.bit_depth, conv.parameter_bit_depth) == (8, 16)
    assert conv.outputs == CONV.outputs
    assert edited("block.1/conv.parameter_bits=8")[0].parameter_bit_depth is None


def test_the_second_output_is_named_by_its_index() -> None:
    assert edited("split.outputs[1]=0:1")[1].outputs[1].range == Range(0.0, 1.0, RangeOrigin.SAVED)
    assert edited("split.p=0:1")[1].outputs[0].range == Range(0.0, 1.0, RangeOrigin.SAVED)


def test_changes_are_told_in_order() -> None:
    changes = edit_saved(SAVED, ["y=0:6", "y=0:7", "split.bits=16", "p=0:1"]).changes
    assert changes == (
        Change("block.1/conv", "y", "0:4", "0:6"),
        Change("block.1/conv", "y", "0:6", "0:7"),
        Change("split", "bits", "8", "16"),
        Change("split", "p", "unknown", "0:1"),
    )


@pytest.mark.parametrize(
    ("assignment", "fault"),
    [
        ("y", "'y' cannot be read, allowed: LAYER.TENSOR=MIN:MAX"),
        ("=1:2", "cannot be read"),
        ("y=1", "has no range MIN:MAX"),
        ("y=2:1", "is no range"),
        ("y=nan:1", "is no range"),
        ("y=0:inf", "is no range"),
        ("y=0:3.4028235e38", "stands for 'not known'"),
        ("y=a:1", "has the bound 'a', which is no number"),
        ("p=:1", "has the bound '', which is no number"),
        ("split.bits=12", "is not of 8 or 16 bits"),
        ("block.1/conv.bias=0:1", "the values of a bias decide: give all 2"),
        ("block.1/conv.bias=1,2,3", "has 3 values, the bias has 2"),
        ("block.1/conv.bias=1,x", "no numbers"),
        ("block.1/conv.bias=1,inf", "not finite"),
        ("spilt.p=0:1", r"names no layer and tensor of the file\. Did you mean 'split\.p'"),
        ("split.wieghts=0:1", r"layer 'split' has no 'wieghts'; it has outputs\[0\], outputs\[1\]"),
        ("split.weights=0:1", "layer 'split' has no 'weights'"),
        ("split.outputs[2]=0:1", "has no"),
        ("conv?.outputs=0:1", "names no layer"),
    ],
)
def test_what_cannot_be_assigned_is_told(assignment: str, fault: str) -> None:
    with pytest.raises(OptionError, match=fault):
        edit_saved(SAVED, [assignment])


def test_a_layer_name_that_ends_like_a_field_is_still_found() -> None:
    saved = SavedRanges((replace(CONV, name="a.outputs"),))
    layer = edit_saved(saved, ["a.outputs.outputs=0:1"]).saved.layers[0]
    assert layer.outputs[0].range == Range(0.0, 1.0, RangeOrigin.SAVED)
