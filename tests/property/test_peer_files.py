"""Files of other tools: ranges survive AIMET's form to the last bit; damage is one error."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saved_protos import saved_ranges
from tidlq.errors import QuantProtoError
from tidlq.quantproto import SavedRanges
from tidlq.quantproto.peers import (
    AIMET_VERSIONS,
    PeerTool,
    format_aimet,
    read_aimet,
    read_peer_ranges,
)
from tidlq.spec import Range


def bits(known: Range) -> bytes:
    return struct.pack("<ff", known.min, known.max)


def expected_ranges(saved: SavedRanges, written: set[str]) -> dict[str, tuple[bytes, list[bytes]]]:
    """Bits of the ranges of the last tensor of each name, features apart from parameters."""
    found = {}
    for layer in saved.layers:
        for role, tensors in layer.roles.items():
            for tensor in tensors:
                if role != "bias" and tensor.name in written and tensor.range is not None:
                    found[tensor.name] = bits(tensor.range), list(map(bits, tensor.channels))
    return found


@pytest.mark.parametrize("version", AIMET_VERSIONS)
@given(saved=saved_ranges(unique_names=True))
def test_ranges_survive_encodings_to_the_last_bit(version: str, saved: SavedRanges) -> None:
    encodings = format_aimet(saved, version)
    found = read_aimet(encodings.content, "e")
    both = {**found.features, **found.parameters}
    assert len(both) == encodings.tensors
    expected = expected_ranges(saved, set(both))
    assert {n: (bits(x.range), list(map(bits, x.channels))) for n, x in both.items()} == expected
    # What was read writes the same again.
    assert format_aimet(saved, version) == encodings


def read_hostile(content: bytes, tool: PeerTool | None) -> None:
    with contextlib.suppress(QuantProtoError):
        for known in read_peer_ranges(content, "file", tool).features.values():
            assert known.range.min <= known.range.max


TOOLS = st.sampled_from([None, *PeerTool])


@given(content=st.binary(max_size=80), tool=TOOLS)
def test_arbitrary_bytes_give_one_kind_of_error(content: bytes, tool: PeerTool | None) -> None:
    read_hostile(content, tool)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    key=st.sampled_from(["activation_encodings", "param_encodings", "encodings", "tidlq", "x"]),
    version=st.sampled_from(["0.6.1", "1.0.0", "2.0.0", "9"]),
    value=values,
    tool=TOOLS,
)
def test_arbitrary_json_gives_one_kind_of_error(
    key: str, version: str, value: Any, tool: PeerTool | None
) -> None:
    read_hostile(json.dumps({"version": version, key: value}).encode(), tool)


@given(
    entry=st.dictionaries(
        st.sampled_from(
            ["name", "bw", "bitwidth", "dtype", "output_dtype", "scale", "offset", "min", "max",
             "y_scale", "y_zero_point", "enc_type", "axis"]
        ),
        st.sampled_from(["INT", "int", "int8", "uint16", 8, 16, 0, -1, 1e308, 0.5, None, True])
        | st.lists(st.sampled_from([1.0, -128, 0, 1e39, None, "x"]), max_size=3),
    )
)  # fmt: skip
def test_arbitrary_entries_give_one_kind_of_error(entry: dict[str, Any]) -> None:
    named = {"name": "x", **entry}
    for document in (
        {"activation_encodings": {"x": [entry]}},
        {"version": "1.0.0", "activation_encodings": [named]},
        {"version": "2.0.0", "encodings": [named]},
    ):
        read_hostile(json.dumps(document).encode(), PeerTool.AIMET)


@given(saved=saved_ranges(), data=st.data())
def test_truncated_or_altered_encodings_give_one_kind_of_error(
    saved: SavedRanges, data: st.DataObject
) -> None:
    content = format_aimet(saved, data.draw(st.sampled_from(AIMET_VERSIONS))).content
    altered = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if altered:
            altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    read_hostile(bytes(altered), None)
