"""Merging unites ranges exactly, and refuses what has no union."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import QuantProtoError
from tidlq.quantproto import Provenance, SavedLayer, SavedRanges, SavedTensor, merge_saved
from tidlq.spec import Range, RangeOrigin

ORIGIN = Provenance("0", "f" * 64, "type 0", 2, 4)
CONV = SavedLayer(
    "conv",
    "TIDL_ConvolutionLayer",
    outputs=(SavedTensor("y", Range(0.0, 4.0), 8, scales=(64.0,), zero_points=(0,)),),
    bias=(SavedTensor("conv.bias", Range(0.1, 0.2), 2, (0.1, 0.2)),),
)
SAVED = SavedRanges((CONV,), provenance=ORIGIN)


def with_output(low: float, high: float, **changes: object) -> SavedRanges:
    known = Range(low, high)
    output = replace(CONV.outputs[0], range=known, **changes)  # type: ignore[arg-type]
    return replace(SAVED, layers=(replace(CONV, outputs=(output,)),))


def merged(*files: SavedRanges, drop_biases: bool = False) -> SavedRanges:
    named = [(f"{number}.txt", saved) for number, saved in enumerate(files)]
    return merge_saved(named, drop_biases=drop_biases).saved


def test_a_range_becomes_the_smallest_min_and_the_largest_max() -> None:
    found = merged(with_output(-1.0, 2.0), with_output(-0.5, 3.0), with_output(0.0, 1.0))
    assert found.layers[0].outputs[0].range == Range(-1.0, 3.0, RangeOrigin.MEASURED)


bound = st.floats(-(2.0**100), 2.0**100, width=32)
bounds = st.tuples(bound, bound).map(sorted)


@given(pairs=st.lists(bounds, min_size=2, max_size=5), data=st.data())
def test_the_order_of_files_has_no_influence_on_ranges(
    pairs: list[list[float]], data: st.DataObject
) -> None:
    files = [with_output(low, high) for low, high in pairs]
    shuffled = data.draw(st.permutations(files))
    assert merged(*files).layers[0].outputs[0].range == merged(*shuffled).layers[0].outputs[0].range


def test_stored_scales_stay_only_with_the_range_that_they_were_stored_for() -> None:
    wide = with_output(0.0, 8.0, scales=(32.0,))
    assert merged(SAVED, wide).layers[0].outputs[0].scales == (32.0,)
    mixed = merged(wide, with_output(-1.0, 1.0))
    assert mixed.layers[0].outputs[0].scales == ()


def test_frames_are_added_up_and_the_rest_is_what_the_files_agree_on() -> None:
    other = replace(SAVED, provenance=replace(ORIGIN, frames=3, options=(("a", "1"),)))
    found = merged(SAVED, other).provenance
    assert found is not None
    assert (found.frames, found.graph_fingerprint, found.options) == (7, "f" * 64, ())


def test_what_one_file_does_not_know_is_anothers() -> None:
    unknown = replace(CONV, outputs=(replace(CONV.outputs[0], range=None),), bias=())
    assert merged(SavedRanges((unknown,)), SAVED).layers == (CONV,)
    assert merged(SAVED, SavedRanges((unknown,))).layers == (CONV,)


def test_layers_of_one_file_only_stand_behind_those_they_follow() -> None:
    def layers(*names: str) -> SavedRanges:
        return SavedRanges(tuple(replace(CONV, name=name) for name in names))

    found = merged(layers("a", "b", "d"), layers("z", "a", "c", "d", "e"))
    assert [layer.name for layer in found.layers] == ["z", "a", "c", "b", "d", "e"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bit_depth": 16}, r"layer 'conv' cannot be merged: bit_depth is 8 in '0.txt' and 16 in"),
        ({"layer_type": "TIDL_PoolingLayer"}, "layer_type is TIDL_ConvolutionLayer in"),
        ({"equalization": (2.0, 1.0)}, "layer 'conv' has another equalization in '1.txt'"),
        (
            {"bias": (replace(CONV.bias[0], values=(0.1, 0.3)),)},
            "layer 'conv', conv.bias has other values in '1.txt' than in '0.txt'",
        ),
        ({"outputs": (replace(CONV.outputs[0], size=9),)}, "y cannot be merged: size is 8 in"),
    ],
)
def test_what_has_no_union_is_refused(changes: dict[str, object], fault: str) -> None:
    other = SavedRanges((replace(CONV, **changes),))  # type: ignore[arg-type]
    with pytest.raises(QuantProtoError, match=fault):
        merged(SAVED, other)


def test_files_of_different_models_are_refused() -> None:
    other = replace(SAVED, provenance=replace(ORIGIN, graph_fingerprint="0" * 64))
    with pytest.raises(QuantProtoError, match=r"'0.txt' and '1.txt' are of different models"):
        merged(SAVED, other)


def test_biases_that_differ_can_be_left_out() -> None:
    other = replace(CONV, bias=(replace(CONV.bias[0], values=(0.1, 0.3)),))
    found = merged(SAVED, SavedRanges((other,)), drop_biases=True)
    assert found.layers[0].bias[0].values == ()
    assert merged(SAVED, SAVED, drop_biases=True).layers == SAVED.layers


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (ORIGIN, None),
        (replace(ORIGIN, accuracy_level=0), "are means over frames"),
        (replace(ORIGIN, accuracy_level=1, calibration_method="mse"), "searched for \\(mse\\)"),
        (replace(ORIGIN, accuracy_level=9), None),
        (None, None),
    ],
)
def test_a_union_that_is_no_calibration_of_all_frames_is_told(
    origin: Provenance | None, told: str | None
) -> None:
    notices = merge_saved([("a.txt", replace(SAVED, provenance=origin))]).notices
    if told is None:
        assert notices == ()
    else:
        (notice,) = notices
        assert told.replace("\\", "") in notice
