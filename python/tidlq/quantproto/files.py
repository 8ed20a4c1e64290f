"""Quantization protos on disk: text or binary by file extension."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from tidlq.errors import OutputError, QuantProtoError, nearest_names
from tidlq.quantproto import codec
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto.faults import find_faults, find_gaps
from tidlq.quantproto.model import SavedRanges
from tidlq.quantproto.text import format_text, parse_text

TEXT_SUFFIXES = (".prototxt", ".pbtxt", ".txt")
BINARY_SUFFIXES = (".pb", ".binarypb", ".bin")

_SHOWN_FAULTS = 5
_UNKNOWN_FIELD = re.compile(
    r'Message type "(?P<message>[\w.]+)" has no field named "(?P<field>\w+)"'
)


def read_quant_params(path: str | Path) -> SavedRanges:
    """Reads a quantization proto, as tidlq or another tool wrote it.

    A `bit_depth` of 1 or 2 is taken for bytes, a bound at its default for an unknown range, and a
    zero point above 2^31 for two's complement.

    Args:
        path: text (.prototxt, .pbtxt, .txt) or binary (.pb, .binarypb, .bin).

    Returns:
        What the file says; ranges that it does not know are None.

    Raises:
        QuantProtoError: The file cannot be read or parsed, or contradicts itself.
    """
    path = Path(path)
    net = _read_message(path)
    faults = find_faults(net)
    if faults:
        raise QuantProtoError(f"quantization proto {str(path)!r} is not valid: {_listed(faults)}.")
    return codec.decode(net)


def validate_quant_params(path: str | Path) -> tuple[str, ...]:
    """Returns everything that is wrong with or missing in a quantization proto.

    A file without problems can be read and states a range for every tensor and the values of every
    bias it lists.

    Args:
        path: as for `read_quant_params`.

    Returns:
        One sentence per problem, with line and column where the text cannot be parsed.

    Raises:
        QuantProtoError: The file does not exist, cannot be opened, or has another extension.
    """
    path = Path(path)
    content = _read_bytes(path)
    try:
        net = _parse(content, path)
    except QuantProtoError as error:
        return (str(error),)
    return (*find_faults(net), *find_gaps(net))


def write_quant_params(path: str | Path, saved: SavedRanges, *, strict: bool = False) -> None:
    """Writes a quantization proto: the whole file, or nothing.

    Args:
        path: text or binary by extension, as for `read_quant_params`; folders are created.
        saved: what to write.
        strict: leave out what TI's schema does not have (names, channels, provenance).

    Raises:
        QuantProtoError: The extension is unknown, or `saved` could not be read again.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    is_text = _is_text(path)
    net = _encode(saved, f"quantization proto {str(path)!r}", strict=strict)
    if is_text:
        _replace_file(path, format_text(net).encode("ascii"))
    else:
        _replace_file(path, net.SerializeToString(deterministic=True))


def format_quant_params(saved: SavedRanges, *, strict: bool = False) -> bytes:
    """Returns the text form of a quantization proto, as `write_quant_params` would write it.

    Args:
        saved: what to write.
        strict: as for `write_quant_params`.

    Raises:
        QuantProtoError: `saved` could not be read again.
    """
    return format_text(_encode(saved, "the quantization proto", strict=strict)).encode("ascii")


def _encode(saved: SavedRanges, where: str, *, strict: bool) -> pb.TIDLNetQuantParams:
    try:
        net = codec.encode(saved, strict=strict)
    except (ValueError, TypeError) as error:
        raise QuantProtoError(f"{where} cannot be written: {_one_line(error)}.") from error
    faults = [*find_faults(net), *_unwritable_ranges(saved)]
    if faults:
        raise QuantProtoError(f"{where} cannot be written: {_listed(faults)}.")
    return net


def _read_message(path: Path) -> pb.TIDLNetQuantParams:
    return _parse(_read_bytes(path), path)


def _read_bytes(path: Path) -> bytes:
    _is_text(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise QuantProtoError(
            f"quantization proto {str(path)!r} cannot be read: {error.strerror or error}."
        ) from error


def _is_text(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in TEXT_SUFFIXES:
        return True
    if suffix in BINARY_SUFFIXES:
        return False
    raise QuantProtoError(
        f"quantization proto {str(path)!r} has the extension {path.suffix!r}; text is "
        f"{', '.join(TEXT_SUFFIXES)}, binary is {', '.join(BINARY_SUFFIXES)}."
    )


def _parse(content: bytes, path: Path) -> pb.TIDLNetQuantParams:
    if not _is_text(path):
        try:
            return pb.TIDLNetQuantParams.FromString(content)
        except (DecodeError, ValueError) as error:
            raise QuantProtoError(
                f"quantization proto {str(path)!r} is not a binary TIDLNetQuantParams message "
                f"({_one_line(error)})."
            ) from error
    try:
        return parse_text(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise QuantProtoError(
            f"quantization proto {str(path)!r} is not UTF-8 text (byte {error.start}); a binary "
            f"file has one of the extensions {', '.join(BINARY_SUFFIXES)}."
        ) from error
    except text_format.ParseError as error:
        raise QuantProtoError(_explain_parse_error(error, path)) from error
    except (ValueError, RecursionError) as error:
        raise QuantProtoError(
            f"quantization proto {str(path)!r} is not a text TIDLNetQuantParams message "
            f"({_one_line(error)})."
        ) from error


def _explain_parse_error(error: text_format.ParseError, path: Path) -> str:
    reason = re.sub(r"^\d+:\d+ : ", "", _one_line(error, limit=10_000))
    reason = reason.rsplit("': ", 1)[-1].rstrip(".")[:200]
    hint = ""
    unknown = _UNKNOWN_FIELD.search(reason)
    if unknown:
        message, field = unknown["message"].rsplit(".", 1)[-1], unknown["field"]
        reason = f"{message} has no field {field!r}"
        hint = nearest_names(field, (known.name for known in _fields_of(message)))
    return (
        f"quantization proto {str(path)!r}, line {error.GetLine()}, column {error.GetColumn()}: "
        f"{reason}.{hint}"
    )


def _fields_of(message: str) -> list[FieldDescriptor]:
    descriptor = pb.DESCRIPTOR.message_types_by_name.get(message)
    return list(descriptor.fields) if descriptor is not None else []


def _one_line(error: Exception, limit: int = 200) -> str:
    return " ".join(str(error).split())[:limit]


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


def _replace_file(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"quantization proto {str(path)!r} cannot be written: {error.strerror or error}."
        ) from error
