"""Doors of the quantization proto: what is refused, and what the refusal says."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tidlq.errors import OutputError, QuantProtoError
from tidlq.quantproto import (
    Provenance,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    read_quant_params,
    validate_quant_params,
    write_quant_params,
)
from tidlq.spec import Range

FEATURE = SavedTensor("x", Range(-1.0, 2.5), 12)
SAVED = SavedRanges(
    layers=(
        SavedLayer("x", "TIDL_DataLayer", (FEATURE,)),
        SavedLayer(
            "conv",
            "TIDL_ConvolutionLayer",
            outputs=(SavedTensor("y", Range(0.0, 6.0), 8),),
            weights=(SavedTensor("conv.weight", Range(-0.5, 0.25), 4),),
            bias=(SavedTensor("conv.bias", Range(0.1, 0.1), 1, (0.1,)),),
        ),
    ),
    provenance=Provenance("0.1.0", "ab" * 32, "type 4", 0, 20, (("tensor_bits", "8"),)),
)


def written(folder: Path, text: str, name: str = "q.prototxt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def one_layer(inside: str) -> str:
    return f'num_layers: 1 layers {{ layer_name: "a" layer_type: "TIDL_DataLayer" {inside} }}'


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(QuantProtoError, match=r"absent\.prototxt' cannot be read: No such file"):
        read_quant_params(tmp_path / "absent.prototxt")


@pytest.mark.parametrize("act", [read_quant_params, validate_quant_params])
def test_an_unknown_extension_lists_the_known_ones(act: object, tmp_path: Path) -> None:
    path = written(tmp_path, "", "q.yaml")
    assert callable(act)
    with pytest.raises(QuantProtoError, match=r"'\.yaml'; text is \.prototxt.*\.bin.*\.json"):
        act(path)


def test_a_syntax_error_has_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "num_layers: 1\nlayers {\n  bit_depth: eight\n}\n")
    with pytest.raises(QuantProtoError, match=r"line 3, column 14: Couldn't parse integer: eight"):
        read_quant_params(path)
    (problem,) = validate_quant_params(path).problems
    assert "line 3, column 14" in problem


def test_an_unknown_field_suggests_the_nearest_one(tmp_path: Path) -> None:
    path = written(tmp_path, 'num_layers: 1\nlayers { layer_nam: "a" }')
    with pytest.raises(
        QuantProtoError,
        match=r"line 2, column 10: TidlLayerQuantParams has no field 'layer_nam'\. "
        "Did you mean 'layer_name'",
    ):
        read_quant_params(path)


def test_text_that_is_binary_says_which_extensions_are_binary(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(QuantProtoError, match=r"not UTF-8 text \(byte 0\).*\.pb"):
        read_quant_params(path)


def test_bytes_that_are_no_message_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.pb"
    path.write_bytes(b"\x22\xff")
    with pytest.raises(QuantProtoError, match="not a binary TIDLNetQuantParams message"):
        read_quant_params(path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the file has no layers"),
        ('num_layers: 3 layers { layer_name: "a" }', "num_layers is 3, but the file has 1 layers"),
        ("num_layers: 1 layers {}", "layer 0: layer_name is missing"),
        (
            'num_layers: 2 layers { layer_name: "a" } layers { layer_name: "a" }',
            "2 layers have the name 'a'",
        ),
        (one_layer("bit_depth: 12"), "layer 'a': bit_depth is 12; it is 8 or 16"),
        (
            one_layer("outputs { min: 2 max: 1 }"),
            r"layer 'a', outputs\[0\]: min 2.0 is above max 1.0",
        ),
        (
            one_layer("outputs { min: nan max: 1 }"),
            r"outputs\[0\]: the range \[nan, 1.0\] is not finite",
        ),
        (one_layer("outputs { min: 1 max: inf }"), "is not finite"),
        (
            one_layer("bias { min: 0 max: 1 size: 3 value: [0, 1] }"),
            r"bias\[0\]: 2 values, but size is 3",
        ),
        (
            one_layer("bias { min: 0 max: 1 size: 2 value: [0, nan] }"),
            r"bias\[0\], value\[1\] is nan",
        ),
        (one_layer("weights { min: 0 max: 1 scale: inf }"), r"weights\[0\], scale\[0\] is inf"),
        (
            one_layer("weights { [tidlq.quantproto.channel_min]: 1 }"),
            "1 values of channel_min, but 0 of channel_max",
        ),
        (
            one_layer(
                "weights { [tidlq.quantproto.channel_min]: 1 [tidlq.quantproto.channel_max]: 0 }"
            ),
            "channel 0: min 1.0 is above max 0.0",
        ),
        *(
            (
                one_layer(f"[tidlq.quantproto.equalization]: [1.0, {factor}]"),
                r"layer 'a': equalization\[1\] is .*; it must be finite and positive",
            )
            for factor in ("0", "-2", "inf", "nan")
        ),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(text: str, fault: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(QuantProtoError, match=fault):
        read_quant_params(path)
    assert validate_quant_params(path).problems != ()


def test_validation_lists_every_fault_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'num_layers: 9 layers { layer_name: "a" layer_type: "TIDL_ConvolutionalLayer" '
        "bit_depth: 4 outputs { min: 0 } bias { min: 0 max: 1 size: 2 } }",
    )
    count, kind, depth, output, bias = validate_quant_params(path).problems
    assert count == "line 1, column 1: num_layers is 9, but the file has 1 layers"
    assert kind.startswith(
        "line 1, column 40: layer 'a': layer_type 'TIDL_ConvolutionalLayer' is not a TIDL layer"
    )
    assert "Did you mean 'TIDL_ConvolutionLayer'" in kind
    assert depth == (
        "line 1, column 78: layer 'a': bit_depth is 4; it is 8 or 16 (or 1 or 2, in bytes)"
    )
    assert output == "line 1, column 91: layer 'a', outputs[0]: the range is not known"
    assert bias == "line 1, column 110: layer 'a', bias[0]: no values, but size is 2"


def test_an_error_shows_five_faults_and_counts_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, one_layer("outputs { min: 1 max: 0 } " * 8))
    with pytest.raises(QuantProtoError, match=r"outputs\[4\].*; and 3 more\.$"):
        read_quant_params(path)


def test_unknown_field_numbers_of_a_binary_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.pb"
    write_quant_params(path, SAVED)
    path.write_bytes(path.read_bytes() + b"\xa0\x06\x01")
    with pytest.raises(QuantProtoError, match="file: unknown field numbers 100"):
        read_quant_params(path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.pb"
    path.write_bytes(b"\x08\x01\x22\x04\x0a\x02\xff\xfe")
    with pytest.raises(QuantProtoError, match="layer_name is not UTF-8 text"):
        read_quant_params(path)


def test_an_ingredient_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.pb"
    provenance = Provenance("0.1.0", "f", "type 0", 1, 20, ingredients=("activation_clipping",))
    write_quant_params(path, replace(SAVED, provenance=provenance))
    path.write_bytes(path.read_bytes().replace(b"activation", b"\xff\xfetivation"))
    with pytest.raises(QuantProtoError, match="provenance: ingredients is not UTF-8 text"):
        read_quant_params(path)


@pytest.mark.parametrize("bounds", ["", "min: 0", "max: 0", "min: -3.4028234664e+38 max: 1"])
def test_a_bound_at_its_default_is_an_unknown_range(bounds: str, tmp_path: Path) -> None:
    read = read_quant_params(written(tmp_path, one_layer(f"outputs {{ {bounds} }}")))
    assert read.layers[0].outputs[0].range is None


def test_a_bit_depth_in_bytes_is_read_as_bits(tmp_path: Path) -> None:
    assert read_quant_params(written(tmp_path, one_layer("bit_depth: 2"))).layers[0].bit_depth == 16


def test_a_zero_point_above_two_to_the_31_is_negative(tmp_path: Path) -> None:
    path = written(tmp_path, one_layer("outputs { zero_point: [4294967293, 7] }"))
    assert read_quant_params(path).layers[0].outputs[0].zero_points == (-3, 7)


def test_a_text_file_is_ascii_and_states_the_published_fields(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    write_quant_params(path, SAVED, strict=True)
    text = path.read_bytes().decode("ascii")
    assert text.startswith("num_layers: 2\nquant_type: SYMMETRIC\ncalib_type: PERTENSOR\n")
    assert 'layer_type: "TIDL_ConvolutionLayer"' in text
    assert "tidlq" not in text


def test_the_same_ranges_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pb", "b.pb", "a.txt", "b.txt"):
        write_quant_params(tmp_path / name, SAVED)
    assert (tmp_path / "a.pb").read_bytes() == (tmp_path / "b.pb").read_bytes()
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "q.txt"
    write_quant_params(path, SAVED)
    assert read_quant_params(path) == SAVED


def test_a_target_that_is_a_folder_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.mkdir()
    with pytest.raises(OutputError, match=r"q\.txt' cannot be written"):
        write_quant_params(path, SAVED)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "q.txt"
    write_quant_params(path, SAVED)
    before = path.read_bytes()

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="No space left on device"):
        write_quant_params(path, SavedRanges(SAVED.layers[:1]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_has_ordinary_permissions(tmp_path: Path) -> None:
    path, reference = tmp_path / "q.txt", tmp_path / "reference"
    write_quant_params(path, SAVED)
    reference.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)


@pytest.mark.parametrize(
    ("saved", "fault"),
    [
        (SavedRanges(()), "the file has no layers"),
        (SavedRanges((SAVED.layers[0], SAVED.layers[0])), "2 layers have the name 'x'"),
        (
            SavedRanges((SavedLayer("a", "", (SavedTensor("", Range(0.0, 3.4028235e38), 1),)),)),
            r"layer 'a', outputs\[0\]: a bound at the end of float32 means 'not known'",
        ),
        (SavedRanges((SavedLayer("a", "", (SavedTensor("", None, -1),)),)), "cannot be written"),
        (SavedRanges((SavedLayer("\ud800", "", ()),)), "cannot be written"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    saved: SavedRanges, fault: str, tmp_path: Path
) -> None:
    with pytest.raises(QuantProtoError, match=fault):
        write_quant_params(tmp_path / "q.txt", saved)
    assert list(tmp_path.iterdir()) == []
