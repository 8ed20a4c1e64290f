"""The `.tidlq` file: a header with version and checksum, then one serialized Network."""

from __future__ import annotations

import struct
import zlib

from tidlq.errors import ArtifactError
from tidlq.lowering.network_pb2 import Network

MAGIC = b"TIDLQNET"
FORMAT_VERSION = 1
_HEADER = struct.Struct("<8sIIQ")


def pack_network(network: Network) -> bytes:
    """The bytes of a `.tidlq` file; equal Networks give equal bytes."""
    payload = network.SerializeToString(deterministic=True)
    return _HEADER.pack(MAGIC, FORMAT_VERSION, zlib.crc32(payload), len(payload)) + payload


def unpack_network(file: bytes) -> Network:
    """The Network in a `.tidlq` file, for inspection; the engine validates its content.

    Raises:
        ArtifactError: Not a `.tidlq` file, damaged, or of a newer format version.
    """
    if len(file) < _HEADER.size or file[:8] != MAGIC:
        raise ArtifactError("The bytes are not a .tidlq network: the header is missing.")
    _, version, checksum, length = _HEADER.unpack_from(file)
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"The network has format version {version}; this tidlq reads up to {FORMAT_VERSION}."
        )
    payload = file[_HEADER.size :]
    if len(payload) != length or zlib.crc32(payload) != checksum:
        raise ArtifactError("The network is damaged: its length or checksum does not match.")
    network = Network()
    network.ParseFromString(payload)
    return network


def without_fingerprint(file: bytes) -> bytes:
    """The same `.tidlq` file without the graph's fingerprint, which is informative.

    Raises:
        ArtifactError: As `unpack_network`.
    """
    network = unpack_network(file)
    network.ClearField("graph_fingerprint")
    return pack_network(network)
