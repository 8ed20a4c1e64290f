"""A damaged `.tidlq` file raises ArtifactError and nothing else."""

from __future__ import annotations

import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.bigint import FORMAT_VERSION, pack_file
from oracle.bigint.container import HEADER, pack_payload
from oracle.bigint.tensors import DTYPES
from oracle.networks import networks
from tidlq._core import Engine
from tidlq.errors import ArtifactError, TidlqError

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# A damaged Network may be valid and large; such a one is loaded but not executed.
LARGEST_RUN_BYTES = 1 << 22

files = networks(layers=4).map(pack_file)


def _flip(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _load_and_run(file: bytes) -> None:
    """Loads a file and executes a frame of zeros; ArtifactError is the only way out."""
    with contextlib.suppress(ArtifactError):
        engine = Engine(file, 1)
        sizes = [int(np.prod(t.shape, dtype=object)) for t in engine.tensors]
        if engine.feature_bytes > LARGEST_RUN_BYTES or sum(sizes) > LARGEST_RUN_BYTES:
            return
        types = {"u8": 1, "s8": 2, "u16": 3, "s16": 4, "f32": 5}
        engine.run([np.zeros((1, *t.shape), DTYPES[types[t.element_type]]) for t in engine.inputs])


@relaxed
@given(files)
def test_header_states_magic_version_checksum_and_length(file: bytes) -> None:
    payload = file[24:]
    assert file[:8] == b"TIDLQNET"
    assert struct.unpack("<IIQ", file[8:24]) == (1, zlib.crc32(payload), len(payload))
    Engine(file)


@relaxed
@given(files, st.data())
def test_truncated_file_is_refused(file: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(file) - 1))
    with pytest.raises(ArtifactError):
        Engine(file[:length])


@relaxed
@given(files, st.binary(min_size=1, max_size=40))
def test_bytes_after_the_payload_are_refused(file: bytes, extra: bytes) -> None:
    with pytest.raises(ArtifactError):
        Engine(file + extra)


@relaxed
@given(files, st.data())
def test_any_flipped_bit_is_refused(file: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.one_of(st.integers(0, 191), st.integers(0, 8 * len(file) - 1)))
    with pytest.raises(ArtifactError):
        Engine(_flip(file, bit))


@relaxed
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        Engine(content)


@relaxed
@given(files, st.integers(FORMAT_VERSION + 1, 2**32 - 1))
def test_newer_version_is_named_in_the_error(file: bytes, version: int) -> None:
    newer = pack_payload(file[HEADER.size :], version=version)
    with pytest.raises(ArtifactError, match=rf"(?i)newer.*\b{version}\b|\b{version}\b.*newer"):
        Engine(newer)


@relaxed
@given(files)
def test_version_zero_and_other_magic_are_refused(file: bytes) -> None:
    for damaged in (
        pack_payload(file[HEADER.size :], version=0),
        pack_payload(file[HEADER.size :], magic=b"TIDLQnet"),
    ):
        with pytest.raises(ArtifactError):
            Engine(damaged)


@relaxed
@given(files, st.data())
def test_flipped_bits_under_a_right_checksum_never_crash(file: bytes, data: st.DataObject) -> None:
    payload = file[HEADER.size :]
    for bit in data.draw(st.lists(st.integers(0, 8 * len(payload) - 1), min_size=1, max_size=4)):
        payload = _flip(payload, bit)
    _load_and_run(pack_payload(payload))


@relaxed
@given(files, st.data())
def test_shortened_payload_under_a_right_checksum_never_crashes(
    file: bytes, data: st.DataObject
) -> None:
    payload = file[HEADER.size :]
    _load_and_run(pack_payload(payload[: data.draw(st.integers(0, len(payload) - 1))]))


@relaxed
@given(st.binary(max_size=400))
def test_arbitrary_payload_under_a_right_checksum_never_crashes(payload: bytes) -> None:
    _load_and_run(pack_payload(payload))


@pytest.mark.parametrize("length", [0, 1, 2**40, 2**63, 2**64 - 1])
def test_header_with_a_length_beyond_the_file_is_refused(length: int) -> None:
    header = struct.pack("<8sIIQ", b"TIDLQNET", FORMAT_VERSION, zlib.crc32(b"xyz"), length)
    with pytest.raises(ArtifactError):
        Engine(header + b"xyz")


def test_artifact_error_is_one_sentence_about_the_file() -> None:
    with pytest.raises(TidlqError) as caught:
        Engine(b"not a network")
    assert "\n" not in str(caught.value)
    assert str(caught.value)
