"""What other tools say about ranges, by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidlq.errors import QuantProtoError
from tidlq.spec import Range, RangeOrigin


@dataclass(frozen=True)
class PeerRange:
    """The range of one tensor.

    Attributes:
        range: of the whole tensor.
        channels: of each output channel, where the file tells them apart.
        bits: of the integers; None where the file does not say.
    """

    range: Range
    channels: tuple[Range, ...] = ()
    bits: int | None = None


@dataclass(frozen=True)
class PeerFile:
    """A file of another tool.

    Attributes:
        tool: what wrote it, for messages.
        features: by tensor name.
        parameters: likewise; empty where the tool does not tell them from features.
        is_magnitude: only max(|min|, |max|) is known; the ranges are symmetric for want of more.
        left_out: what the file states and no range follows from, one phrase each.
    """

    tool: str
    features: Mapping[str, PeerRange]
    parameters: Mapping[str, PeerRange] = field(default_factory=dict)
    is_magnitude: bool = False
    left_out: tuple[str, ...] = ()


def peer_range(low: object, high: object, where: str) -> Range:
    """A range of two numbers of a file.

    Raises:
        QuantProtoError: They are no finite numbers with low <= high.
    """
    try:
        return Range(_number(low), _number(high), RangeOrigin.SAVED)
    except (TypeError, ValueError):
        raise QuantProtoError(
            f"{where}: {_short(low)} and {_short(high)} are no finite min and max."
        ) from None


def spanned(channels: Sequence[Range]) -> Range:
    """The range of all channels."""
    return Range(
        min(channel.min for channel in channels),
        max(channel.max for channel in channels),
        RangeOrigin.SAVED,
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(value)
    try:
        return float(value)
    except OverflowError:
        raise ValueError(value) from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]} ..."
