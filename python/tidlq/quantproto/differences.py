"""What tells two quantization protos apart, and what that does to scales and bits."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tidlq.quantproto.model import SavedLayer, SavedRanges
from tidlq.quantproto.pairing import TensorPair, pair_tensors
from tidlq.quantproto.scales import bits_of, step_of
from tidlq.spec import Range

Stated = tuple[float, ...] | int | str | None
"""What one file states: (min, max), a number of bits, a word; None: nothing."""


class DifferenceKind(enum.Enum):
    """What differs."""

    FILE = "file"
    LAYER = "layer"
    TENSOR = "tensor"
    TYPE = "type"
    BITS = "bits"
    PARAMETER_BITS = "parameter bits"
    EQUALIZATION = "equalization"
    RANGE = "range"
    CHANNELS = "channel ranges"
    VALUES = "values"


@dataclass(frozen=True)
class Difference:
    """One thing in which two files differ.

    Attributes:
        kind: what.
        layer: its name; empty for the file as a whole.
        role: what the tensor is to its layer: "outputs", "weights", "bias", "slope".
        tensor: its name, or role and position; empty for the layer as a whole.
        before, after: what the first and the second file state.
        steps: by how much, in integer units of the second file (of the first where the second does
            not know the tensor); None where that has no meaning.
        step_before, step_after: real value of an integer unit.
    """

    kind: DifferenceKind
    layer: str
    role: str = ""
    tensor: str = ""
    before: Stated = None
    after: Stated = None
    steps: float | None = None
    step_before: float | None = None
    step_after: float | None = None


def compare_saved(
    first: SavedRanges, second: SavedRanges, tolerance: float = 0.0
) -> tuple[Difference, ...]:
    """Returns everything that decides a network and differs, in the layers' order.

    Stored scales and zero points, element types and provenance decide nothing and are left out.

    Args:
        first: before.
        second: after.
        tolerance: ranges and bias values that differ by at most so many steps count as equal.
    """
    found = [*_of_files(first, second)]
    for layer in first.layers:
        other = second.layers_by_name.get(layer.name)
        if other is None:
            found.append(Difference(DifferenceKind.LAYER, layer.name, before=layer.layer_type))
            continue
        found += _of_layers(layer, other)
        symmetric = first.symmetric, second.symmetric
        for pair in pair_tensors(layer, other):
            found += _of_tensors(layer, other, pair, symmetric)
    found += [
        Difference(DifferenceKind.LAYER, layer.name, after=layer.layer_type)
        for layer in second.layers
        if layer.name not in first.layers_by_name
    ]
    return tuple(x for x in found if x.steps is None or x.steps > tolerance)


def _of_files(first: SavedRanges, second: SavedRanges) -> Iterator[Difference]:
    words = {True: "zero points 0", False: "zero points any"}
    if first.symmetric != second.symmetric:
        before, after = words[first.symmetric], words[second.symmetric]
        yield Difference(DifferenceKind.FILE, "", before=before, after=after)
    words = {True: "weight scales per channel", False: "weight scales per tensor"}
    if first.per_channel != second.per_channel:
        before, after = words[first.per_channel], words[second.per_channel]
        yield Difference(DifferenceKind.FILE, "", before=before, after=after)


def _of_layers(first: SavedLayer, second: SavedLayer) -> Iterator[Difference]:
    name = first.name
    if first.layer_type != second.layer_type:
        types = first.layer_type, second.layer_type
        yield Difference(DifferenceKind.TYPE, name, before=types[0], after=types[1])
    if first.bit_depth != second.bit_depth:
        yield Difference(DifferenceKind.BITS, name, "", "", first.bit_depth, second.bit_depth)
    bits = bits_of(first, "weights"), bits_of(second, "weights")
    if bits[0] != bits[1] and (first.weights or first.slope or second.weights or second.slope):
        yield Difference(DifferenceKind.PARAMETER_BITS, name, "", "", bits[0], bits[1])
    equalization = _equalization(first), _equalization(second)
    if equalization[0] != equalization[1]:
        words = [_factors(factors) for factors, _ in equalization]
        yield Difference(DifferenceKind.EQUALIZATION, name, "", "", words[0], words[1])


def _equalization(layer: SavedLayer) -> tuple[tuple[float, ...], float | None]:
    return layer.equalization, layer.equalization_bound


def _factors(factors: Sequence[float]) -> str | None:
    return f"{min(factors):.6g} .. {max(factors):.6g}" if factors else None


def _of_tensors(
    first: SavedLayer, second: SavedLayer, pair: TensorPair, symmetric: tuple[bool, bool]
) -> Iterator[Difference]:
    one, other, role = pair.first, pair.second, pair.role
    if one is None or other is None:
        words = ("stated" if one is not None else None, "stated" if other is not None else None)
        yield Difference(DifferenceKind.TENSOR, first.name, role, pair.name, words[0], words[1])
        return
    # Parameters have no zero points.
    is_feature = role == "outputs"
    before = step_of(one, bits_of(first, role), symmetric=symmetric[0] or not is_feature)
    after = step_of(other, bits_of(second, role), symmetric=symmetric[1] or not is_feature)
    unit = after or before
    if role == "bias":
        yield from _of_values(first, second, pair, symmetric)
        if one.values and other.values:
            return
    if _bounds(one.range) != _bounds(other.range):
        yield Difference(
            DifferenceKind.RANGE,
            first.name,
            role,
            pair.name,
            _bounds(one.range),
            _bounds(other.range),
            _distance(one.range, other.range, unit),
            before,
            after,
        )
    if [_bounds(x) for x in one.channels] != [_bounds(x) for x in other.channels]:
        steps = None
        if len(one.channels) == len(other.channels):
            channels = zip(one.channels, other.channels, strict=True)
            steps = max((_distance(x, y, unit) or 0.0 for x, y in channels), default=None)
        yield Difference(
            DifferenceKind.CHANNELS,
            first.name,
            role,
            pair.name,
            _channels(one.channels),
            _channels(other.channels),
            steps,
            before,
            after,
        )


def _of_values(
    first: SavedLayer, second: SavedLayer, pair: TensorPair, symmetric: tuple[bool, bool]
) -> Iterator[Difference]:
    """Values of a bias, in steps of the layer's output: its own steps are far finer."""
    assert pair.first is not None
    assert pair.second is not None
    one, other = pair.first.values, pair.second.values
    if one == other:
        return
    before, after = (
        step_of(layer.outputs[0], layer.bit_depth, symmetric=is_symmetric)
        if layer.outputs
        else None
        for layer, is_symmetric in ((first, symmetric[0]), (second, symmetric[1]))
    )
    unit = after or before
    steps = None
    if unit is not None and len(one) == len(other):
        steps = max(abs(x - y) for x, y in zip(one, other, strict=True)) / unit
    yield Difference(
        DifferenceKind.VALUES,
        first.name,
        pair.role,
        pair.name,
        (min(one), max(one)) if one else None,
        (min(other), max(other)) if other else None,
        steps,
        before,
        after,
    )


def _bounds(known: Range | None) -> tuple[float, float] | None:
    return None if known is None else (known.min, known.max)


def _channels(channels: Sequence[Range]) -> str | None:
    return f"{len(channels)} channels" if channels else None


def _distance(one: Range | None, other: Range | None, unit: float | None) -> float | None:
    if one is None or other is None or unit is None:
        return None
    return max(abs(one.min - other.min), abs(one.max - other.max)) / unit
