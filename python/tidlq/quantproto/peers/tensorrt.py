"""TensorRT's calibration caches.

A line with TensorRT's version and the calibrator, then one for each tensor: its name and the
float32 scale as eight hexadecimal digits, most significant first. The scale is the largest
magnitude over 127.
"""

from __future__ import annotations

import math
import re
import struct

from tidlq.errors import QuantProtoError
from tidlq.quantproto.peers.model import PeerFile, PeerRange, peer_range

HEAD = re.compile(r"TRT-\d+-\w+")
_ENTRY = re.compile(r"(?P<name>.+?)\s*:\s*(?P<scale>[0-9a-fA-F]{8})")
_CODES = 127


def read_tensorrt(content: bytes, where: str) -> PeerFile:
    """Reads a calibration cache.

    Args:
        content: of the file.
        where: names the file in messages.

    Raises:
        QuantProtoError: The file is damaged.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise QuantProtoError(f"{where} is not UTF-8 text (byte {error.start}).") from error
    if not lines or not HEAD.fullmatch(lines[0].strip()):
        raise QuantProtoError(f"{where} does not begin with TensorRT's version and calibrator.")
    found: dict[str, PeerRange] = {}
    left_out: list[str] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        entry = _ENTRY.fullmatch(line.strip())
        at = f"{where}, line {number}"
        if entry is None:
            raise QuantProtoError(f"{at}: expected NAME: and eight hexadecimal digits.")
        (scale,) = struct.unpack(">f", bytes.fromhex(entry["scale"]))
        if not math.isfinite(scale) or scale < 0:
            raise QuantProtoError(f"{at}: the scale of {entry['name']!r} is {scale}.")
        if scale == 0:
            left_out.append(f"{entry['name']} (scale 0)")
            continue
        largest = _CODES * scale
        found[entry["name"]] = PeerRange(peer_range(-largest, largest, at), bits=8)
    return PeerFile("TensorRT", found, is_magnitude=True, left_out=tuple(left_out))
