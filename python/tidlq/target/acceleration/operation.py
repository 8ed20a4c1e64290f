"""An operation as the limits of TI's engine see it: shapes, attributes, constants."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidlq.target.devices import Device


class ShortcomingKind(enum.Enum):
    """What a limit says about an operation that exceeds it."""

    NOT_ACCELERATED = "not accelerated"
    NOT_VALIDATED = "not validated"


@dataclass(frozen=True)
class Operand:
    """An input of an operation.

    Attributes:
        shape: static sizes; None where they are not known.
        is_constant: a weight or another constant, not a feature map.
        values: of a small constant, flattened; None of all others.
    """

    shape: tuple[int, ...] | None
    is_constant: bool = False
    values: tuple[float, ...] | None = None

    @property
    def axes_in_use(self) -> int:
        """Axes of a size other than 1; 0 where the shape is not known."""
        return sum(size != 1 for size in self.shape or ())


@dataclass(frozen=True)
class Operation:
    """An ONNX operation with static shapes; channels are axis 1.

    Attributes:
        op_type: ONNX operator of the default domain.
        inputs: None where an optional one is absent.
        output: shape of the first output; None where it is not known.
        attributes: by ONNX's names; lists as tuples.
        opset: of the default domain.
        is_tflite: it was a TFLite operator, which has fewer forms.
        is_terminal: it reads an input of the network, or writes an output.
        in_gelu: it is part of a Gelu written out with Erf.
    """

    op_type: str
    inputs: tuple[Operand | None, ...]
    output: tuple[int, ...] | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    is_tflite: bool = False
    is_terminal: bool = False
    in_gelu: bool = False

    def input(self, index: int) -> Operand | None:
        """An input, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def features(self) -> tuple[Operand, ...]:
        """Inputs that are not constant."""
        return tuple(item for item in self.inputs if item is not None and not item.is_constant)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input; empty where it is not known."""
        first = self.input(0)
        return first.shape or () if first is not None else ()

    def listed(self, name: str, index: int | None = None) -> tuple[int, ...] | None:
        """Whole numbers of an attribute, or of a constant input; None where neither is there."""
        operand = None if index is None else self.input(index)
        if operand is not None and operand.values is not None:
            return tuple(int(value) for value in operand.values)
        found = self.attributes.get(name)
        if found is None:
            return None
        return tuple(found) if isinstance(found, Sequence) else (int(found),)

    def axis_from_end(self, axis: int, rank: int | None = None) -> int:
        """An axis as -1 (width), -2 (height), -3 (channels)."""
        return axis if axis < 0 else axis - (len(self.shape) if rank is None else rank)


Limit = Callable[[Operation, Device], str | None]
"""Says what of an operation a device does not take, in words that follow its name; or None."""


def by(sizes: Sequence[int]) -> str:
    """3x3."""
    return "x".join(map(str, sizes))
