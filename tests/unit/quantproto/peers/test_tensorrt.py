"""TensorRT's caches: a float32 in hexadecimal digits for each tensor."""

from __future__ import annotations

import struct

import pytest

from tidlq.errors import QuantProtoError
from tidlq.quantproto.peers import PeerTool, read_peer_ranges


def cache(*lines: str) -> bytes:
    return "\n".join(["TRT-8501-EntropyCalibration2", *lines, ""]).encode()


def test_scales_become_symmetric_ranges_of_127_steps() -> None:
    found = read_peer_ranges(cache("data: 3c008912", "a: b: 3f800000"), "cache 'c'")
    assert (found.tool, found.is_magnitude) == ("TensorRT", True)
    (scale,) = struct.unpack(">f", bytes.fromhex("3c008912"))
    assert (
        found.features["data"].range.max == struct.unpack("<f", struct.pack("<f", 127 * scale))[0]
    )
    assert found.features["a: b"].range.absolute_max == 127.0
    assert found.features["a: b"].range.min == -127.0


def test_a_scale_of_zero_gives_no_range() -> None:
    found = read_peer_ranges(cache("x: 00000000"), "c")
    assert (found.features, found.left_out) == ({}, ("x (scale 0)",))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (cache("x: 3c0089"), "line 2: expected NAME: and eight hexadecimal digits"),
        (cache("x 3c008912"), "line 2"),
        (cache("", "x: 7f800000"), "line 3: the scale of 'x' is inf"),
        (cache("x: bf800000"), "the scale of 'x' is -1.0"),
        (cache("x: 7fc00000"), "the scale of 'x' is nan"),
        (b"x: 3c008912\n", "does not begin with TensorRT's version"),
        (b"TRT-1-A\n\xff: 3c008912", "not UTF-8"),
    ],
)
def test_what_is_no_cache_is_told_with_its_line(content: bytes, fault: str) -> None:
    with pytest.raises(QuantProtoError, match=fault):
        read_peer_ranges(content, "c", PeerTool.TENSORRT)
