"""ONNX Runtime's calibration caches, as its own helper writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import (
    CalibrationMethod,
    TensorData,
    TensorsData,
    save_tensors_data,
)
from onnxruntime.quantization.quant_utils import write_calibration_table

from tidlq.errors import QuantProtoError
from tidlq.quantproto.peers import PeerTool, read_peer_ranges

SEEN = {"x": (-1.5, 2.25), "a b": (0.0, 0.1), "neg": (-3.0, -1.0)}


def data(value: float) -> Any:
    return np.array(value, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cache = {n: TensorData(lowest=data(low), highest=data(high)) for n, (low, high) in SEEN.items()}
    write_calibration_table(cache, str(tmp_path))
    return tmp_path


def test_the_json_file_has_both_ends(folder: Path) -> None:
    found = read_peer_ranges((folder / "calibration.json").read_bytes(), "c")
    assert (found.tool, found.is_magnitude) == ("ONNX Runtime", False)
    assert {n: (x.range.min, x.range.max) for n, x in found.features.items()} == {
        name: (float(np.float32(low)), float(np.float32(high)))
        for name, (low, high) in SEEN.items()
    }


@pytest.mark.parametrize("name", ["calibration.cache", "calibration.flatbuffers"])
def test_the_other_files_have_the_larger_end(folder: Path, name: str) -> None:
    found = read_peer_ranges((folder / name).read_bytes(), "c")
    assert found.is_magnitude
    assert {n: (x.range.min, x.range.max) for n, x in found.features.items()} == {
        "x": (-2.25, 2.25),
        "a b": (-float(np.float32(0.1)), float(np.float32(0.1))),
    }
    assert found.left_out == ("neg (largest value -1)",)


def test_ranges_that_were_saved_as_tensors_data_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    tensors = {
        "x": TensorData(lowest=data(-1.0), highest=data(2.0), hist=np.arange(3), bins=3),
        "d": TensorData(avg=data(0.0), std=data(1.0)),
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, tensors), path)
    found = read_peer_ranges(path.read_bytes(), "c")
    assert (found.features["x"].range.min, found.features["x"].range.max) == (-1.0, 2.0)
    assert found.left_out == ("d (no lowest and highest value)",)


def test_pairs_of_numbers_and_channels_are_read() -> None:
    content = json.dumps({"x": [-1, 2], "y": [[-1, -3], [2, 5]]}).encode()
    found = read_peer_ranges(content, "c")
    assert (found.features["x"].range.min, found.features["y"].range.min) == (-1.0, -3.0)
    assert found.features["y"].range.max == 5.0


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"x": 3}', "tensor 'x' has no lowest and highest value"),
        (b'{"x": [1]}', "no lowest and highest"),
        (b'{"x": [[], []]}', "no lowest and highest"),
        (b'{"x": [2, 1]}', "2 and 1 are no finite min and max"),
        (b'{"x": ["a", 1]}', "a bound that is no number"),
        (b'{"x": [NaN, 1]}', "a bound that is no number"),
        (b'{"x": [0, 1e999]}', "no finite min and max"),
        (b'{"x": [[[[[[1]]]]], 1]}', "no number"),
        (b'{"x": [0, 1}', "line 1, column"),
        (b'{"CLS": "TensorsData", "data": 3}', "data is a JSON number"),
        (b"x\n", "line 1: expected NAME and a number"),
        (b"x one\n", "line 1: 'one' is no number"),
        (b"x inf\n", "'inf' is not finite"),
        (b"\xff x", "not UTF-8"),
        (b"\0\0\0\0", "not a calibration cache in flatbuffers"),
        (b"\x10\0\0\0" + b"\xff" * 12, "not a calibration cache in flatbuffers"),
    ],
)
def test_what_is_no_cache_is_told(content: bytes, fault: str) -> None:
    with pytest.raises(QuantProtoError, match=fault):
        read_peer_ranges(content, "c", PeerTool.ONNXRUNTIME)


@given(
    pairs=st.dictionaries(st.text(min_size=1, max_size=9), st.floats(2.0**-9, 2.0**20, width=32))
)
def test_any_table_that_flatbuffers_writes_is_read(pairs: dict[str, float]) -> None:
    import flatbuffers
    from onnxruntime.quantization.CalTableFlatBuffers import KeyValue, TrtTable

    builder = flatbuffers.Builder(0)
    entries = []
    for name, value in pairs.items():
        key, text = builder.CreateString(name), builder.CreateString(repr(value))
        KeyValue.KeyValueStart(builder)
        KeyValue.KeyValueAddKey(builder, key)
        KeyValue.KeyValueAddValue(builder, text)
        entries.append(KeyValue.KeyValueEnd(builder))
    TrtTable.TrtTableStartDictVector(builder, len(entries))
    for entry in reversed(entries):
        builder.PrependUOffsetTRelative(entry)
    vector = builder.EndVector()
    TrtTable.TrtTableStart(builder)
    TrtTable.TrtTableAddDict(builder, vector)
    builder.Finish(TrtTable.TrtTableEnd(builder))
    found = read_peer_ranges(bytes(builder.Output()), "c", PeerTool.ONNXRUNTIME)
    assert {name: x.range.max for name, x in found.features.items()} == pairs
