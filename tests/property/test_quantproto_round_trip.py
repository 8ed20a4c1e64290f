"""Whatever is saved is read back equal, to the last bit, as text and as binary."""

from __future__ import annotations

import contextlib
import math
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saved_protos import BOUND, saved_ranges
from tidlq.errors import QuantProtoError
from tidlq.quantproto import (
    BINARY_SUFFIXES,
    JSON_SUFFIXES,
    TEXT_SUFFIXES,
    SavedRanges,
    parse_quant_params,
    read_quant_params,
    tidl_scale,
    validate_quant_params,
    write_quant_params,
)


def write_and_read(saved: SavedRanges, suffix: str, *, strict: bool) -> tuple[SavedRanges, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"saved{suffix}")
        write_quant_params(path, saved, strict=strict)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        return read_quant_params(path), path.read_bytes()


def bits(saved: SavedRanges) -> list[bytes]:
    """The bits of every number, so that 0.0 and -0.0 differ."""
    tensors = [t for layer in saved.layers for role in layer.roles.values() for t in role]
    bounds = [
        struct.pack("<ff", found.min, found.max)
        for tensor in tensors
        for found in (tensor.range, *tensor.channels)
        if found is not None
    ]
    return bounds + [struct.pack("<d", x) for t in tensors for x in (*t.values, *t.scales)]


@pytest.mark.parametrize("suffix", [*TEXT_SUFFIXES, *BINARY_SUFFIXES, *JSON_SUFFIXES])
@given(saved=saved_ranges())
def test_saved_ranges_survive_a_file(suffix: str, saved: SavedRanges) -> None:
    read, content = write_and_read(saved, suffix, strict=False)
    assert read == saved
    assert bits(read) == bits(saved)
    # A pipe has no extension.
    assert parse_quant_params(content, None, "pipe") == saved


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
    suffix = data.draw(st.sampled_from([".prototxt", ".pb", ".json"]))
    _, content = write_and_read(saved, suffix, strict=False)
    altered = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if altered:
            position = data.draw(st.integers(0, len(altered) - 1))
            altered[position] = data.draw(st.integers(0, 255))
    read_hostile(bytes(altered), suffix)


@given(content=st.binary(max_size=64), suffix=st.sampled_from([".prototxt", ".pb", ".json"]))
def test_arbitrary_bytes_give_one_kind_of_error(content: bytes, suffix: str) -> None:
    read_hostile(content, suffix)


def read_hostile(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"hostile{suffix}")
        path.write_bytes(content)
        found = validate_quant_params(path)
        for problem in (*found.problems, *found.remarks):
            assert problem == problem.strip() != ""
        with contextlib.suppress(QuantProtoError):
            assert read_quant_params(path).layers
            return
        assert found.problems
        with contextlib.suppress(QuantProtoError):
            parse_quant_params(content, None, "pipe")


@given(step=st.floats(0.0, BOUND, width=32, exclude_min=True))
def test_tidl_scale_is_a_finite_float32(step: float) -> None:
    scale = tidl_scale(step)
    assert math.isfinite(scale)
    assert scale > 0
    assert struct.unpack("<f", struct.pack("<f", scale))[0] == scale
