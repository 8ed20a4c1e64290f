"""The three forms of a quantization proto: text, binary and JSON."""

from __future__ import annotations

import enum
import re
from pathlib import Path

from google.protobuf import json_format, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from tidlq.errors import QuantProtoError, nearest_names
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto.json_form import format_json, parse_json
from tidlq.quantproto.text import format_text, parse_text

TEXT_SUFFIXES = (".prototxt", ".pbtxt", ".txt")
BINARY_SUFFIXES = (".pb", ".binarypb", ".bin")
JSON_SUFFIXES = (".json",)

_UNKNOWN_FIELD = re.compile(
    r'Message type "(?P<message>[\w.]+)" has no field named "(?P<field>[^"]+)"'
    r'(?: at "(?P<place>[^"]*)")?'
)
# Keys of the numbered fields of TIDLNetQuantParams; no text begins with one of them.
_BINARY_STARTS = (b"\x08", b"\x10", b"\x18", b"\x22")
_LONGEST_REASON = 200


class ProtoForm(enum.Enum):
    """How a quantization proto is written down; all three hold the same to the last bit."""

    TEXT = "text"
    BINARY = "binary"
    JSON = "json"


def form_of_path(path: Path) -> ProtoForm:
    """Returns the form that a file's extension stands for.

    Raises:
        QuantProtoError: The extension stands for none.
    """
    suffix = path.suffix.lower()
    for form, suffixes in (
        (ProtoForm.TEXT, TEXT_SUFFIXES),
        (ProtoForm.BINARY, BINARY_SUFFIXES),
        (ProtoForm.JSON, JSON_SUFFIXES),
    ):
        if suffix in suffixes:
            return form
    raise QuantProtoError(
        f"quantization proto {str(path)!r} has the extension {path.suffix!r}; text is "
        f"{', '.join(TEXT_SUFFIXES)}, binary is {', '.join(BINARY_SUFFIXES)}, JSON is "
        f"{', '.join(JSON_SUFFIXES)}."
    )


def form_of_content(content: bytes) -> ProtoForm:
    """Returns the form of a content that has no file name: the one whose beginning it has."""
    start = content.lstrip()
    if content.startswith(_BINARY_STARTS) or content[:1] > b"\x7f":
        return ProtoForm.BINARY
    return (
        ProtoForm.JSON
        if start.startswith((b"{", b"[")) and not _is_extension(start)
        else (ProtoForm.TEXT)
    )


def _is_extension(start: bytes) -> bool:
    """A text may begin with an extension's name in brackets."""
    return re.match(rb"\[\s*[A-Za-z_]", start) is not None


def format_message(net: pb.TIDLNetQuantParams, form: ProtoForm) -> bytes:
    """Returns a message in a form; the same message gives the same bytes."""
    if form is ProtoForm.TEXT:
        return format_text(net).encode("ascii")
    if form is ProtoForm.JSON:
        return format_json(net).encode("ascii")
    return net.SerializeToString(deterministic=True)


def parse_message(content: bytes, form: ProtoForm, where: str) -> pb.TIDLNetQuantParams:
    """Returns the message that a content holds; what it says may contradict itself.

    Args:
        content: of a file.
        form: its form.
        where: names the file in messages: "quantization proto 'q.prototxt'".

    Raises:
        QuantProtoError: The content is not of the form or not of the schema.
    """
    if form is ProtoForm.BINARY:
        return _parse_binary(content, where)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise QuantProtoError(
            f"{where} is not UTF-8 text (byte {error.start}); a binary file has one of the "
            f"extensions {', '.join(BINARY_SUFFIXES)}."
        ) from error
    return _parse_json(text, where) if form is ProtoForm.JSON else _parse_text(text, where)


def _parse_binary(content: bytes, where: str) -> pb.TIDLNetQuantParams:
    try:
        return pb.TIDLNetQuantParams.FromString(content)
    except (DecodeError, ValueError) as error:
        raise QuantProtoError(
            f"{where} is not a binary TIDLNetQuantParams message ({one_line(error)})."
        ) from error


def _parse_text(text: str, where: str) -> pb.TIDLNetQuantParams:
    try:
        return parse_text(text)
    except text_format.ParseError as error:
        reason = explain_text_error(error)
        raise QuantProtoError(
            f"{where}, line {error.GetLine()}, column {error.GetColumn()}: {reason}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise QuantProtoError(
            f"{where} is not a text TIDLNetQuantParams message ({one_line(error)})."
        ) from error


def _parse_json(text: str, where: str) -> pb.TIDLNetQuantParams:
    try:
        return parse_json(text)
    except json_format.ParseError as error:
        raise QuantProtoError(f"{where}: {explain_json_error(error)}") from error
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise QuantProtoError(
            f"{where} is not a JSON TIDLNetQuantParams message ({one_line(error)})."
        ) from error


def explain_text_error(error: text_format.ParseError) -> str:
    """The reason of the protobuf library, with the nearest names for a field that is unknown."""
    reason = re.sub(r"^\d+:\d+ : ", "", one_line(error, limit=10_000))
    reason = reason.rsplit("': ", 1)[-1].rstrip(".")[:_LONGEST_REASON]
    unknown = _UNKNOWN_FIELD.search(reason)
    if unknown is None:
        return f"{reason}."
    return unknown_field(unknown["message"].rsplit(".", 1)[-1], unknown["field"])


def explain_json_error(error: json_format.ParseError) -> str:
    """The same for JSON, whose errors have a path in place of line and column."""
    reason = one_line(error, limit=10_000)
    unknown = _UNKNOWN_FIELD.search(reason)
    if unknown is None:
        return f"{reason.rstrip('.')[:_LONGEST_REASON]}."
    place = (unknown["place"] or "").partition(".")[2]
    fault = unknown_field(unknown["message"].rsplit(".", 1)[-1], unknown["field"])
    return f"{place}: {fault}" if place else fault


def unknown_field(message: str, field: str) -> str:
    """The sentence about a field that a message does not have."""
    hint = nearest_names(field, (known.name for known in _fields_of(message)))
    return f"{message} has no field {field!r}.{hint}"


def _fields_of(message: str) -> list[FieldDescriptor]:
    descriptor = pb.DESCRIPTOR.message_types_by_name.get(message)
    return list(descriptor.fields) if descriptor is not None else []


def one_line(error: Exception, limit: int = _LONGEST_REASON) -> str:
    """What an exception says, without line breaks."""
    return " ".join(str(error).split())[:limit]
