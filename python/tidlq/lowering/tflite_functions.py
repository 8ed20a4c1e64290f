"""Functions of one variable as LiteRT's reference kernels compute them, as tables.

Source: tflite/kernels/activations.cc, elementwise.cc, exp.cc, neg.cc and
tflite/kernels/internal/reference/ (integer_ops/, hard_swish.h, leaky_relu.h, gelu.h) in LiteRT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import FunctionAttributes
from tidlq.lowering.litert_arithmetic import (
    divide_away,
    high_product16,
    multiply,
    saturate16,
    truncate,
)
from tidlq.lowering.tflite_tables import Float32, Int64, byte_table, integers, wide_table
from tidlq.lowering.twice_rounded import quantize_multiplier, round_away, scale_ratio
from tidlq.spec import FeatureQuant

Float64 = NDArray[np.float64]
Table = Callable[[Mapping[str, float], FeatureQuant, FeatureQuant], Int64]


def _rounded(function: Callable[[Float64], Float64]) -> Callable[[Float32], Float32]:
    """A function of float32, correctly rounded."""

    def apply(x: Float32) -> Float32:
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            return np.asarray(function(x.astype(np.float64)), np.float64).astype(np.float32)

    return apply


_exp = _rounded(np.exp)
_tanh = _rounded(np.tanh)
_expm1 = _rounded(np.expm1)
_erfc = _rounded(np.vectorize(math.erfc, otypes=[np.float64]))


def _sigmoid(x: Float32) -> Float32:
    one = np.float32(1)
    return np.asarray(one / (one + _exp(-x)), np.float32)


def _elu(x: Float32) -> Float32:
    return np.where(x < 0, _expm1(x), x)


def _gelu(x: Float32) -> Float32:
    return np.asarray(np.float32(0.5) * x * _erfc(x * np.float32(-math.sqrt(0.5))), np.float32)


def _gelu_by_tanh(x: Float32) -> Float32:
    cubic = x + np.float32(0.044715) * x * x * x
    inner = _tanh(np.float32(math.sqrt(2 / math.pi)) * cubic)
    return np.asarray(np.float32(0.5) * x * (np.float32(1) + inner), np.float32)


def _by_table(function: Callable[[Float32], Float32]) -> Table:
    def table(_: Mapping[str, float], source: FeatureQuant, output: FeatureQuant) -> Int64:
        make = byte_table if source.type.bits == 8 else wide_table
        return make(function, source, output)

    return table


def _gelu_table(
    parameters: Mapping[str, float], source: FeatureQuant, output: FeatureQuant
) -> Int64:
    function = _gelu_by_tanh if parameters.get("by_tanh") else _gelu
    return _by_table(function)(parameters, source, output)


def _log_table(_: Mapping[str, float], source: FeatureQuant, output: FeatureQuant) -> Int64:
    lowest = np.float32(output.type.lowest - output.zero_point) * np.float32(output.scale)
    logarithm = _rounded(np.log)
    return _by_table(lambda x: np.where(x <= 0, lowest, logarithm(x)))({}, source, output)


# --- fixed point


def _saturate(q: Int64, output: FeatureQuant) -> Int64:
    return np.clip(q + output.zero_point, output.type.lowest, output.type.highest)


def _leaky_relu_table(
    parameters: Mapping[str, float], source: FeatureQuant, output: FeatureQuant
) -> Int64:
    """Slopes and scales are multiplied in float32."""
    slope = parameters.get("alpha", 0.01)
    x = integers(source) - source.zero_point
    identity = quantize_multiplier(scale_ratio(source.scale, over=output.scale))
    sloped = quantize_multiplier(scale_ratio(source.scale, abs(slope), over=output.scale))
    below = multiply(x, sloped) * (-1 if slope < 0 else 1)
    return _saturate(np.where(x >= 0, multiply(x, identity), below), output)


def _abs_table(_: Mapping[str, float], source: FeatureQuant, output: FeatureQuant) -> Int64:
    x = np.abs(integers(source) - source.zero_point)
    if source.scale == output.scale:
        return _saturate(x, output)
    ratio = quantize_multiplier(scale_ratio(source.scale, over=output.scale))
    return _saturate(multiply(x, ratio), output)


def _neg_table(_: Mapping[str, float], source: FeatureQuant, output: FeatureQuant) -> Int64:
    """The integers themselves change sign; the lowest stays."""
    negated = -integers(source)
    return np.where(negated > output.type.highest, source.type.lowest, negated)


def _sqrt_table(_: Mapping[str, float], source: FeatureQuant, output: FeatureQuant) -> Int64:
    """Rounds towards zero; LiteRT refuses negative values, which give the zero point here."""
    x = np.float32(source.scale) * (integers(source) - source.zero_point).astype(np.float32)
    root = np.sqrt(np.maximum(x, np.float32(0))) / np.float32(output.scale)
    return _saturate(np.trunc(np.minimum(root, 2.0**30)).astype(np.int64), output)


def _hard_swish_table(_: Mapping[str, float], source: FeatureQuant, output: FeatureQuant) -> Int64:
    """A product with relu6(x + 3) / 6, in 16-bit fixed point."""
    fine_scale = np.float32(1 / 128) * np.float32(source.scale)
    ratio = quantize_multiplier(float(fine_scale / np.float32(output.scale)))
    share = quantize_multiplier(float(fine_scale / (np.float32(3) / np.float32(32768))))
    fine = (integers(source) - source.zero_point) << 7
    scaled = high_product16(fine, _high_half(ratio.mantissa))
    # From [-3, 3] to [-1, 1], saturating.
    weight = fine
    if share.exponent > 0:
        weight = saturate16(weight << min(share.exponent - 1, 32))
    weight = high_product16(weight, _high_half(share.mantissa))
    if share.exponent > 0:
        weight = saturate16(weight << 1)
    elif share.exponent < 0:
        weight = divide_away(weight, -share.exponent)
    weight = (weight + (1 << 15)) >> 1
    product = truncate(weight * scaled, 15)
    return _saturate(divide_away(product, max(-ratio.exponent, 0)), output)


def _high_half(mantissa: int) -> int:
    """A 31-bit multiplier as a 15-bit one, halves up."""
    return min(mantissa + (1 << 15), 0x7FFF0000) >> 16


def _sigmoid_places() -> Int64:
    """sigmoid(i / 24) with 16 fractional bits at 256 places.

    Each is moved by half of what a straight line to the next one misses in the middle.
    """
    i = np.arange(256, dtype=np.float64)

    def at(x: Float64) -> Float64:
        return np.asarray(65536.0 / (1.0 + np.exp(-x / 24.0)), np.float64)

    missed = at(i + 0.5) - (at(i) + at(i + 1)) / 2
    places = round_away(at(i) + missed / 2).astype(np.int64)
    places[-1] = 65535
    return places


def _thirds_of_input(source: FeatureQuant, shifts: tuple[int, ...]) -> Int64:
    """The input in units of 1 / (3 * 4096): exact where its scale is 2^-12 times a listed power."""
    q = integers(source)
    log = math.log2(source.scale)
    whole = round(log)
    if abs(log - whole) < 1e-3 and whole + 12 in shifts:
        return q * (3 << (whole + 12))
    multiplier, shift = source.scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        shift += 1
        multiplier *= 2.0
    half = (1 << shift) >> 1
    return (q * int(multiplier) + half) >> shift


def _wide_sigmoid_table(_: Mapping[str, float], source: FeatureQuant, __: FeatureQuant) -> Int64:
    places = _sigmoid_places()
    x = _thirds_of_input(source, (0,))
    index = np.minimum(np.abs(x) >> 9, 255)
    base, following = places[index], places[np.minimum(index + 1, 255)]
    result = (base << 9) + (np.abs(x) & 0x1FF) * (following - base)
    result = np.where(index >= 255, 0x7FFF << 10, result)
    result = np.where(x >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1)
    return result >> 10


def _wide_tanh_table(_: Mapping[str, float], source: FeatureQuant, __: FeatureQuant) -> Int64:
    places = _sigmoid_places()
    x = _thirds_of_input(source, (0, 1))
    index = np.minimum(np.abs(x) >> 8, 255)
    base, following = places[index], places[np.minimum(index + 1, 255)]
    result = (base << 8) + (np.abs(x) & 0xFF) * (following - base)
    result = np.where(index >= 255, 0xFFFF << 8, result)
    half = 1 << 23
    result = np.where(x >= 0, result - half + (1 << 7), -result + half + (1 << 7) - 1)
    return result >> 8


_TABLES: Mapping[tuple[str, int], Table] = MappingProxyType(
    {
        ("Sigmoid", 8): _by_table(_sigmoid),
        ("Sigmoid", 16): _wide_sigmoid_table,
        ("Tanh", 8): _by_table(_tanh),
        ("Tanh", 16): _wide_tanh_table,
        ("Elu", 8): _by_table(_elu),
        ("Gelu", 8): _gelu_table,
        ("Gelu", 16): _gelu_table,
        ("Exp", 8): _by_table(_exp),
        ("Exp", 16): _by_table(_exp),
        ("Log", 8): _log_table,
        ("Log", 16): _log_table,
        ("HardSwish", 8): _hard_swish_table,
        ("LeakyRelu", 8): _leaky_relu_table,
        ("LeakyRelu", 16): _leaky_relu_table,
        ("Abs", 8): _abs_table,
        ("Abs", 16): _abs_table,
        ("Neg", 8): _neg_table,
        ("Neg", 16): _neg_table,
        ("Sqrt", 8): _sqrt_table,
        ("Sqrt", 16): _sqrt_table,
    }
)


def litert_table(
    attributes: FunctionAttributes, source: FeatureQuant, output: FeatureQuant
) -> list[int] | None:
    """The output integer for every input integer, lowest first.

    Args:
        attributes: the function, with its parameters.
        source: the input's quantization.
        output: the output's quantization.

    Returns:
        256 or 65,536 integers; None where LiteRT has no kernel for the function and type.
    """
    table = _TABLES.get((attributes.function, source.type.bits))
    if table is None or source.type != output.type:
        return None
    values: list[int] = table(dict(attributes.parameters), source, output).tolist()
    return values
