"""A comparison finds what decides a network, measured in integer steps, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidlq.quantproto import DifferenceKind, SavedLayer, SavedRanges, SavedTensor, compare_saved
from tidlq.quantproto.differences import Difference
from tidlq.spec import IntegerType, Range, RangeOrigin

CONV = SavedLayer(
    "conv",
    "TIDL_ConvolutionLayer",
    outputs=(SavedTensor("y", Range(0.0, 4.0), 8, scales=(64.0,), zero_points=(0,)),),
    weights=(SavedTensor("conv.weight", Range(-1.0, 1.0), 4),),
    bias=(SavedTensor("conv.bias", Range(0.1, 0.2), 2, (0.1, 0.2)),),
)
DATA = SavedLayer("x", "TIDL_DataLayer", (SavedTensor("x", Range(-1.0, 2.0), 4),))
SAVED = SavedRanges((DATA, CONV))


def with_conv(**changes: object) -> SavedRanges:
    return SavedRanges((DATA, replace(CONV, **changes)))  # type: ignore[arg-type]


def only(first: SavedRanges, second: SavedRanges, tolerance: float = 0.0) -> Difference:
    (found,) = compare_saved(first, second, tolerance)
    return found


def test_equal_files_have_no_differences() -> None:
    assert compare_saved(SAVED, SAVED) == ()


def test_what_informs_only_is_no_difference() -> None:
    output = replace(
        CONV.outputs[0],
        scales=(1.0,),
        zero_points=(3,),
        type=IntegerType(8, signed=True),
        range=Range(-0.0, 4.0, RangeOrigin.SAVED),
    )
    assert compare_saved(SAVED, with_conv(outputs=(output,))) == ()


def test_a_range_is_compared_in_steps_of_the_second_file() -> None:
    output = replace(CONV.outputs[0], range=Range(0.0, 4.5), scales=(32.0,))
    found = only(SAVED, with_conv(outputs=(output,)))
    assert found == Difference(
        DifferenceKind.RANGE, "conv", "outputs", "y", (0.0, 4.0), (0.0, 4.5), 16.0, 1 / 64, 1 / 32
    )


def test_steps_follow_from_the_range_where_no_scale_is_stated() -> None:
    weight = replace(CONV.weights[0], range=Range(-2.0, 1.0))
    found = only(SAVED, with_conv(weights=(weight,)))
    assert (found.steps, found.step_before, found.step_after) == (64.0, 1 / 128, 1 / 64)


@pytest.mark.parametrize(("tolerance", "count"), [(31.9, 1), (32.0, 0)])
def test_differences_up_to_the_tolerance_are_left_out(tolerance: float, count: int) -> None:
    output = replace(CONV.outputs[0], range=Range(0.0, 4.5))
    assert len(compare_saved(SAVED, with_conv(outputs=(output,)), tolerance)) == count


def test_a_range_that_one_file_does_not_know_differs_at_any_tolerance() -> None:
    output = replace(CONV.outputs[0], range=None, scales=())
    found = only(SAVED, with_conv(outputs=(output,)), 1e9)
    assert (found.kind, found.after, found.steps) == (DifferenceKind.RANGE, None, None)


def test_biases_are_compared_by_value_in_steps_of_the_output() -> None:
    bias = replace(CONV.bias[0], values=(0.1, 0.25), range=Range(0.1, 0.25))
    found = only(SAVED, with_conv(bias=(bias,)))
    assert (found.kind, found.tensor) == (DifferenceKind.VALUES, "conv.bias")
    assert found.steps == pytest.approx(0.05 * 64)


def test_layers_tensors_types_bits_and_factors_are_compared() -> None:
    other = with_conv(
        layer_type="TIDL_InnerProductLayer",
        bit_depth=16,
        weights=(),
        equalization=(0.5, 2.0),
    )
    added = replace(DATA, name="z")
    found = compare_saved(SAVED, replace(other, layers=(*other.layers[1:], added), symmetric=False))
    assert [(x.kind.value, x.layer, x.before, x.after) for x in found] == [
        ("file", "", "zero points 0", "zero points any"),
        ("layer", "x", "TIDL_DataLayer", None),
        ("type", "conv", "TIDL_ConvolutionLayer", "TIDL_InnerProductLayer"),
        ("bits", "conv", 8, 16),
        ("parameter bits", "conv", 8, 16),
        ("equalization", "conv", None, "0.5 .. 2"),
        ("tensor", "conv", "stated", None),
        ("layer", "z", None, "TIDL_DataLayer"),
    ]


def test_channel_ranges_are_compared_one_by_one() -> None:
    weight = replace(CONV.weights[0], channels=(Range(-1.0, 0.5), Range(0.0, 1.0)))
    first = with_conv(weights=(weight,))
    moved = replace(weight, channels=(Range(-1.0, 0.5), Range(0.0, 0.875)))
    found = only(first, with_conv(weights=(moved,)))
    assert (found.kind, found.steps) == (DifferenceKind.CHANNELS, 16.0)
    assert only(first, SAVED).after is None


def test_tensors_without_names_are_compared_by_place() -> None:
    unnamed = with_conv(outputs=(replace(CONV.outputs[0], name=""),))
    assert compare_saved(SAVED, unnamed) == ()
    assert compare_saved(unnamed, SAVED) == ()


def test_tensors_of_other_names_are_other_tensors() -> None:
    renamed = with_conv(outputs=(replace(CONV.outputs[0], name="z"),))
    assert [x.tensor for x in compare_saved(SAVED, renamed)] == ["y", "z"]
