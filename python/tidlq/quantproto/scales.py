"""Scales that a quantization proto states, against its ranges; they inform and decide nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tidlq.quantproto.faults import Fault
from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor
from tidlq.spec import maxima, minima

Float64 = NDArray[np.float64]

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
    low, high = np.array([[tensor.range.min], [tensor.range.max]])
    extent, most = _spans(low, high, bits, has_zero_point=not symmetric)
    return float(extent[0] / most[0]) or None


def _spans(
    low: Float64, high: Float64, bits: int, *, has_zero_point: bool
) -> tuple[Float64, NDArray[np.int64]]:
    """What ranges span, in real units, and the steps of an integer type that hold as much."""
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    is_signed = (low < 0) & (not has_zero_point)
    extent = np.where(is_signed, np.maximum(-low, high), high - low)
    return extent, np.where(is_signed, 1 << (bits - 1), (1 << bits) - 1)


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
    scales = np.array(tensor.scales)
    if (scales <= 0).any():
        scale = scales[scales <= 0][0]
        yield Fault(at, f"{where}: the scale {scale:g} is not positive")
        return
    if tensor.range is None or not len(scales) or role == "bias":
        return
    is_per_channel = len(scales) > 1
    known = tensor.channels if is_per_channel else (tensor.range,)
    count = min(len(known), len(scales))
    low = minima(known)[:count].astype(np.float64)
    high = maxima(known)[:count].astype(np.float64)
    least = LEAST_USED if role == "outputs" else 0.0
    bits = bits_of(layer, role)
    extent, most = _spans(low, high, bits, has_zero_point=any(tensor.zero_points))
    steps = extent * scales[:count]
    for index in np.flatnonzero((steps > most + 1) | ((steps > 0) & (steps < least * most))):
        spanned = f"{'' if steps[index] > most[index] else 'only '}{_count(steps[index])}"
        yield Fault(
            at,
            f"{where}{f', {index}' if is_per_channel else ''}: the scale {scales[index]:.9g} "
            f"contradicts the range [{low[index]:.9g}, {high[index]:.9g}], which spans {spanned} "
            f"of {most[index]} steps",
        )


def _count(steps: float) -> str:
    return f"{math.ceil(steps)}" if steps < 1e9 else f"{steps:.3g}"
