"""A strict file says what it leaves out."""

from __future__ import annotations

from dataclasses import replace

from tidlq.quantproto import (
    Provenance,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    find_left_out,
    find_unsuitable,
)
from tidlq.spec import Range

PLAIN = SavedRanges((SavedLayer("x", "TIDL_DataLayer", (SavedTensor("", None, 4),)),))


def test_a_file_without_extensions_loses_nothing() -> None:
    assert find_left_out(PLAIN) == ()
    assert find_unsuitable(PLAIN) == ()


def test_everything_that_only_extensions_say_is_told() -> None:
    weight = SavedTensor("w", Range(-1.0, 1.0), 4, channels=(Range(-1.0, 1.0),))
    layer = SavedLayer(
        "conv", "TIDL_ConvolutionLayer", (), (weight,), parameter_bit_depth=16, equalization=(2.0,)
    )
    provenance = Provenance("0", "f", "s", 1, 2)
    told = find_left_out(SavedRanges((layer,), provenance=provenance))
    for part, text in zip(
        ("rescaling of the channels of 1 layer:", "channels of 1 weight", "16bit_names_list",
         "names", "measured", "fingerprint"),
        told,
        strict=True,
    ):  # fmt: skip
        assert part in text
    assert "conv" in told[2]


def test_what_tis_reader_does_not_take_is_told() -> None:
    odd = replace(PLAIN, symmetric=False, layers=(replace(PLAIN.layers[0], layer_type="Odd"),))
    asymmetric, unknown = find_unsuitable(odd)
    assert "asymmetric" in asymmetric
    assert "'Odd'" in unknown
