"""The `.tidlq` container: a 24-byte header and one serialized Network."""

from __future__ import annotations

import struct
import zlib

from tidlq.lowering import network_pb2 as pb

MAGIC = b"TIDLQNET"
FORMAT_VERSION = 1
HEADER = struct.Struct("<8sIIQ")


def pack_payload(payload: bytes, version: int = FORMAT_VERSION, magic: bytes = MAGIC) -> bytes:
    """Puts a header with the right checksum and length before any bytes."""
    return HEADER.pack(magic, version, zlib.crc32(payload), len(payload)) + payload


def pack_file(network: pb.Network) -> bytes:
    """The bytes of the `.tidlq` file of a Network."""
    return pack_payload(network.SerializeToString(deterministic=True))


def unpack_file(file: bytes) -> pb.Network:
    """The Network in the bytes of a `.tidlq` file.

    Raises:
        ValueError: The header does not describe the payload.
    """
    magic, version, checksum, length = HEADER.unpack_from(file)
    payload = file[HEADER.size :]
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(f"not a version {FORMAT_VERSION} file: {magic!r}, version {version}")
    if length != len(payload) or checksum != zlib.crc32(payload):
        raise ValueError(f"payload of {len(payload)} bytes does not match its header")
    return pb.Network.FromString(payload)
