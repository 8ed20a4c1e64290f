"""Tables of functions as LiteRT's kernels make them.

An 8-bit table holds, in float32,

    saturate(truncate(round_half_away(f(x) * (1 / output scale)) + output zero point)),
    x = scale * (q - zero_point)

A 16-bit table interpolates between 513 places, 128 integers apart, that are shifted so that the
middle of every interval is met as well as its ends.

`f` is rounded correctly to float32, as good C libraries do; LiteRT takes what its own gives.

Source: tflite/kernels/internal/common.h in LiteRT.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tidlq.lowering.twice_rounded import round_away
from tidlq.spec import FeatureQuant, IntegerType

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Function32 = Callable[[Float32], Float32]

_PLACES = 513
_PLACE_BITS = 7
_INT16 = IntegerType(16, signed=True)
# Beyond every integer type, and exact in float32.
_LIMIT = 2.0**30


def integers(feature: FeatureQuant) -> Int64:
    """Every integer of a type, lowest first."""
    return np.arange(feature.type.lowest, feature.type.highest + 1)


def byte_table(function: Function32, source: FeatureQuant, output: FeatureQuant) -> Int64:
    """The table over the 256 integers of an 8-bit type: int64 [256]."""
    values = np.float32(source.scale) * (integers(source) - source.zero_point).astype(np.float32)
    inverse = np.float32(1) / np.float32(output.scale)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (function(values) * inverse).astype(np.float64)
    rounded = round_away(np.clip(np.nan_to_num(scaled), -_LIMIT, _LIMIT)).astype(np.float32)
    q = np.trunc(rounded + np.float32(output.zero_point))
    return np.asarray(np.clip(q, output.type.lowest, output.type.highest), np.int64)


def places_between(
    function: Callable[[Float64], Float64],
    ends: tuple[float, float],
    output_ends: tuple[float, float],
    *,
    in_single: bool,
) -> Int64:
    """Values of a function at 513 places between two ends, in 16-bit steps of the output: int64.

    Args:
        function: takes and gives float64 arrays, of float32 values where those are asked for.
        ends: real values of the least and the greatest 16-bit input.
        output_ends: the same of the output.
        in_single: every step of the computation is rounded to float32. A step in float64 that is
            then rounded is exactly the step in float32.
    """
    rounded = _to_single if in_single else _as_it_is
    low, high = (np.array([end]) for end in ends)
    step = rounded(rounded(high - low) / (_PLACES - 1))
    inverse = rounded((1 << 16) / rounded(np.array([output_ends[1]]) - output_ends[0]))
    index = np.arange(_PLACES - 1, dtype=np.float64)

    def steps(x: Float64) -> Float64:
        return rounded(function(x) * inverse)

    # An infinite value at a place leaves the difference of two, which is no number, and becomes 0.
    with np.errstate(over="ignore", invalid="ignore"):
        begin = rounded(low + rounded(index * step))
        middle = round_away(steps(rounded(begin + step / 2)))
        following = steps(rounded(low + rounded((index + 1) * step)))
        sample = round_away(steps(begin))
        mixed = round_away(rounded(rounded(following + sample) / 2))
        bias = round_away(rounded(mixed - middle) / 2)
        values = np.concatenate([rounded(sample - bias), round_away(steps(high))])
    limited = np.clip(np.nan_to_num(values, nan=0.0), _INT16.lowest, _INT16.highest)
    return np.asarray(limited, np.int64)


def _to_single(values: Float64) -> Float64:
    return values.astype(np.float32).astype(np.float64)


def _as_it_is(values: Float64) -> Float64:
    return values


def interpolated(places: Int64, q: Int64) -> Int64:
    """Interpolates 16-bit integers between the places: base + ((slope * offset + 64) >> 7)."""
    index = 256 + (q >> _PLACE_BITS)
    offset = q & ((1 << _PLACE_BITS) - 1)
    slope = _low16(places[index + 1] - places[index])
    return _low16(places[index] + ((slope * offset + 64) >> _PLACE_BITS))


def _low16(values: Int64) -> Int64:
    return np.asarray(values, np.int64).astype(np.int16).astype(np.int64)


def wide_table(function: Function32, source: FeatureQuant, output: FeatureQuant) -> Int64:
    """The table over the 65,536 integers of a signed 16-bit type: int64 [65536]."""

    def ends(feature: FeatureQuant) -> tuple[float, float]:
        low, high = (
            np.float32(feature.scale) * np.float32(q - feature.zero_point)
            for q in (_INT16.lowest, _INT16.highest)
        )
        return float(low), float(high)

    places = places_between(
        lambda x: function(x.astype(np.float32)).astype(np.float64),
        ends(source),
        ends(output),
        in_single=True,
    )
    return interpolated(places, integers(source))


def joined_table(source: FeatureQuant, output: FeatureQuant) -> list[int]:
    """An input of CONCATENATION of unsigned integers in its output's scale, in float32.

    saturate(round_half_away(q * r - zero_point * r) + output zero point),
    r = scale * (1 / output scale)
    """
    ratio = np.float32(source.scale) * (np.float32(1) / np.float32(output.scale))
    offset = np.float32(-source.zero_point) * ratio
    mixed = integers(source).astype(np.float32) * ratio + offset
    q = round_away(np.clip(mixed, -_LIMIT, _LIMIT)) + output.zero_point
    table: list[int] = np.clip(q, output.type.lowest, output.type.highest).astype(int).tolist()
    return table


def raw_table(source: FeatureQuant, output: FeatureQuant) -> list[int]:
    """The integers as they are: operators that only move them take no notice of scales."""
    q = integers(source)
    table: list[int] = np.clip(q, output.type.lowest, output.type.highest).tolist()
    return table
