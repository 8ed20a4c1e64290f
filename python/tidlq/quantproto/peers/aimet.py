"""AIMET's encodings: versions 0.4 to 0.6.1, 1.0.0, and 2.x.

An integer q in 0 .. 2^bits - 1 stands for  scale * (q + offset)  in versions 0.x and 1.0.0, and one
of `output_dtype` for  y_scale * (q - y_zero_point)  in 2.x. Sources: AIMET's encoding
specification, and the reading side of aimet-onnx 2.42.

What an encoding says is the range of its grid. Files that tidlq writes have one section more, which
other readers pass over: the ranges to the last bit. It counts for tensors whose encoding is still
the one that was written with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidlq.errors import QuantProtoError
from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor
from tidlq.quantproto.peers.json_reading import (
    as_integer,
    as_list,
    as_object,
    as_positive,
    as_text,
    load_json,
)
from tidlq.quantproto.peers.model import PeerFile, PeerRange, peer_range, spanned
from tidlq.quantproto.scales import bits_of, step_of
from tidlq.spec import Range
from tidlq.version import __version__

AIMET_VERSIONS = ("0.6.1", "1.0.0", "2.0.0")
"""The versions that are written."""

_SECTION = "tidlq"
_MOST_BITS = 32
_WIDEST_OFFSET = 1 << 33
_INTEGER = re.compile(r"(?P<unsigned>u?)int(?P<bits>\d{1,2})")
_KNOWN_BITS = (8, 16)
_LARGEST_SCALE = 2.0**127


def read_aimet(content: bytes, where: str) -> PeerFile:
    """Reads encodings of any published version.

    Args:
        content: of the file.
        where: names the file in messages.

    Raises:
        QuantProtoError: The file is damaged, or of a version that is not known.
    """
    document = as_object(load_json(content, where), where)
    version = as_text(document.get("version", "0.4.0"), f"{where}, version")
    reader = _Reader(where, _exact_ranges(document.get(_SECTION), f"{where}, {_SECTION}"))
    if version.startswith("0."):
        parts = [reader.read_named(document, part) for part in _PARTS]
    elif version.startswith("1."):
        parts = [reader.read_listed(document, part) for part in _PARTS]
    elif version.startswith("2."):
        parts = [reader.read_listed(document, "encodings"), {}]
    else:
        raise QuantProtoError(
            f"{where} has encodings of version {version!r}; known are 0.x, 1.x and 2.x."
        )
    return PeerFile(f"AIMET {version}", parts[0], parts[1], left_out=tuple(reader.left_out))


_PARTS = ("activation_encodings", "param_encodings")


@dataclass(frozen=True)
class _Grid:
    """An encoding as all versions mean it:  scale * (q + offset),  q in 0 .. 2^bits - 1."""

    scales: tuple[float, ...]
    offsets: tuple[int, ...]
    bits: int

    def ranges(self, where: str) -> tuple[Range, ...]:
        most = (1 << self.bits) - 1
        pairs = zip(self.scales, self.offsets, strict=True)
        return tuple(peer_range(s * o, s * (o + most), where) for s, o in pairs)


@dataclass(frozen=True)
class _Exact:
    """A range to the last bit, with the grid that was written beside it."""

    grid: _Grid
    range: Range
    channels: tuple[Range, ...]


@dataclass
class _Reader:
    where: str
    exact: Mapping[str, _Exact]
    left_out: list[str] = field(default_factory=list)

    def read_named(self, document: Mapping[str, Any], part: str) -> dict[str, PeerRange]:
        """Version 0.x: encodings by tensor name, one for each channel."""
        where = f"{self.where}, {part}"
        found: dict[str, PeerRange] = {}
        for name, entry in as_object(document.get(part, {}), where).items():
            at = f"{where}, tensor {name!r}"
            channels = [as_object(item, at) for item in as_list(entry, at)]
            if not channels:
                raise QuantProtoError(f"{at} has no encoding.")
            if any(item.get("dtype", "int") != "int" for item in channels):
                self.left_out.append(f"{name} (stays in float)")
                continue
            bits = as_integer(channels[0].get("bitwidth"), 1, _MOST_BITS, f"{at}, bitwidth")
            has_ends = all("min" in item and "max" in item for item in channels)
            grid = None
            if not has_ends or all("scale" in item and "offset" in item for item in channels):
                grid = self.grid(channels, bits, at)
            if self.add_exact(found, name, grid):
                continue
            if grid is None or has_ends:
                ranges = tuple(peer_range(item["min"], item["max"], at) for item in channels)
            else:
                ranges = grid.ranges(at)
            self.add(found, name, ranges, bits)
        return found

    def grid(self, channels: Sequence[Mapping[str, Any]], bits: int, at: str) -> _Grid:
        """The grid of encodings of version 0.x."""
        return _Grid(
            tuple(as_positive(item.get("scale"), f"{at}, scale") for item in channels),
            tuple(_offset(item.get("offset"), f"{at}, offset") for item in channels),
            bits,
        )

    def read_listed(self, document: Mapping[str, Any], part: str) -> dict[str, PeerRange]:
        """Versions 1.0.0 and 2.x: a list of encodings with names."""
        where = f"{self.where}, {part}"
        found: dict[str, PeerRange] = {}
        for position, item in enumerate(as_list(document.get(part, []), where)):
            entry = as_object(item, f"{where}[{position}]")
            name = as_text(entry.get("name"), f"{where}[{position}], name")
            at = f"{where}, tensor {name!r}"
            reason = _unread(entry)
            if reason:
                self.left_out.append(f"{name} ({reason})")
                continue
            grid = _grid_of_2(entry, at) if part == "encodings" else _grid_of_1(entry, at)
            if grid.bits == _MOST_BITS:
                self.left_out.append(f"{name} (32 bits)")
                continue
            if not self.add_exact(found, name, grid):
                self.add(found, name, grid.ranges(at), grid.bits)
        return found

    def add_exact(self, found: dict[str, PeerRange], name: str, grid: _Grid | None) -> bool:
        """Takes the range to the last bit, where it was written with this encoding."""
        exact = self.exact.get(name)
        if exact is None or grid != exact.grid:
            return False
        found[name] = PeerRange(exact.range, exact.channels, _stated_bits(exact.grid.bits))
        return True

    def add(
        self, found: dict[str, PeerRange], name: str, ranges: tuple[Range, ...], bits: int
    ) -> None:
        channels = ranges if len(ranges) > 1 else ()
        found[name] = PeerRange(spanned(ranges), channels, _stated_bits(bits))


def _stated_bits(bits: int) -> int | None:
    return bits if bits in _KNOWN_BITS else None


def _unread(entry: Mapping[str, Any]) -> str:
    """Why no range follows from an encoding of version 1 or 2; empty where one does."""
    kind = str(entry.get("output_dtype", entry.get("dtype", "int"))).lower()
    if "int" not in kind:
        return "stays in float"
    is_block = entry.get("enc_type") in ("PER_BLOCK", "LPBQ") or "per_block_int_scale" in entry
    if is_block or entry.get("block_size") is not None:
        return "scales of blocks"
    return "fractional zero points" if entry.get("zero_point_shift") else ""


def _grid_of_1(entry: Mapping[str, Any], at: str) -> _Grid:
    bits = as_integer(entry.get("bw"), 1, _MOST_BITS, f"{at}, bw")
    scales = as_list(entry.get("scale"), f"{at}, scale")
    offsets = as_list(entry.get("offset"), f"{at}, offset")
    return _grid(scales, offsets, bits, at)


def _grid_of_2(entry: Mapping[str, Any], at: str) -> _Grid:
    dtype = as_text(entry.get("output_dtype"), f"{at}, output_dtype")
    known = _INTEGER.fullmatch(dtype)
    if known is None or not 1 <= int(known["bits"]) <= _MOST_BITS:
        raise QuantProtoError(
            f"{at}: output_dtype is {dtype!r}, expected int8, uint8 and the like."
        )
    bits = int(known["bits"])
    lowest = 0 if known["unsigned"] else -(1 << (bits - 1))
    scales = entry.get("y_scale")
    scales = scales if isinstance(scales, list) else [scales]
    points = entry.get("y_zero_point")
    if points is None:
        points = [0] * len(scales)
    points = points if isinstance(points, list) else [points]
    offsets = [lowest - _offset(point, f"{at}, y_zero_point") for point in points]
    return _grid(scales, offsets, bits, at)


def _grid(scales: Sequence[Any], offsets: Sequence[Any], bits: int, at: str) -> _Grid:
    if len(scales) != len(offsets) or not scales:
        raise QuantProtoError(f"{at} has {len(scales)} scales and {len(offsets)} offsets.")
    return _Grid(
        tuple(as_positive(scale, f"{at}, scale") for scale in scales),
        tuple(_offset(offset, f"{at}, offset") for offset in offsets),
        bits,
    )


def _offset(value: Any, where: str) -> int:
    return as_integer(value, -_WIDEST_OFFSET, _WIDEST_OFFSET, where)


def _exact_ranges(section: Any, where: str) -> dict[str, _Exact]:
    """The section with ranges to the last bit."""
    if section is None:
        return {}
    found = {}
    for name, value in as_object(as_object(section, where).get("ranges", {}), where).items():
        at = f"{where}, tensor {name!r}"
        entry = as_object(value, at)
        bits = as_integer(entry.get("bits"), 1, _MOST_BITS, f"{at}, bits")
        grid = _grid(as_list(entry.get("scale"), at), as_list(entry.get("offset"), at), bits, at)
        channels = [as_list(pair, at) for pair in as_list(entry.get("channels", []), at)]
        if any(len(pair) != 2 for pair in channels):
            raise QuantProtoError(f"{at}: a channel has a min and a max.")
        found[name] = _Exact(
            grid,
            peer_range(entry.get("min"), entry.get("max"), at),
            tuple(peer_range(low, high, at) for low, high in channels),
        )
    return found


@dataclass(frozen=True)
class Encodings:
    """Encodings of a proto.

    Attributes:
        content: of the file.
        tensors: number of encodings.
        left_out: what the proto states and encodings cannot, one phrase each.
    """

    content: bytes
    tensors: int
    left_out: tuple[str, ...]


def format_aimet(
    saved: SavedRanges, version: str, names: Mapping[str, str] | None = None
) -> Encodings:
    """Writes the ranges of features and parameters as encodings.

    Scales are those that the proto states, else those that its ranges give.

    Args:
        saved: the proto; its tensors need names.
        version: one of `AIMET_VERSIONS`.
        names: names of parameters in the model, by their names in the proto.

    Raises:
        QuantProtoError: The version is not known.
    """
    if version not in AIMET_VERSIONS:
        raise QuantProtoError(
            f"encodings of version {version!r} are not written; known: {', '.join(AIMET_VERSIONS)}."
        )
    writer = _Writer(version, names or {})
    for layer in saved.layers:
        for role, tensors in layer.roles.items():
            for tensor in tensors:
                writer.add(layer, role, tensor, symmetric=saved.symmetric)
    if saved.equalization:
        writer.rescaled = len(saved.equalization.factors)
    return writer.finish()


@dataclass
class _Writer:
    version: str
    names: Mapping[str, str]
    features: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    exact: dict[str, Any] = field(default_factory=dict)
    biases: int = 0
    unnamed: int = 0
    unknown: int = 0
    rescaled: int = 0

    def add(self, layer: SavedLayer, role: str, tensor: SavedTensor, *, symmetric: bool) -> None:
        if role == "bias":
            self.biases += 1
            return
        if not tensor.name:
            self.unnamed += 1
            return
        bits = bits_of(layer, role)
        grid = _grid_of(tensor, bits, symmetric=symmetric or role != "outputs")
        if grid is None or tensor.range is None:
            self.unknown += 1
            return
        name = self.names.get(tensor.name, tensor.name)
        encodings = self.features if role == "outputs" else self.parameters
        encodings[name] = _WRITERS[self.version](name, grid)
        channels = [[channel.min, channel.max] for channel in tensor.channels]
        self.exact[name] = {
            "min": tensor.range.min,
            "max": tensor.range.max,
            **({"channels": channels} if channels else {}),
            "bits": grid.bits,
            "scale": list(grid.scales),
            "offset": list(grid.offsets),
        }

    def finish(self) -> Encodings:
        """The file."""
        document: dict[str, Any] = {
            "version": self.version,
            "producer": {"package": "tidlq", "version": __version__},
        }
        tables = self.features, self.parameters
        if self.version == "2.0.0":
            document["encodings"] = [*self.features.values(), *self.parameters.values()]
        else:
            as_part = dict if self.version == "0.6.1" else lambda table: list(table.values())
            document |= {part: as_part(x) for part, x in zip(_PARTS, tables, strict=True)}
        document[_SECTION] = {"ranges": self.exact}
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        return Encodings(text.encode(), sum(map(len, tables)), tuple(self._left_out()))

    def _left_out(self) -> Iterator[str]:
        if self.rescaled:
            yield (
                f"the rescaling of the channels of {self.rescaled} layers: the encodings fit the "
                "rescaled network only"
            )
        if self.biases:
            biases = f"{self.biases} bias{'es' if self.biases > 1 else ''}"
            yield f"{biases}: encodings have no values"
        if self.unnamed:
            yield f"{self.unnamed} tensors without a name"
        if self.unknown:
            yield f"{self.unknown} tensors without a range or with a scale out of all bounds"


def _grid_of(tensor: SavedTensor, bits: int, *, symmetric: bool) -> _Grid | None:
    """The grid that a tensor is quantized to."""
    step = step_of(tensor, bits, symmetric=symmetric)
    if tensor.range is None or step is None:
        return None
    half = 1 << (bits - 1)
    scales = [1.0 / scale for scale in tensor.scales if scale > 0] or [step]
    if not 0 < min(scales) <= max(scales) < _LARGEST_SCALE:
        return None
    if tensor.zero_points and tensor.type is not None:
        lowest = tensor.type.lowest
        points = tensor.zero_points * (len(scales) if len(tensor.zero_points) == 1 else 1)
        offsets = [lowest - point for point in points[: len(scales)]]
    elif symmetric:
        offsets = [-half if tensor.range.min < 0 else 0] * len(scales)
    else:
        lowest = round(max(tensor.range.with_zero().min / step, 1 - 2 * half))
        offsets = [lowest] * len(scales)
    return _Grid(tuple(scales), tuple(offsets), bits) if len(offsets) == len(scales) else None


def _is_symmetric(grid: _Grid) -> bool:
    return all(offset == -(1 << (grid.bits - 1)) for offset in grid.offsets)


def _write_0(_name: str, grid: _Grid) -> list[dict[str, Any]]:
    most = (1 << grid.bits) - 1
    return [
        {
            "bitwidth": grid.bits,
            "dtype": "int",
            "is_symmetric": str(_is_symmetric(grid)),
            "max": scale * (offset + most),
            "min": scale * offset,
            "offset": offset,
            "scale": scale,
        }
        for scale, offset in zip(grid.scales, grid.offsets, strict=True)
    ]


def _write_1(name: str, grid: _Grid) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": "INT",
        "enc_type": "PER_TENSOR" if len(grid.scales) == 1 else "PER_CHANNEL",
        "bw": grid.bits,
        "is_sym": _is_symmetric(grid),
        "scale": list(grid.scales),
        "offset": list(grid.offsets),
    }


def _write_2(name: str, grid: _Grid) -> dict[str, Any]:
    signed = _is_symmetric(grid)
    lowest = -(1 << (grid.bits - 1)) if signed else 0
    points = [lowest - offset for offset in grid.offsets]
    is_one = len(grid.scales) == 1
    return {
        "name": name,
        "output_dtype": f"{'' if signed else 'u'}int{grid.bits}",
        "y_scale": grid.scales[0] if is_one else list(grid.scales),
        **({} if not any(points) else {"y_zero_point": points[0] if is_one else points}),
        **({} if is_one else {"axis": 0}),
    }


_WRITERS = {"0.6.1": _write_0, "1.0.0": _write_1, "2.0.0": _write_2}
