"""Exact requantization numbers from real ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import Clamp
from tidlq.lowering.network_pb2 import Requantize
from tidlq.spec import FeatureQuant, Requantization

LARGEST_SHIFT = 62
MANTISSA_BITS = 31
LARGEST_MULTIPLIER = 2.0**MANTISSA_BITS - 1
LARGEST_FLOAT32 = np.finfo(np.float32).max
SUM_MANTISSA_BITS = 30
LARGEST_SUM_MULTIPLIER = 2.0**SUM_MANTISSA_BITS


def fixed_multipliers(ratios: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The multipliers and shifts nearest to ratios:  ratio ~ multiplier / 2^shift.

    A multiplier has 31 bits, fewer where the shift would pass 62. A ratio beyond 2^31 - 1 becomes
    2^31 - 1: with either one, every accumulator but 0 saturates an output of 8 or 16 bits.

    Args:
        ratios: float64 [n], finite.

    Returns:
        Multipliers and shifts, int64 [n].

    Raises:
        ValueError: A ratio is not finite.
    """
    if not np.isfinite(ratios).all():
        raise ValueError(f"ratios {ratios} are not all finite")
    ratios = np.clip(ratios, -LARGEST_MULTIPLIER, LARGEST_MULTIPLIER)
    _, exponents = np.frexp(ratios)
    shifts = np.minimum(np.maximum(MANTISSA_BITS - exponents.astype(np.int64), 0), LARGEST_SHIFT)
    multipliers = np.rint(np.ldexp(ratios, shifts)).astype(np.int64)
    rounded_up = np.abs(multipliers) == 1 << MANTISSA_BITS
    multipliers[rounded_up] //= 2
    shifts[rounded_up] -= 1
    return multipliers, np.where(multipliers == 0, 0, shifts)


def clamp_integers(feature: FeatureQuant, clamp: Clamp | None) -> tuple[int, int]:
    """The integers that an output saturates to: its type's, narrowed by a fused ReLU or Clip."""
    low, high = feature.type.lowest, feature.type.highest
    if clamp is not None and clamp.low is not None:
        low = feature.quantize(clamp.low)
    if clamp is not None and clamp.high is not None:
        high = feature.quantize(clamp.high)
    return low, max(low, high)


def _requantize(
    mode: Requantize.Mode.ValueType, output: FeatureQuant, clamp: Clamp | None
) -> Requantize:
    low, high = clamp_integers(output, clamp)
    return Requantize(mode=mode, zero_point=output.zero_point, clamp_min=low, clamp_max=high)


def by_shift(shifts: Sequence[int], output: FeatureQuant, clamp: Clamp | None = None) -> Requantize:
    """Add half, shift right.

    A shift beyond 62 becomes 62, which leaves nothing of an accumulator either.
    """
    message = _requantize(Requantize.MODE_SHIFT, output, clamp)
    message.shift.extend(min(shift, LARGEST_SHIFT) for shift in shifts)
    return message


def by_ratio(
    mode: Requantization,
    numerators: Sequence[Sequence[float]] | NDArray[np.float64],
    output: FeatureQuant,
    clamp: Clamp | None = None,
    bias: Sequence[float] = (),
) -> Requantize:
    """A real ratio per channel:  product of numerators / output scale.

    Args:
        mode: FIXED or FLOAT; FLOAT multiplies and divides in float32, as ONNX Runtime does, and
            an overflow becomes the largest float32.
        numerators: for each channel the factors of the accumulator's scale, [C, factors].
        output: the output's quantization.
        clamp: fused bounds.
        bias: real values that FLOAT adds behind the product, one per channel, rounded once to
            float32 when divided by the output scale; empty where there is none.
    """
    factors = np.asarray(numerators, np.float64)
    if mode is Requantization.FLOAT:
        message = _requantize(Requantize.MODE_FLOAT, output, clamp)
        products = np.multiply.reduce(factors.astype(np.float32), axis=1, dtype=np.float32)
        with np.errstate(over="ignore"):
            scales = products / np.float32(output.scale)
        message.scale.extend(np.clip(scales, -LARGEST_FLOAT32, LARGEST_FLOAT32).tolist())
        steps = np.asarray(bias, np.float64) / output.scale
        message.real_bias.extend(np.clip(steps, -LARGEST_FLOAT32, LARGEST_FLOAT32).tolist())
        return message
    message = _requantize(Requantize.MODE_FIXED, output, clamp)
    multipliers, shifts = fixed_multipliers(np.multiply.reduce(factors, axis=1) / output.scale)
    message.multiplier.extend(multipliers.tolist())
    message.shift.extend(shifts.tolist())
    return message


def to_real(
    numerators: Sequence[Sequence[float]] | NDArray[np.float64], bias: Sequence[float] = ()
) -> Requantize:
    """A real ratio per channel, for an output that stays float32:  acc * product + bias.

    Args:
        numerators: for each channel the factors of the accumulator's scale, [C, factors],
            multiplied in float32 as ONNX Runtime does; an overflow becomes the largest float32.
        bias: added in float32, one per channel; empty where there is none.
    """
    factors = np.asarray(numerators, np.float64).astype(np.float32)
    with np.errstate(over="ignore"):
        scales = np.multiply.reduce(factors, axis=1, dtype=np.float32)
    message = Requantize(mode=Requantize.MODE_FLOAT)
    message.scale.extend(np.clip(scales, -LARGEST_FLOAT32, LARGEST_FLOAT32).tolist())
    message.real_bias.extend(np.asarray(bias, np.float32).tolist())
    return message


def by_operand(
    mode: Requantization,
    scales: Sequence[float],
    output: FeatureQuant,
    clamp: Clamp | None = None,
) -> Requantize:
    """A signed scale per operand of a sum; FIXED gives all multipliers one shift.

    A ratio beyond 2^30, which saturates any output, becomes 2^30.
    """
    if mode is Requantization.FLOAT:
        message = _requantize(Requantize.MODE_FLOAT, output, clamp)
        message.scale.extend(scales)
        return message
    message = _requantize(Requantize.MODE_FIXED, output, clamp)
    limit = LARGEST_SUM_MULTIPLIER
    ratios = [min(max(scale / output.scale, -limit), limit) for scale in scales]
    _, exponent = math.frexp(max(abs(ratio) for ratio in ratios))
    shift = max(min(SUM_MANTISSA_BITS - exponent, LARGEST_SHIFT), 0)
    message.multiplier.extend(round(math.ldexp(ratio, shift)) for ratio in ratios)
    message.shift.append(shift)
    return message
