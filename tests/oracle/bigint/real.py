"""Mode REAL: sums, averages, interpolation and softmax of real values, in float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from oracle.bigint.requantization import clamp, round_half_even, saturate
from oracle.bigint.tensors import Array, centered, store
from tidlq.lowering import network_pb2 as pb

Float32 = NDArray[np.float32]

_QUIET = {"over": "ignore", "under": "ignore", "invalid": "ignore", "divide": "ignore"}


def fused(factor: Float32, scale: float, addend: Float32) -> Float32:
    """factor * scale + addend with one rounding to float32, halves to even."""
    shape = np.broadcast_shapes(factor.shape, addend.shape)
    pairs = zip(
        np.broadcast_to(factor, shape).ravel().tolist(),
        np.broadcast_to(addend, shape).ravel().tolist(),
        strict=True,
    )
    exact = Fraction(scale)
    values = [_nearest(Fraction(f) * exact, a) for f, a in pairs]
    return np.array(values, np.float32).reshape(shape)


def _nearest(product: Fraction, addend: float) -> float:
    """The float32 nearest to a finite sum; the addend where that is infinite."""
    if not np.isfinite(addend):
        return addend
    value = product + Fraction(addend)
    if value == 0:
        return 0.0
    exponent = max(_exponent(abs(value)) - 23, -149)
    steps = round(value / Fraction(2) ** exponent)
    result = steps * Fraction(2) ** exponent
    limit = Fraction(float(np.finfo(np.float32).max))
    if abs(result) > limit:
        return float("inf") if result > 0 else float("-inf")
    return float(result)


def _exponent(value: Fraction) -> int:
    """floor(log2(value)) of a positive number."""
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if value >= Fraction(2) ** guess else guess - 1


def sum_operands(layer: pb.Sum, arrays: Iterable[Array], output: pb.Tensor) -> Array:
    """fma(q_0, scale[0], fma(q_1, scale[1], scale[2])), the zero points left where they are."""
    first, second = (np.asarray(array, np.float32) for array in arrays)
    r = layer.requantize
    constant = np.broadcast_to(np.float32(r.scale[2]), second.shape)
    value = fused(first, r.scale[0], fused(second, r.scale[1], constant))
    return store(_placed(value, r), output)


def average(
    layer: pb.AveragePool,
    windows: Iterator[Float32],
    divisor: NDArray[np.int64],
    output: pb.Tensor,
) -> Array:
    """Sum of real values row by row, over the divisor and the output's scale, plus its zero point.

    Args:
        layer: the pool.
        windows: real values for each kernel position, zero outside of the input.
        divisor: of each output position, broadcast against the windows.
        output: the tensor that is written.
    """
    total = np.float32(0)
    with np.errstate(**_QUIET):
        for values in windows:
            total = np.asarray(total + values, np.float32)
        value = total / divisor.astype(np.float32) / np.float32(output.scale)
        value = np.asarray(value + np.float32(output.zero_point), np.float32)
    return store(_placed(value, layer.requantize).reshape(tuple(output.shape)), output)


def resize(layer: pb.Resize, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """Four real values by the products of their axes' shares, quantized."""
    values = real(x, source)
    rows, columns = layer.height, layer.width
    f = np.array(list(rows.fraction), np.float32)[None, :, None, None]
    g = np.array(list(columns.fraction), np.float32)[None, None, :, None]
    one = np.float32(1)
    with np.errstate(**_QUIET):
        total = np.zeros((), np.float32)
        for row, tall in ((rows.low, one - f), (rows.high, f)):
            for column, wide in ((columns.low, one - g), (columns.high, g)):
                picked = values[:, list(row)][:, :, list(column)]
                total = np.asarray(total + picked * (wide * tall), np.float32)
        steps = total / np.float32(output.scale)
    return store(clamp(_rounded(steps), layer.requantize), output)


def softmax(layer: pb.Softmax, x: Array, output: pb.Tensor) -> Array:
    """Table of exponentials, times the scale, over a float32 sum in index order."""
    q = x.astype(np.int64)
    distance = q.max(axis=-1, keepdims=True) - q
    e = np.array(list(layer.exponential), np.float32)[distance]
    total = np.zeros(e.shape[:-1], np.float32)
    with np.errstate(**_QUIET):
        for j in range(e.shape[-1]):
            total = total + e[..., j]
        value = e * np.float32(layer.requantize.scale[0]) / total[..., None]
    return store(clamp(_rounded(value), layer.requantize), output)


def real(x: Array, source: pb.Tensor) -> Float32:
    """scale * float32(q - zero_point)."""
    with np.errstate(**_QUIET):
        steps = centered(x, source).astype(np.float32)
        return np.asarray(np.float32(source.scale) * steps, np.float32)


def _rounded(values: Float32) -> NDArray[np.object_]:
    """Halves to even; NaN, which gives the least output, as minus infinity."""
    return round_half_even(np.where(np.isnan(values), np.float32(-np.inf), values))


def _placed(values: Float32, requantize: pb.Requantize) -> NDArray[np.object_]:
    """Rounds values that hold the zero point already, and clamps."""
    return saturate(_rounded(values), 0, requantize.clamp_min, requantize.clamp_max)
