"""Values of preprocessing as text or YAML holds them."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tidlq.errors import OptionError, nearest_names

_Choice = TypeVar("_Choice", bound=enum.Enum)


@dataclass(frozen=True)
class Reader:
    """Reads one value.

    Attributes:
        read: returns the value, or raises ValueError.
        allowed: the allowed values, in words.
    """

    read: Callable[[object], Any]
    allowed: str


def read_fields(mapping: Mapping[str, object], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Reads every value that is not None.

    Args:
        mapping: raw values by name.
        readers: how to read the value of each known name.

    Raises:
        OptionError: A name is unknown or a value is not allowed.
    """
    found = {}
    for name, value in mapping.items():
        reader = readers.get(name)
        if reader is None:
            known = ", ".join(readers)
            raise OptionError(
                f"unknown preprocessing {name!r}, known: {known}."
                + nearest_names(str(name), readers)
            )
        if value is None:
            continue
        try:
            found[name] = reader.read(value)
        except (TypeError, ValueError, OverflowError, ZeroDivisionError):
            raise OptionError(
                f"preprocessing {name!r} is {value!r}, allowed: {reader.allowed}."
            ) from None
    return found


def choice(kind: type[_Choice], spellings: Mapping[str, str] | None = None) -> Reader:
    """Reads a member of an enum by its value, whatever the case, or by another spelling."""
    members = {str(member.value).lower(): member for member in kind}
    others = spellings or {}

    def read(value: object) -> _Choice:
        if isinstance(value, kind):
            return value
        text = str(value).strip().lower()
        text = others.get(text, text)
        if text not in members:
            raise ValueError(text)
        return members[text]

    return Reader(read, ", ".join(str(member.value) for member in kind))


def _parts(value: object) -> list[object]:
    if isinstance(value, str):
        return list(value.replace("x", ",").split(","))
    if isinstance(value, Sequence):
        return list(value)
    return [value]


def _pixels(value: object) -> int:
    if isinstance(value, str):
        value = int(value.strip())
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(value)
    return value


def _size(value: object) -> tuple[int, int]:
    sizes = [_pixels(part) for part in _parts(value)]
    if len(sizes) == 1:
        return sizes[0], sizes[0]
    height, width = sizes
    return height, width


def _resize(value: object) -> int | tuple[int, int]:
    parts = _parts(value)
    return _pixels(parts[0]) if len(parts) == 1 else _size(value)


def _number(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, str) and "/" in value:
        above, below = value.split("/")
        number = float(above) / float(below)
    elif isinstance(value, (int, float, str)):
        number = float(value)
    else:
        raise ValueError(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _numbers(value: object) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else _parts(value)
    if len(parts) not in (1, 3):
        raise ValueError(value)
    return tuple(_number(part) for part in parts)


def _color(value: object) -> tuple[int, int, int]:
    levels = [0 if part in (0, "0") else _pixels(part) for part in _parts(value)]
    red, green, blue = levels * 3 if len(levels) == 1 else levels
    if max(levels) > 255:
        raise ValueError(value)
    return red, green, blue


def _switch(value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true"):
        return True
    if text in ("0", "false"):
        return False
    raise ValueError(value)


read_resize = Reader(_resize, "pixels of the short side, or HEIGHTxWIDTH")
read_size = Reader(_size, "pixels of a square, or HEIGHTxWIDTH")
read_numbers = Reader(_numbers, "a number, or one per channel separated by commas")
read_color = Reader(_color, "a level from 0 to 255, or red,green,blue")
read_switch = Reader(_switch, "0, 1")
