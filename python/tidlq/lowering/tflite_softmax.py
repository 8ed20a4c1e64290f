"""Tables of exponentials for softmax, as LiteRT's reference kernels compute them.

Source: gemmlowp/fixedpoint/fixedpoint.h, tflite/kernels/activations.cc and
tflite/kernels/internal/reference/softmax.h in LiteRT.
"""

from __future__ import annotations

import math

import numpy as np

from tidlq.lowering.litert_arithmetic import Int64, divide_away, high_product, low32, multiply
from tidlq.lowering.tflite_tables import interpolated, places_between
from tidlq.lowering.twice_rounded import quantize_multiplier
from tidlq.spec import FeatureQuant

_ONE = (1 << 31) - 1
# Differences have 5 integer bits and 26 fractional ones.
_INTEGER_BITS = 5
_FRACTION_BITS = 31 - _INTEGER_BITS
_WIDE_REACH = 10.0
_WIDE_STEPS = 65535


def _fixed(value: float) -> int:
    """A value below 1 with 31 fractional bits."""
    return round(value * 2.0**31)


def _exp_of_quarter(x: Int64) -> Int64:
    """exp(x) for -1/4 <= x < 0, all with 31 fractional bits: a polynomial around -1/8."""
    x = x + (1 << 28)
    square = high_product(x, x)
    cube = high_product(square, x)
    fourth = divide_away(high_product(square, square), 2)
    inner = high_product(fourth + cube, _fixed(1 / 3)) + square
    rest = x + divide_away(inner, 1)
    centre = _fixed(math.exp(-1 / 8))
    return centre + high_product(np.full_like(x, centre), rest)


def exp_of_negative(x: Int64) -> Int64:
    """exp(x) with 31 fractional bits for x <= 0 with 26 of them, x > -32."""
    quarter = 1 << (_FRACTION_BITS - 2)
    below = (x & (quarter - 1)) - quarter
    result = _exp_of_quarter(below << _INTEGER_BITS)
    rest = below - x
    for exponent in range(-2, _INTEGER_BITS):
        bit = 1 << (_FRACTION_BITS + exponent)
        factor = _fixed(math.exp(-(2.0**exponent)))
        result = np.where(rest & bit, high_product(result, factor), result)
    return np.where(x == 0, _ONE, result)


def narrow_exponentials(source: FeatureQuant) -> list[int]:
    """exp(-d * scale) for the 256 distances of 8-bit integers, 31 fractional bits.

    Distances whose product with the scale would leave the 5 integer bits give 0.
    """
    ratio = quantize_multiplier(min(source.scale * 2.0**_FRACTION_BITS, 2.0**31 - 1))
    reach = math.floor(((1 << _INTEGER_BITS) - 1) * 2.0 ** (_FRACTION_BITS - ratio.exponent))
    distance = np.arange(256)
    shifted = low32(-distance << max(ratio.exponent, 0))
    scaled = high_product(shifted, ratio.mantissa)
    values: list[int] = np.where(distance <= reach, exp_of_negative(scaled), 0).tolist()
    return values


def wide_exponentials(source: FeatureQuant) -> list[int]:
    """exp(-d * scale) for the 65,536 distances of 16-bit integers, 15 fractional bits.

    Interpolated between 513 places from -10 to 0.
    """
    unit = _WIDE_REACH / _WIDE_STEPS
    places = places_between(np.exp, (unit * -_WIDE_STEPS, 0.0), _wide_ends(), in_single=False)
    scaled = multiply(-np.arange(_WIDE_STEPS + 1), quantize_multiplier(source.scale / unit))
    values: list[int] = interpolated(places, np.clip(scaled + 32767, -32768, 32767)).tolist()
    return values


def reciprocals() -> list[int]:
    """1 / (1 + x) at 513 places from 0 to 1, 15 fractional bits."""
    unit = 1.0 / _WIDE_STEPS
    ends = (0.0, unit * _WIDE_STEPS)
    values: list[int] = places_between(
        lambda x: 1.0 / (1.0 + x), ends, _wide_ends(), in_single=False
    ).tolist()
    return values


def _wide_ends() -> tuple[float, float]:
    """What 16-bit integers stand for where -1 and 1 are the ends."""
    step = 2.0 / _WIDE_STEPS
    return step * -32768, step * 32767
