"""Quantization protos on disk and in pipes: text, binary or JSON."""

from __future__ import annotations

from pathlib import Path

from tidlq.atomic_writes import replace_file
from tidlq.errors import QuantProtoError
from tidlq.quantproto import codec
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto.faults import find_faults
from tidlq.quantproto.forms import (
    ProtoForm,
    form_of_content,
    form_of_path,
    format_message,
    one_line,
    parse_message,
)
from tidlq.quantproto.model import SavedRanges

_SHOWN_FAULTS = 5


def read_quant_params(path: str | Path) -> SavedRanges:
    """Reads a quantization proto, as tidlq or another tool wrote it.

    A `bit_depth` of 1 or 2 is taken for bytes, a bound at its default for an unknown range, and a
    zero point above 2^31 for two's complement.

    Args:
        path: text (.prototxt, .pbtxt, .txt), binary (.pb, .binarypb, .bin) or JSON (.json).

    Returns:
        What the file says; ranges that it does not know are None.

    Raises:
        QuantProtoError: The file cannot be read or parsed, or contradicts itself.
    """
    path = Path(path)
    form = form_of_path(path)
    return parse_quant_params(read_content(path), form, name_of(path))


def parse_quant_params(content: bytes, form: ProtoForm | None, where: str) -> SavedRanges:
    """Returns what the content of a quantization proto says.

    Args:
        content: of a file or a pipe.
        form: its form; None tells it from the content.
        where: names the proto in messages.

    Raises:
        QuantProtoError: The content cannot be parsed, or contradicts itself.
    """
    net = parse_message(content, form or form_of_content(content), where)
    faults = [fault.text for fault in find_faults(net)]
    if faults:
        raise QuantProtoError(f"{where} is not valid: {_listed(faults)}.")
    return codec.decode(net)


def write_quant_params(path: str | Path, saved: SavedRanges, *, strict: bool = False) -> None:
    """Writes a quantization proto: the whole file, or nothing.

    Args:
        path: text, binary or JSON by extension, as for `read_quant_params`; folders are created.
        saved: what to write.
        strict: leave out what TI's schema does not have (names, channels, provenance).

    Raises:
        QuantProtoError: The extension is unknown, or `saved` could not be read again.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    form = form_of_path(path)
    net = _encode(saved, name_of(path), strict=strict)
    replace_file(path, format_message(net, form))


def format_quant_params(
    saved: SavedRanges, *, form: ProtoForm = ProtoForm.TEXT, strict: bool = False
) -> bytes:
    """Returns a quantization proto as `write_quant_params` would write it.

    Args:
        saved: what to write.
        form: text, binary or JSON.
        strict: as for `write_quant_params`.

    Raises:
        QuantProtoError: `saved` could not be read again.
    """
    return format_message(_encode(saved, "the quantization proto", strict=strict), form)


def name_of(path: Path) -> str:
    """A quantization proto as messages name it."""
    return f"quantization proto {str(path)!r}"


def read_content(path: Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
        QuantProtoError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise QuantProtoError(
            f"{name_of(path)} cannot be read: {error.strerror or error}."
        ) from error


def _encode(saved: SavedRanges, where: str, *, strict: bool) -> pb.TIDLNetQuantParams:
    try:
        net = codec.encode(saved, strict=strict)
    except (ValueError, TypeError) as error:
        raise QuantProtoError(f"{where} cannot be written: {one_line(error)}.") from error
    faults = [*(fault.text for fault in find_faults(net)), *_unwritable_ranges(saved)]
    if faults:
        raise QuantProtoError(f"{where} cannot be written: {_listed(faults)}.")
    return net


def _unwritable_ranges(saved: SavedRanges) -> list[str]:
    """Known ranges that a reader would take for unknown ones."""
    return [
        f"layer {layer.name!r}, {role}[{position}]: a bound at the end of float32 means 'not known'"
        for layer in saved.layers
        for role, tensors in layer.roles.items()
        for position, tensor in enumerate(tensors)
        if tensor.range is not None and not codec.is_known_range(tensor.range.min, tensor.range.max)
    ]


def _listed(faults: list[str]) -> str:
    more = len(faults) - _SHOWN_FAULTS
    return "; ".join(faults[:_SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")
