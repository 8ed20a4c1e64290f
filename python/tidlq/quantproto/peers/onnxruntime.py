"""Calibration caches of ONNX Runtime: what its TensorRT helper writes, in three forms.

`calibration.json` has the smallest and the largest value of each tensor. `calibration.cache` and
`calibration.flatbuffers` have one number per tensor, the larger of the two: a magnitude for
TensorRT, and of a tensor that reaches further down than up it is too small.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from tidlq.errors import QuantProtoError
from tidlq.quantproto.peers.json_reading import as_object, load_json
from tidlq.quantproto.peers.model import PeerFile, PeerRange, peer_range

_TOOL = "ONNX Runtime"
_MOST_DEPTH = 4


def read_json_cache(content: bytes, where: str) -> PeerFile:
    """Reads `calibration.json`, or ranges that ONNX Runtime saved as TensorsData.

    Raises:
        QuantProtoError: The file is damaged.
    """
    document = as_object(load_json(content, where), where)
    if document.get("CLS") == "TensorsData":
        document = as_object(document.get("data"), f"{where}, data")
    found: dict[str, PeerRange] = {}
    left_out: list[str] = []
    for name, value in document.items():
        at = f"{where}, tensor {name!r}"
        bounds = value
        if isinstance(value, dict):
            if "lowest" not in value or "highest" not in value:
                left_out.append(f"{name} (no lowest and highest value)")
                continue
            bounds = [value["lowest"], value["highest"]]
        if not isinstance(bounds, list) or len(bounds) < 2:
            raise QuantProtoError(f"{at} has no lowest and highest value.")
        low, high = (list(_numbers(bound, at, 0)) for bound in bounds[:2])
        if not low or not high:
            raise QuantProtoError(f"{at} has no lowest and highest value.")
        found[name] = PeerRange(peer_range(min(low), max(high), at))
    return PeerFile(_TOOL, found, left_out=tuple(left_out))


def _numbers(value: Any, at: str, depth: int) -> Iterator[float]:
    """The numbers of a number, of nested lists, or of a saved numpy array."""
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, list) and depth < _MOST_DEPTH:
        for item in value:
            yield from _numbers(item, at, depth + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        yield value
    else:
        raise QuantProtoError(f"{at} has a bound that is no number.")


def read_text_cache(content: bytes, where: str) -> PeerFile:
    """Reads `calibration.cache`: a tensor's name and its magnitude on each line.

    Raises:
        QuantProtoError: The file is damaged.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise QuantProtoError(f"{where} is not UTF-8 text (byte {error.start}).") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        name, space, value = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not space:
            raise QuantProtoError(f"{where}, line {number}: expected NAME and a number.")
        pairs.append((name.strip(), value, f"{where}, line {number}"))
    return _of_magnitudes(pairs)


def read_flatbuffers_cache(content: bytes, where: str) -> PeerFile:
    """Reads `calibration.flatbuffers`: the same in a table of keys and values.

    Raises:
        QuantProtoError: The file is damaged.
    """
    table = _Tables(content, where)
    root = table.indirect(0)
    entries = table.vector(table.field(root, 0))
    pairs = []
    for place in entries:
        entry = table.indirect(place)
        name, value = (table.string(table.field(entry, field)) for field in (0, 1))
        pairs.append((name, value, f"{where}, tensor {name!r}"))
    return _of_magnitudes(pairs)


def _of_magnitudes(pairs: Iterable[tuple[str, str, str]]) -> PeerFile:
    found: dict[str, PeerRange] = {}
    left_out: list[str] = []
    for name, text, at in pairs:
        try:
            largest = float(text)
        except ValueError:
            raise QuantProtoError(f"{at}: {text[:40]!r} is no number.") from None
        if not math.isfinite(largest):
            raise QuantProtoError(f"{at}: {text[:40]!r} is not finite.")
        if largest <= 0:
            left_out.append(f"{name} (largest value {largest:g})")
            continue
        found[name] = PeerRange(peer_range(-largest, largest, at), bits=8)
    return PeerFile(_TOOL, found, is_magnitude=True, left_out=tuple(left_out))


class _Tables:
    """Reads flatbuffers, and nothing outside the content."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content = content
        self._where = where

    def _unpack(self, form: str, place: int) -> int:
        try:
            if place < 0:
                raise struct.error
            (value,) = struct.unpack_from(form, self._content, place)
        except struct.error:
            raise self._damaged() from None
        return int(value)

    def _damaged(self) -> QuantProtoError:
        return QuantProtoError(f"{self._where} is not a calibration cache in flatbuffers' form.")

    def indirect(self, place: int) -> int:
        """The place that an offset at this place leads to."""
        return place + self._unpack("<I", place)

    def field(self, table: int, index: int) -> int:
        """The place that a table's field leads to.

        Raises:
            QuantProtoError: The table does not have it.
        """
        layout = table - self._unpack("<i", table)
        entry = 4 + 2 * index
        if entry + 2 > self._unpack("<H", layout):
            raise self._damaged()
        offset = self._unpack("<H", layout + entry)
        if not offset:
            raise self._damaged()
        return self.indirect(table + offset)

    def vector(self, place: int) -> range:
        """The places of a vector's elements, of four bytes each."""
        count = self._unpack("<I", place)
        if place + 4 + 4 * count > len(self._content):
            raise self._damaged()
        return range(place + 4, place + 4 + 4 * count, 4)

    def string(self, place: int) -> str:
        """The text at a place."""
        length = self._unpack("<I", place)
        if place + 4 + length > len(self._content):
            raise self._damaged()
        try:
            return self._content[place + 4 : place + 4 + length].decode("utf-8")
        except UnicodeDecodeError:
            raise self._damaged() from None
