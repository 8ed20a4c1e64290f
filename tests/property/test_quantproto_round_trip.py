"""Whatever is saved is read back equal, to the last bit, as text and as binary."""

from __future__ import annotations

import contextlib
import math
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import QuantProtoError
from tidlq.quantproto import (
    BINARY_SUFFIXES,
    TEXT_SUFFIXES,
    Provenance,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    read_quant_params,
    tidl_scale,
    validate_quant_params,
    write_quant_params,
)
from tidlq.spec import IntegerType, Range, RangeOrigin

# The largest float32 below the bound that stands for an unknown range.
BOUND = float(np.nextafter(np.finfo(np.float32).max, np.float32(0)))

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
float32s = st.floats(-BOUND, BOUND, width=32)
doubles = st.floats(allow_nan=False, allow_infinity=False)
factors = st.floats(0.0, allow_infinity=False, exclude_min=True)


def ranges(origin: RangeOrigin) -> st.SearchStrategy[Range]:
    return st.tuples(float32s, float32s).map(lambda pair: Range(min(pair), max(pair), origin))


@st.composite
def tensors(draw: st.DrawFn) -> SavedTensor:
    origin = draw(st.sampled_from(RangeOrigin))
    values = tuple(draw(st.lists(doubles, max_size=4)))
    return SavedTensor(
        name=draw(st.just("") | texts),
        range=draw(st.none() | ranges(origin)),
        size=len(values) or draw(st.integers(0, 2**32 - 1)),
        values=values,
        channels=tuple(draw(st.lists(ranges(origin), max_size=3))),
        type=draw(
            st.none()
            | st.sampled_from(
                [
                    IntegerType(8, signed=False),
                    IntegerType(8, signed=True),
                    IntegerType(16, signed=False),
                    IntegerType(16, signed=True),
                    IntegerType(32, signed=True),
                ]
            )
        ),
        scales=tuple(draw(st.lists(doubles, max_size=3))),
        zero_points=tuple(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3))),
    )


@st.composite
def saved_ranges(draw: st.DrawFn) -> SavedRanges:
    some_tensors = st.lists(tensors(), max_size=2).map(tuple)
    layers = tuple(
        SavedLayer(
            name=name,
            layer_type=draw(texts),
            outputs=draw(some_tensors),
            weights=draw(some_tensors),
            bias=draw(some_tensors),
            slope=draw(some_tensors),
            bit_depth=draw(st.sampled_from([8, 16])),
            parameter_bit_depth=draw(st.sampled_from([None, 8, 16])),
            equalization=tuple(draw(st.lists(factors, max_size=3))),
        )
        for name in draw(st.lists(texts, min_size=1, max_size=3, unique=True))
    )
    provenance = st.builds(
        Provenance,
        tool_version=texts,
        graph_fingerprint=texts,
        scheme=texts,
        accuracy_level=st.integers(0, 9),
        frames=st.integers(0, 10_000),
        options=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
        calibration_method=st.just("") | texts,
        ingredients=st.lists(texts, max_size=3).map(tuple),
    )
    return SavedRanges(
        layers, draw(st.booleans()), draw(st.booleans()), draw(st.none() | provenance)
    )


def write_and_read(saved: SavedRanges, suffix: str, *, strict: bool) -> tuple[SavedRanges, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"saved{suffix}")
        write_quant_params(path, saved, strict=strict)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        return read_quant_params(path), path.read_bytes()


def bits(saved: SavedRanges) -> list[bytes]:
    """The bits of every bound, so that 0.0 and -0.0 differ."""
    return [
        struct.pack("<ff", found.min, found.max)
        for layer in saved.layers
        for role in layer.roles.values()
        for tensor in role
        for found in (tensor.range, *tensor.channels)
        if found is not None
    ]


@pytest.mark.parametrize("suffix", [*TEXT_SUFFIXES, *BINARY_SUFFIXES])
@given(saved=saved_ranges())
def test_saved_ranges_survive_a_file(suffix: str, saved: SavedRanges) -> None:
    read, _ = write_and_read(saved, suffix, strict=False)
    assert read == saved
    assert bits(read) == bits(saved)


@given(saved=saved_ranges())
def test_a_strict_file_keeps_ranges_and_has_no_extension(saved: SavedRanges) -> None:
    read, content = write_and_read(saved, ".prototxt", strict=True)
    assert b"tidlq" not in content.replace(b'"', b"") or "tidlq" in repr(saved)
    assert b"[tidlq." not in content
    assert read.provenance is None
    for layer, original in zip(read.layers, saved.layers, strict=True):
        assert (layer.name, layer.bit_depth) == (original.name, original.bit_depth)
        assert (layer.equalization, layer.parameter_bit_depth) == ((), None)
        for role, found in layer.roles.items():
            for tensor, source in zip(found, original.roles[role], strict=True):
                assert (tensor.name, tensor.channels) == ("", ())
                assert tensor.values == source.values
                assert (tensor.range is None) == (source.range is None)
                if tensor.range is not None and source.range is not None:
                    assert (tensor.range.min, tensor.range.max) == (
                        source.range.min,
                        source.range.max,
                    )


@given(saved=saved_ranges(), data=st.data())
def test_a_truncated_or_altered_file_gives_one_kind_of_error(
    saved: SavedRanges, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from([".prototxt", ".pb"]))
    _, content = write_and_read(saved, suffix, strict=False)
    altered = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if altered:
            position = data.draw(st.integers(0, len(altered) - 1))
            altered[position] = data.draw(st.integers(0, 255))
    read_hostile(bytes(altered), suffix)


@given(content=st.binary(max_size=64), suffix=st.sampled_from([".prototxt", ".pb"]))
def test_arbitrary_bytes_give_one_kind_of_error(content: bytes, suffix: str) -> None:
    read_hostile(content, suffix)


def read_hostile(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"hostile{suffix}")
        path.write_bytes(content)
        validate_quant_params(path)
        with contextlib.suppress(QuantProtoError):
            assert read_quant_params(path).layers


@given(step=st.floats(0.0, BOUND, width=32, exclude_min=True))
def test_tidl_scale_is_a_finite_float32(step: float) -> None:
    scale = tidl_scale(step)
    assert math.isfinite(scale)
    assert scale > 0
    assert struct.unpack("<f", struct.pack("<f", scale))[0] == scale
