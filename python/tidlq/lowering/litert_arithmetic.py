"""LiteRT's fixed-point arithmetic on arrays, for tables that lowering makes.

`rust/tidlq-core/src/fixed.rs` has the same for the engine.

Source: gemmlowp/fixedpoint/fixedpoint.h, tflite/kernels/internal/common.cc.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidlq.lowering.twice_rounded import Multiplier

Int64 = NDArray[np.int64]

_HALF = 1 << 30


def low32(values: Int64) -> Int64:
    """The signed 32-bit integers congruent to values."""
    return values.astype(np.int32).astype(np.int64)


def divide_away(values: Int64, shift: int) -> Int64:
    """Quotients by 2^shift, halves away from zero."""
    half = (1 << shift) >> 1
    return np.where(values < 0, -((-values + half) >> shift), (values + half) >> shift)


def high_product(left: Int64, right: Int64 | int) -> Int64:
    """Products of 32-bit integers over 2^31, halves up."""
    return (left * right + _HALF) >> 31


def multiply(values: Int64, multiplier: Multiplier) -> Int64:
    """Products, rounded after the multiplication and after the shift."""
    shifted = low32(values << multiplier.left_shift)
    return divide_away(high_product(shifted, multiplier.mantissa), multiplier.shift)


def saturate16(values: Int64) -> Int64:
    """Clamped to signed 16 bits."""
    return np.clip(values, -(1 << 15), (1 << 15) - 1)


def high_product16(left: Int64, right: int) -> Int64:
    """Products of 16-bit integers over 2^15, halves up; of the two lowest ones, saturated."""
    return saturate16((left * right + (1 << 14)) >> 15)


def truncate(values: Int64, shift: int) -> Int64:
    """Quotients by 2^shift, rounded towards zero."""
    return np.where(values < 0, -(-values >> shift), values >> shift)
