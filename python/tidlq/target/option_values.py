"""Types of option values: each reads what a command line, a YAML file or Python may hold."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

from tidlq.spec import Fusion
from tidlq.target.devices import Device, find_device
from tidlq.target.ingredients import CalibrationMethod, EqualizationChoice

LARGEST_TARGET = 200.0
"""Decibels; more than 16 bits can give."""

Choice = TypeVar("Choice", bound=enum.Enum)

_FUSIONS = tuple(fusion.value for fusion in Fusion)


class RequantizationChoice(enum.Enum):
    """Requantization of layers with parameters, as the user asks for it.

    AUTO is the mode that belongs to the scheme: shift for types 0 and 1, fixed for type 4.
    """

    AUTO = "auto"
    FIXED = "fixed"
    FLOAT = "float"


@dataclass(frozen=True)
class Allowed:
    """The values that an option takes, in words."""

    text: str


def _read_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _read_integer(value: object) -> int:
    if isinstance(value, str):
        value = int(value.strip())
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not an integer")
    return value


def _read_switch(value: object) -> bool:
    if isinstance(value, str):
        value = value.strip().lower()
    if value in (0, "0", "false"):
        return False
    if value in (1, "1", "true"):
        return True
    raise ValueError("not a switch")


def _read_names(value: object) -> tuple[str, ...]:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        value = str(value).split(",")
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise ValueError("not a list of names")
    # Exporters name tensors by bare numbers, which YAML reads as integers.
    if not all(isinstance(name, (int, str)) and not isinstance(name, bool) for name in value):
        raise ValueError("not a list of names")
    names = (str(name).strip() for name in value)
    return tuple(dict.fromkeys(name for name in names if name))


def _read_fusions(value: object) -> tuple[str, ...]:
    names = tuple(name.lower() for name in _read_names(value)) or ("none",)
    if names != ("none",) and any(name not in _FUSIONS for name in names):
        raise ValueError("not a fusion")
    return names


def _read_path(value: object) -> Path | None:
    if value is None or value is False or value == "":
        return None
    if not isinstance(value, (str, Path)):
        raise ValueError("not a path")
    return Path(value)


def _read_factor(value: object) -> float:
    factor = _read_number(value)
    if factor != -1 and factor <= 1:
        raise ValueError("neither off nor above 1")
    return factor


def _read_device(value: object) -> Device | None:
    if value is None or isinstance(value, Device):
        return value
    if not isinstance(value, str):
        raise ValueError("not a device name")
    return find_device(value) if value.strip() else None


def _read_percentile(value: object) -> float:
    percentile = _read_number(value)
    if not 50 < percentile <= 100:
        raise ValueError("not above 50 and up to 100")
    return percentile


def _read_decibels(value: object) -> float | None:
    if value is None or value == "":
        return None
    decibels = _read_number(value)
    if not 0 < decibels <= LARGEST_TARGET:
        raise ValueError("no sensible ratio")
    return decibels


def _read_cost_model(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("neither a model nor a path")
    return value.strip()


def _read_equalization(value: object) -> EqualizationChoice:
    # YAML takes a bare on or off for a boolean.
    if isinstance(value, bool):
        return EqualizationChoice.ON if value else EqualizationChoice.OFF
    return EqualizationChoice(value.strip().lower() if isinstance(value, str) else value)


def _choice_of(kind: type[Choice]) -> BeforeValidator:
    def read(value: object) -> Choice:
        return kind(value.strip().lower() if isinstance(value, str) else value)

    return BeforeValidator(read)


def _words_of(kind: type[enum.Enum]) -> Allowed:
    return Allowed(", ".join(str(choice.value) for choice in kind))


def _one_of(*allowed: int) -> BeforeValidator:
    def read(value: object) -> int:
        number = _read_integer(value)
        if number not in allowed:
            raise ValueError("not allowed")
        return number

    return BeforeValidator(read)


def _between(low: int, high: float) -> BeforeValidator:
    def read(value: object) -> int:
        number = _read_integer(value)
        if not low <= number <= high:
            raise ValueError("out of range")
        return number

    return BeforeValidator(read)


TensorBits = Annotated[int, _one_of(8, 16, 32), Allowed("8, 16, 32")]
AccuracyLevel = Annotated[int, _one_of(0, 1, 2, 9), Allowed("0, 1, 2, 9")]
ScaleType = Annotated[int, _one_of(0, 1, 3, 4), Allowed("0, 1, 3, 4")]
Count = Annotated[int, _between(1, math.inf), Allowed("an integer of 1 or more")]
SubgraphCount = Annotated[int, _between(1, 16), Allowed("an integer from 1 to 16")]
DebugLevel = Annotated[int, _between(0, 6), Allowed("an integer from 0 to 6")]
Switch = Annotated[bool, BeforeValidator(_read_switch), Allowed("0, 1")]
OptionalSwitch = Annotated[bool | None, BeforeValidator(_read_switch), Allowed("0, 1")]
Names = Annotated[tuple[str, ...], BeforeValidator(_read_names), Allowed("comma-separated names")]
Fusions = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_fusions),
    Allowed(f"none, or a list of {', '.join(_FUSIONS)}"),
]
Factor = Annotated[
    float, BeforeValidator(_read_factor), Allowed("-1 (off) or a number greater than 1")
]
ProtoPath = Annotated[Path | None, BeforeValidator(_read_path), Allowed("a file path")]
DeviceName = Annotated[
    Device | None, BeforeValidator(_read_device), Allowed(", ".join(Device.__members__))
]
Percentile = Annotated[
    float, BeforeValidator(_read_percentile), Allowed("a number above 50, up to 100")
]
Requantizing = Annotated[
    RequantizationChoice, _choice_of(RequantizationChoice), _words_of(RequantizationChoice)
]
Method = Annotated[CalibrationMethod, _choice_of(CalibrationMethod), _words_of(CalibrationMethod)]
Equalization = Annotated[
    EqualizationChoice, BeforeValidator(_read_equalization), _words_of(EqualizationChoice)
]
Decibels = Annotated[
    float | None, BeforeValidator(_read_decibels), Allowed("decibels above 0, up to 200")
]
CostModelName = Annotated[
    str, BeforeValidator(_read_cost_model), Allowed("device, the path of a file of cycles")
]
