"""JSON of other tools, held against what it should be."""

from __future__ import annotations

import json
from typing import Any

from tidlq.errors import QuantProtoError


def load_json(content: bytes, where: str) -> Any:
    """Returns the value of a JSON document.

    Raises:
        QuantProtoError: It is none.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise QuantProtoError(f"{where} is not UTF-8 text (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise QuantProtoError(
            f"{where}, line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise QuantProtoError(f"{where} is not JSON that can be read ({error}).") from error


def as_object(value: Any, where: str) -> dict[str, Any]:
    """The value as a JSON object.

    Raises:
        QuantProtoError: It is something else.
    """
    if not isinstance(value, dict):
        raise QuantProtoError(f"{where} is a JSON {_kind(value)}, expected an object.")
    return value


def as_list(value: Any, where: str) -> list[Any]:
    """The value as a JSON array.

    Raises:
        QuantProtoError: It is something else.
    """
    if not isinstance(value, list):
        raise QuantProtoError(f"{where} is a JSON {_kind(value)}, expected an array.")
    return value


def as_integer(value: Any, low: int, high: int, where: str) -> int:
    """The value as an integer of low .. high; 8.0 is 8.

    Raises:
        QuantProtoError: It is something else.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value != value or not low <= value <= high or int(value) != value:
        raise QuantProtoError(f"{where} is {_shown(value)}, expected an integer {low} .. {high}.")
    return int(value)


def as_positive(value: Any, where: str) -> float:
    """The value as a finite positive number.

    Raises:
        QuantProtoError: It is something else.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < float("inf"):
        raise QuantProtoError(f"{where} is {_shown(value)}, expected a positive number.")
    return float(value)


def as_text(value: Any, where: str) -> str:
    """The value as a string.

    Raises:
        QuantProtoError: It is something else.
    """
    if not isinstance(value, str):
        raise QuantProtoError(f"{where} is {_shown(value)}, expected a string.")
    return value


def _kind(value: Any) -> str:
    kinds = {list: "array", dict: "object", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]} ..."
