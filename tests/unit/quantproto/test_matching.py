"""A saved proto either answers everything that a network asks, or says what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidlq.errors import QuantProtoError
from tidlq.quantproto import (
    ExpectedLayer,
    ExpectedTensor,
    Provenance,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    check_complete,
    find_missing,
    is_of_model,
    resolve_ranges,
    saved_precision,
)
from tidlq.spec import Range

FINGERPRINT = "0123456789abcdef" * 4
CONV = SavedLayer(
    "conv",
    "TIDL_ConvolutionLayer",
    outputs=(SavedTensor("y", Range(0.0, 6.0), 8),),
    weights=(
        SavedTensor(
            "conv.weight", Range(-1.0, 1.0), 4, channels=(Range(-1.0, 0.5), Range(0.0, 1.0))
        ),
    ),
    bias=(SavedTensor("conv.bias", Range(0.1, 0.2), 2, (0.1, 0.2)),),
)
SAVED = SavedRanges(
    layers=(SavedLayer("x", "TIDL_DataLayer", (SavedTensor("x", Range(-1.0, 2.0), 4),)), CONV),
    provenance=Provenance("0.1.0", FINGERPRINT, "type 4", 0, 20),
)
EXPECTED = (
    ExpectedLayer("x", (ExpectedTensor("x"),)),
    ExpectedLayer(
        "conv",
        (ExpectedTensor("y"),),
        weights=(ExpectedTensor("conv.weight", channels=2),),
        bias=(ExpectedTensor("conv.bias", values=2),),
    ),
)


def without_names(saved: SavedRanges) -> SavedRanges:
    def unnamed(tensors: tuple[SavedTensor, ...]) -> tuple[SavedTensor, ...]:
        return tuple(replace(tensor, name="") for tensor in tensors)

    return replace(
        saved,
        layers=tuple(
            replace(
                layer,
                outputs=unnamed(layer.outputs),
                weights=unnamed(layer.weights),
                bias=unnamed(layer.bias),
            )
            for layer in saved.layers
        ),
    )


@pytest.mark.parametrize("saved", [SAVED, without_names(SAVED)], ids=["named", "by position"])
def test_a_complete_proto_gives_every_range(saved: SavedRanges) -> None:
    assert find_missing(saved, EXPECTED) == []
    decisions = resolve_ranges(saved, EXPECTED)
    assert decisions.ranges.features == {"x": Range(-1.0, 2.0), "y": Range(0.0, 6.0)}
    assert decisions.ranges.parameters == {
        "conv.weight": Range(-1.0, 1.0),
        "conv.bias": Range(0.1, 0.2),
    }
    assert decisions.ranges.channels == {"conv.weight": CONV.weights[0].channels}
    assert decisions.values == {"conv.bias": (0.1, 0.2)}


def test_outputs_are_found_by_name_before_position() -> None:
    first, second = SavedTensor("p", Range(0.0, 1.0), 1), SavedTensor("q", Range(0.0, 2.0), 1)
    saved = SavedRanges((SavedLayer("split", "TIDL_SliceLayer", (first, second)),))
    expected = (ExpectedLayer("split", (ExpectedTensor("q"), ExpectedTensor("p"))),)
    assert resolve_ranges(saved, expected).ranges.features == {
        "p": Range(0.0, 1.0),
        "q": Range(0.0, 2.0),
    }


def test_a_tensor_of_another_name_is_not_taken() -> None:
    expected = (ExpectedLayer("x", (ExpectedTensor("other"),)),)
    assert find_missing(SAVED, expected) == ["layer 'x', outputs 'other' (not in the file)"]


def test_everything_missing_is_listed() -> None:
    poor = replace(
        CONV,
        outputs=(SavedTensor("y", None, 8),),
        weights=(replace(CONV.weights[0], channels=CONV.weights[0].channels[:1]),),
        bias=(replace(CONV.bias[0], values=()),),
    )
    expected = (ExpectedLayer("conv1", ()), *EXPECTED)
    assert find_missing(SavedRanges((SAVED.layers[0], poor)), expected) == [
        "layer 'conv1'. Did you mean 'conv'?",
        "the range of layer 'conv', outputs 'y'",
        "2 channel ranges of layer 'conv', weights 'conv.weight' (found 1)",
        "2 values of layer 'conv', bias 'conv.bias' (found 0)",
    ]


OPTIONAL_BIAS = (
    replace(EXPECTED[1], bias=(ExpectedTensor("conv.bias", values=2, is_optional=True),)),
)


def test_a_bias_that_a_layer_may_go_without_is_taken_or_left() -> None:
    assert resolve_ranges(SAVED, OPTIONAL_BIAS).values == {"conv.bias": (0.1, 0.2)}
    for bias in ((), (replace(CONV.bias[0], values=()),)):
        without = SavedRanges((replace(CONV, bias=bias),))
        assert resolve_ranges(without, OPTIONAL_BIAS).values == {}


def test_a_bias_that_a_layer_may_go_without_has_all_its_values() -> None:
    short = SavedRanges((replace(CONV, bias=(replace(CONV.bias[0], values=(0.1,)),)),))
    assert find_missing(short, OPTIONAL_BIAS) == [
        "2 values of layer 'conv', bias 'conv.bias' (found 1)"
    ]


def test_equalization_has_a_factor_for_each_output_channel() -> None:
    def with_factors(*factors: float) -> SavedRanges:
        return SavedRanges((SAVED.layers[0], replace(CONV, equalization=factors)))

    assert find_missing(with_factors(0.5, 2.0), EXPECTED) == []
    assert with_factors(0.5, 2.0).equalization.factors == {"conv": (0.5, 2.0)}
    assert not SAVED.equalization
    assert find_missing(with_factors(0.5), EXPECTED) == [
        "2 equalization factors of layer 'conv' (found 1)"
    ]


def test_a_proto_decides_the_bits_of_features_and_parameters() -> None:
    layers = (
        replace(SAVED.layers[0], bit_depth=16),
        replace(CONV, parameter_bit_depth=16),
        replace(CONV, name="other", bit_depth=16),
    )
    saved = SavedRanges(layers)
    expected = (*EXPECTED, replace(EXPECTED[1], name="other", outputs=(ExpectedTensor("z"),)))
    precision = saved_precision(saved, (*expected, ExpectedLayer("unknown", ())))
    assert precision.features == {"x": 16, "y": 8, "z": 16}
    assert precision.parameters == {"x": 16, "conv": 16, "other": 16}
    assert resolve_ranges(saved, EXPECTED).precision.feature_bits("x") == 16


def test_channel_ranges_that_no_file_states_are_left_to_the_weights() -> None:
    plain = replace(CONV, weights=(replace(CONV.weights[0], channels=()),))
    saved = SavedRanges((SAVED.layers[0], plain))
    assert resolve_ranges(saved, EXPECTED).ranges.channels == {}


def test_an_incomplete_proto_is_refused_with_the_list() -> None:
    with pytest.raises(
        QuantProtoError,
        match=r"'q\.txt' cannot replace calibration, it lacks layer 'conv'\. With",
    ):
        check_complete(SavedRanges(SAVED.layers[:1]), EXPECTED, "proto 'q.txt'")


def test_a_long_list_is_cut_and_counted() -> None:
    expected = [ExpectedLayer(f"#{index}", ()) for index in range(25)]
    with pytest.raises(QuantProtoError, match=r"layer '#19'; and 5 more\. With"):
        check_complete(SAVED, expected, "q")


def test_what_is_stated_is_taken_from_an_incomplete_proto() -> None:
    unknown = replace(CONV, outputs=(replace(CONV.outputs[0], range=None),), bias=())
    found = resolve_ranges(SavedRanges((unknown,)), EXPECTED)
    assert found.ranges.features == {}
    assert found.ranges.parameters == {"conv.weight": Range(-1.0, 1.0)}
    assert found.values == {}
    assert found.precision.features == {"y": 8}


def test_a_proto_says_for_which_model_it_was_written() -> None:
    assert is_of_model(SAVED, FINGERPRINT)
    assert not is_of_model(SAVED, "feed" * 16)
    assert is_of_model(replace(SAVED, provenance=None), FINGERPRINT)
