"""AIMET's encodings of every version are read as their grids, and written as AIMET reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tidlq.errors import QuantProtoError
from tidlq.quantproto import SavedLayer, SavedRanges, SavedTensor
from tidlq.quantproto.peers import AIMET_VERSIONS, PeerFile, format_aimet, read_aimet
from tidlq.spec import IntegerType, Range


def read(document: Any) -> PeerFile:
    return read_aimet(json.dumps(document).encode(), "encodings 'e'")


def bounds(known: Range) -> tuple[float, float]:
    return known.min, known.max


def float32(*values: float) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


OLD = {
    "bitwidth": 8, "is_symmetric": "False", "max": 2.6086959838867188,
    "min": -2.109158515930176, "offset": -114.0, "scale": 0.018501389771699905,
}  # fmt: skip


@pytest.mark.parametrize("version", [None, "0.4.0", "0.5.0", "0.6.1"])
def test_versions_below_1_state_min_and_max(version: str | None) -> None:
    entry = {**OLD, "dtype": "int"} if version != "0.4.0" else OLD
    document = {
        "activation_encodings": {"20": [entry], "f": [{"dtype": "float", "bitwidth": 16}]},
        "param_encodings": {"w": [OLD, {**OLD, "max": 3.0}]},
        "quantizer_args": {},
    }
    found = read(document if version is None else {"version": version, **document})
    assert bounds(found.features["20"].range) == float32(OLD["min"], OLD["max"])
    assert found.features["20"].bits == 8
    assert [bounds(x)[1] for x in found.parameters["w"].channels] == [float32(OLD["max"])[0], 3.0]
    assert found.parameters["w"].range.max == 3.0
    assert found.left_out == ("f (stays in float)",)


def test_version_1_states_a_scale_and_an_offset_below_zero() -> None:
    one = {
        "name": "x", "dtype": "INT", "enc_type": "PER_TENSOR", "bw": 8, "is_sym": False,
        "scale": [0.5], "offset": [-3],
    }  # fmt: skip
    weight = {**one, "name": "w", "enc_type": "PER_CHANNEL", "is_sym": True,
              "scale": [0.5, 0.25], "offset": [-128, -128]}  # fmt: skip
    document = {
        "version": "1.0.0",
        "activation_encodings": [
            {**one, "bw": 16},
            {"name": "f", "dtype": "FLOAT", "bw": 16, "enc_type": "PER_TENSOR"},
            {**one, "name": "b", "enc_type": "PER_BLOCK", "block_size": 4},
            {**one, "name": "four", "bw": 4},
        ],
        "param_encodings": [weight],
    }
    found = read(document)
    assert bounds(found.features["x"].range) == (-1.5, 0.5 * (65535 - 3))
    assert (found.features["x"].bits, found.features["four"].bits) == (16, None)
    assert [bounds(x) for x in found.parameters["w"].channels] == [(-64.0, 63.5), (-32.0, 31.75)]
    assert found.left_out == ("f (stays in float)", "b (scales of blocks)")


def test_version_2_states_types_and_zero_points_as_onnx_does() -> None:
    document = {
        "version": "2.1.0",
        "encodings": [
            {"name": "u", "output_dtype": "uint8", "y_scale": 0.5, "y_zero_point": 3},
            {"name": "s", "output_dtype": "int8", "y_scale": 0.5},
            {"name": "w", "output_dtype": "int16", "y_scale": [0.5, 1.0], "axis": 0},
            {"name": "bias", "output_dtype": "int32", "y_scale": 0.5},
            {"name": "f", "output_dtype": "float16"},
            {"name": "l", "output_dtype": "int4", "per_block_int_scale": [[1]], "y_scale": 1.0},
        ],
    }
    found = read(document)
    assert bounds(found.features["u"].range) == (-1.5, 126.0)
    assert bounds(found.features["s"].range) == (-64.0, 63.5)
    assert bounds(found.features["w"].channels[1]) == (-32768.0, 32767.0)
    assert found.features["w"].bits == 16
    assert found.parameters == {}
    assert [text.split()[0] for text in found.left_out] == ["bias", "f", "l"]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "expected an object"),
        ({"version": "3.0.0"}, "version '3.0.0'; known are 0.x, 1.x and 2.x"),
        ({"version": 1}, "version is 1, expected a string"),
        ({"activation_encodings": []}, "activation_encodings is a JSON array, expected an object"),
        ({"activation_encodings": {"x": []}}, "tensor 'x' has no encoding"),
        ({"activation_encodings": {"x": [1]}}, "tensor 'x' is a JSON number"),
        ({"activation_encodings": {"x": [{"bitwidth": 8}]}}, "scale is None"),
        ({"activation_encodings": {"x": [{**OLD, "bitwidth": 99}]}}, "integer 1 .. 32"),
        ({"activation_encodings": {"x": [{**OLD, "min": "low"}]}}, "'low' and .* no finite"),
        ({"activation_encodings": {"x": [{**OLD, "min": 5}]}}, "5 and .* no finite min and max"),
        ({"version": "1.0.0", "activation_encodings": [{}]}, r"\[0\], name is None"),
        (
            {"version": "1.0.0", "param_encodings": [
                {"name": "w", "dtype": "INT", "bw": 8, "scale": [1, 2], "offset": [0]}]},
            "tensor 'w' has 2 scales and 1 offsets",
        ),
        (
            {"version": "1.0.0", "param_encodings": [
                {"name": "w", "dtype": "INT", "bw": 8, "scale": [0], "offset": [0]}]},
            "scale is 0, expected a positive number",
        ),
        (
            {"version": "1.0.0", "param_encodings": [
                {"name": "w", "dtype": "INT", "bw": 8, "scale": [1e38], "offset": [-128]}]},
            "no finite min and max",
        ),
        (
            {"version": "2.0.0", "encodings": [{"name": "w", "output_dtype": "int99"}]},
            "output_dtype is 'int99'",
        ),
        ({"tidlq": {"ranges": {"x": {"bits": 8}}}}, "tidlq, tensor 'x' is a JSON null"),
    ],
)  # fmt: skip
def test_what_is_no_encoding_is_told_with_its_place(document: Any, fault: str) -> None:
    with pytest.raises(QuantProtoError, match=fault):
        read(document)


U8, S8 = IntegerType(8, signed=False), IntegerType(8, signed=True)
LAYER = SavedLayer(
    "conv",
    "TIDL_ConvolutionLayer",
    outputs=(SavedTensor("y", Range(-0.1, 4.0), 8, type=U8, scales=(50.0,), zero_points=(5,)),),
    weights=(
        SavedTensor(
            "conv.weight", Range(-1.0, 0.3), 4,
            channels=(Range(-1.0, 0.0), Range(0.1, 0.3)),
            type=S8, scales=(127.0, 400.0), zero_points=(0,),
        ),
    ),
    bias=(SavedTensor("conv.bias", Range(0.1, 0.2), 2, (0.1, 0.2)),),
)  # fmt: skip
SAVED = SavedRanges((LAYER,), symmetric=False, per_channel=True)


def written(version: str) -> Any:
    return json.loads(format_aimet(SAVED, version, {"conv.weight": "w"}).content)


def test_version_0_6_1_is_written_with_lists_by_name() -> None:
    document = written("0.6.1")
    assert document["version"] == "0.6.1"
    assert document["activation_encodings"]["y"] == [
        {
            "bitwidth": 8, "dtype": "int", "is_symmetric": "False", "max": 5.0, "min": -0.1,
            "offset": -5, "scale": 0.02,
        }
    ]  # fmt: skip
    first, second = document["param_encodings"]["w"]
    assert (first["offset"], first["is_symmetric"]) == (-128, "True")
    assert (second["scale"], second["min"], second["max"]) == (1 / 400, -128 / 400, 127 / 400)


def test_version_1_0_0_is_written_with_a_list_of_entries() -> None:
    document = written("1.0.0")
    assert document["activation_encodings"] == [
        {
            "name": "y", "dtype": "INT", "enc_type": "PER_TENSOR", "bw": 8, "is_sym": False,
            "scale": [0.02], "offset": [-5],
        }
    ]  # fmt: skip
    (weight,) = document["param_encodings"]
    assert (weight["enc_type"], weight["is_sym"]) == ("PER_CHANNEL", True)
    assert (weight["scale"], weight["offset"]) == ([1 / 127, 1 / 400], [-128, -128])


def test_version_2_0_0_is_written_in_onnx_types() -> None:
    assert written("2.0.0")["encodings"] == [
        {"name": "y", "output_dtype": "uint8", "y_scale": 0.02, "y_zero_point": 5},
        {"name": "w", "output_dtype": "int8", "y_scale": [1 / 127, 1 / 400], "axis": 0},
    ]


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(QuantProtoError, match=r"'3\.0' are not written; known: 0\.6\.1, 1\.0\.0"):
        format_aimet(SAVED, "3.0")


def test_what_encodings_cannot_say_is_told() -> None:
    unknown = SavedLayer(
        "r", "TIDL_ReLULayer", (SavedTensor("z", None, 1), SavedTensor("", None, 1))
    )
    found = format_aimet(SavedRanges((LAYER, unknown)), "1.0.0")
    assert found.tensors == 2
    assert found.left_out == (
        "1 bias: encodings have no values",
        "1 tensors without a name",
        "1 tensors without a range or with a scale out of all bounds",
    )


@pytest.mark.parametrize("version", AIMET_VERSIONS)
def test_a_range_is_read_back_to_the_last_bit(version: str) -> None:
    found = read_aimet(format_aimet(SAVED, version).content, "e")
    both = {**found.features, **found.parameters}
    assert bounds(both["y"].range) == bounds(Range(-0.1, 4.0))
    assert [bounds(x) for x in both["conv.weight"].channels] == [
        bounds(x) for x in LAYER.weights[0].channels
    ]


@pytest.mark.parametrize("version", AIMET_VERSIONS)
def test_an_encoding_that_was_changed_counts_for_itself(version: str) -> None:
    text = format_aimet(SAVED, version).content.decode()
    head, mark, section = text.partition('"tidlq": {\n')
    found = read_aimet((head.replace("0.02", "0.04") + mark + section).encode(), "e")
    changed = found.features["y"].range
    assert bounds(changed) == float32(-0.2, 10.0) or version == "0.6.1"


def test_a_range_far_beyond_its_scale_gets_the_lowest_offset() -> None:
    tensor = SavedTensor("x", Range(-2.3308175976661713e38, 0.0), 1, scales=(7.7e269,))
    saved = SavedRanges((SavedLayer("l", "", outputs=(tensor,)),), symmetric=False)
    found = json.loads(format_aimet(saved, "0.6.1").content)
    assert [x["offset"] for x in found["activation_encodings"]["x"]] == [-255]
