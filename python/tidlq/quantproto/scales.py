"""Scales that a quantization proto states, against its ranges; they inform and decide nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tidlq.quantproto.faults import Fault
from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor
from tidlq.spec import Range

LEAST_USED = 0.25
"""Part of an integer type that the values of a feature map use at least: scales that are shifted
powers of two leave up to half of it."""


def bits_of(layer: SavedLayer, role: str) -> int:
    """Bits of a layer's tensors of a role ("outputs", "weights", ...)."""
    return layer.bit_depth if role == "outputs" else layer.parameter_bit_depth or layer.bit_depth


def step_of(tensor: SavedTensor, bits: int, *, symmetric: bool) -> float | None:
    """Real value of one integer unit: by the scale that is stated, else by the range.

    Of several scales, one per channel, the coarsest step. A range gives
    max / (2^bits - 1)  without negative values,  max(|min|, |max|) / 2^(bits - 1)  with them, and
    (max - min) / (2^bits - 1)  where the zero point may be anything.

    Args:
        tensor: what the file states.
        bits: of the integers.
        symmetric: the zero point is 0.

    Returns:
        None where neither a scale nor a range that is not [0, 0] is known.
    """
    stated = [scale for scale in tensor.scales if scale > 0]
    if stated:
        return 1.0 / min(stated)
    if tensor.range is None:
        return None
    extent, most = _steps(tensor.range, bits, has_zero_point=not symmetric)
    return extent / most or None


def _steps(known: Range, bits: int, *, has_zero_point: bool) -> tuple[float, int]:
    """What a range spans, in real units, and the steps of an integer type that hold as much."""
    spanned = known.with_zero()
    if spanned.min < 0 and not has_zero_point:
        return spanned.absolute_max, 1 << (bits - 1)
    return spanned.max - spanned.min, (1 << bits) - 1


def find_contradictions(saved: SavedRanges) -> list[Fault]:
    """Returns where a stated scale does not fit the range that it stands beside.

    A scale contradicts its range when values would saturate by more than a step, or when a feature
    map uses less than `LEAST_USED` of its integers. Biases have 16 or 32 bits, which no field tells
    apart: theirs must be positive.
    """
    return [
        fault
        for index, layer in enumerate(saved.layers)
        for role, tensors in layer.roles.items()
        for position, tensor in enumerate(tensors)
        for fault in _contradictions(layer, role, tensor, ("layers", index, role, position))
    ]


def _contradictions(
    layer: SavedLayer, role: str, tensor: SavedTensor, place: tuple[str | int, ...]
) -> Iterator[Fault]:
    where = f"layer {layer.name!r}, {role}[{place[-1]}]"
    at = (*place, "scale")
    if any(scale <= 0 for scale in tensor.scales):
        scale = next(scale for scale in tensor.scales if scale <= 0)
        yield Fault(at, f"{where}: the scale {scale:g} is not positive")
        return
    if tensor.range is None or not tensor.scales or role == "bias":
        return
    known = tensor.range
    if len(tensor.scales) > 1:
        for channel, (own, scale) in enumerate(zip(tensor.channels, tensor.scales, strict=False)):
            yield from _unfitting(own, scale, layer, role, tensor, (at, f"{where}, {channel}"))
        return
    yield from _unfitting(known, tensor.scales[0], layer, role, tensor, (at, where))


def _unfitting(
    known: Range,
    scale: float,
    layer: SavedLayer,
    role: str,
    tensor: SavedTensor,
    named: tuple[tuple[str | int, ...], str],
) -> Iterator[Fault]:
    place, where = named
    extent, most = _steps(known, bits_of(layer, role), has_zero_point=any(tensor.zero_points))
    steps = extent * scale
    about = f"the scale {scale:.9g} contradicts the range [{known.min:.9g}, {known.max:.9g}]"
    if steps > most + 1:
        yield Fault(place, f"{where}: {about}, which spans {_count(steps)} of {most} steps")
    elif role == "outputs" and 0 < steps < LEAST_USED * most:
        yield Fault(place, f"{where}: {about}, which spans only {_count(steps)} of {most} steps")


def _count(steps: float) -> str:
    return f"{math.ceil(steps)}" if steps < 1e9 else f"{steps:.3g}"
