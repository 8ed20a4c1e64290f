"""Text form of a quantization proto, at a speed that suits files of 100,000 numbers.

The protobuf library walks a text token by token in Python; with it, reading saved ranges would
take longer than all the rest of a compilation. The parser here reads the plain layout that every
printer writes (one field or brace on a line, lists in brackets or one number on a line) and leaves
all else, errors included, to the library.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from google.protobuf import text_encoding, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext

_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_NUMBER = r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_STRING = re.compile(r'"([^"\\\x00-\x1f]*)"')


def _list_of(item: str) -> re.Pattern[str]:
    return re.compile(rf"\[{item}(?:, ?{item})*\]|{item}")


_INTEGERS, _NUMBERS = _list_of(_INTEGER), _list_of(_NUMBER)
_EXTENSIONS = {
    f"[tidlq.quantproto.{field.name}]": field
    for field in ext.DESCRIPTOR.extensions_by_name.values()
}


class _UnusualError(Exception):
    """The text is not in the plain layout."""


def format_text(net: pb.TIDLNetQuantParams) -> str:
    """Returns the text of a message: ASCII, one field on a line, repeated numbers as lists."""
    return "".join(_message_lines(net, ""))


def parse_text(text: str) -> pb.TIDLNetQuantParams:
    """Returns the message of a text.

    Raises:
        text_format.ParseError: The text is not one of the schema; with line and column.
    """
    try:
        return _parse_plain(text)
    except (_UnusualError, ValueError):
        return _parse_any(text)


def _message_lines(message: Message, indent: str) -> Iterator[str]:
    for field, value in message.ListFields():
        name = f"[{field.full_name}]" if field.is_extension else field.name
        if field.type == field.TYPE_MESSAGE:
            for child in value if field.is_repeated else [value]:
                yield f"{indent}{name} {{\n"
                yield from _message_lines(child, indent + "  ")
                yield f"{indent}}}\n"
        elif field.is_repeated:
            # An extension that was merely looked at may be listed.
            if value:
                yield f"{indent}{name}: [{', '.join(_scalar_texts(field, value))}]\n"
        else:
            yield f"{indent}{name}: {next(_scalar_texts(field, [value]))}\n"


def _scalar_texts(field: FieldDescriptor, values: Iterable[Any]) -> Iterator[str]:
    if field.type == field.TYPE_FLOAT:
        # The shortest digits that give the same float32.
        return map(str, np.asarray(values, np.float32))
    if field.enum_type is not None:
        return (field.enum_type.values_by_number[value].name for value in values)
    if field.type == field.TYPE_STRING:
        return (f'"{text_encoding.CEscape(value.encode(), as_utf8=False)}"' for value in values)
    return map(repr, values)


def _parse_plain(text: str) -> pb.TIDLNetQuantParams:
    net = pb.TIDLNetQuantParams()
    open_messages: list[Message] = [net]
    for line in text.split("\n"):
        content = line.strip(" \t\r")
        message = open_messages[-1]
        if content == "}":
            open_messages.pop()
            if not open_messages:
                raise _UnusualError
        elif content.endswith(" {"):
            open_messages.append(_open_message(message, content[:-2]))
        elif content:
            name, _, value = content.partition(": ")
            _set_field(message, name, value)
    if len(open_messages) != 1:
        raise _UnusualError
    return net


def _parse_any(text: str) -> pb.TIDLNetQuantParams:
    net = pb.TIDLNetQuantParams()
    with warnings.catch_warnings():
        # About escapes in strings, which the library decodes with Python's own codec.
        warnings.simplefilter("ignore", DeprecationWarning)
        text_format.Parse(text, net)
    return net


def _find_field(message: Message, name: str) -> FieldDescriptor:
    descriptor: Any = message.DESCRIPTOR
    field: FieldDescriptor | None = descriptor.fields_by_name.get(name) or _EXTENSIONS.get(name)
    if field is None or field.containing_type != descriptor:
        raise _UnusualError
    return field


def _open_message(message: Message, name: str) -> Message:
    field = _find_field(message, name)
    if field.type != field.TYPE_MESSAGE:
        raise _UnusualError
    place = _place(message, field)
    if field.is_repeated:
        return place.add()  # type: ignore[no-any-return]
    if _is_set(message, field):
        raise _UnusualError
    place.SetInParent()
    return place  # type: ignore[no-any-return]


def _set_field(message: Message, name: str, text: str) -> None:
    field = _find_field(message, name)
    values = _read_values(field, text)
    if field.is_repeated:
        _place(message, field).extend(values)
    elif len(values) != 1 or _is_set(message, field):
        raise _UnusualError
    elif field.is_extension:
        message.Extensions[_handle(field)] = values[0]
    else:
        setattr(message, field.name, values[0])


def _read_values(field: FieldDescriptor, text: str) -> list[Any]:
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return _read_numbers(_NUMBERS, float, text)
    if field.type in (field.TYPE_INT32, field.TYPE_UINT32):
        return _read_numbers(_INTEGERS, int, text)
    if field.enum_type is not None and text in field.enum_type.values_by_name:
        return [field.enum_type.values_by_name[text].number]
    string = _STRING.fullmatch(text) if field.type == field.TYPE_STRING else None
    if string is None:
        raise _UnusualError
    return [string[1]]


def _read_numbers(pattern: re.Pattern[str], read: Callable[[str], float], text: str) -> list[float]:
    if not pattern.fullmatch(text):
        raise _UnusualError
    return [read(item) for item in text.strip("[]").split(",")]


def _handle(field: FieldDescriptor) -> Any:
    return getattr(ext, field.name)


def _place(message: Message, field: FieldDescriptor) -> Any:
    if field.is_extension:
        return message.Extensions[_handle(field)]
    return getattr(message, field.name)


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.is_extension:
        return message.HasExtension(_handle(field))
    return message.HasField(field.name)
