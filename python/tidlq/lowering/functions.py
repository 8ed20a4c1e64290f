"""Tables of element-wise functions: the real function in float64, rounded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from tidlq.graph.element_functions import (
    Float64,
    gelu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    mish,
    relu,
    sigmoid,
    swish,
)
from tidlq.graph.layers import Clamp, FunctionAttributes
from tidlq.lowering.elementary import ELEMENTARY
from tidlq.spec import FeatureQuant


def _elu(x: Float64, alpha: float = 1.0) -> Float64:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _exp(x: Float64) -> Float64:
    with np.errstate(over="ignore"):
        return np.exp(x)


def _log(x: Float64) -> Float64:
    """Of what is not positive: that of the smallest float32, which saturates any type."""
    return np.log(np.maximum(x, np.finfo(np.float32).tiny))


def _sqrt(x: Float64) -> Float64:
    return np.sqrt(np.maximum(x, 0.0))


FUNCTIONS: Mapping[str, Callable[..., Float64]] = MappingProxyType(
    {
        "Sigmoid": sigmoid,
        "Tanh": np.tanh,
        "HardSigmoid": hard_sigmoid,
        "HardSwish": hard_swish,
        "LeakyRelu": leaky_relu,
        "Abs": np.abs,
        "Elu": _elu,
        "Exp": _exp,
        "Gelu": gelu,
        "Mish": mish,
        "Swish": swish,
        "Log": _log,
        "Relu": relu,
        "Neg": np.negative,
        "Sqrt": _sqrt,
        **ELEMENTARY,
    }
)
"""ONNX name to function of float64 [n]."""


def all_values(feature: FeatureQuant) -> Float64:
    """The real value of every integer of the type, lowest first: float64 [2^bits]."""
    q = np.arange(feature.type.lowest, feature.type.highest + 1, dtype=np.float64)
    return (q - feature.zero_point) * feature.scale


def function_table(
    attributes: FunctionAttributes, source: FeatureQuant, output: FeatureQuant
) -> list[int]:
    """The output integer of every input integer:  saturate(round(y / scale) + zero point).

    y = gain * f(x) + shift; halves round to even.
    """
    y = FUNCTIONS[attributes.function](all_values(source), **dict(attributes.parameters))
    if not attributes.is_plain:
        y = attributes.gain * y + attributes.shift
    q = np.rint(np.clip(y / output.scale, -(2.0**40), 2.0**40)) + output.zero_point
    clipped = np.clip(q, output.type.lowest, output.type.highest)
    table: list[int] = clipped.astype(np.int64).tolist()
    return table


def requantization_table(
    source: FeatureQuant, output: FeatureQuant, clamp: Clamp | None = None
) -> list[int]:
    """The output integer for every input integer, as DequantizeLinear, Clip and QuantizeLinear.

        saturate(round_half_even(clip(scale * (q - zero_point)) / output scale) + output zero point)

    in float32.
    """
    q = np.arange(source.type.lowest, source.type.highest + 1)
    x = np.float32(source.scale) * (q - source.zero_point).astype(np.float32)
    if clamp is not None:
        x = np.clip(x, clamp.low, clamp.high) if clamp != Clamp() else x
    with np.errstate(over="ignore"):
        steps = np.rint(np.asarray(x, np.float32) / np.float32(output.scale)).astype(np.float64)
    limited = np.clip(steps + output.zero_point, output.type.lowest, output.type.highest)
    table: list[int] = limited.astype(np.int64).tolist()
    return table


def exponential_table(source: FeatureQuant) -> list[float]:
    """float32(exp(-d * scale)) for every difference d of two integers of the type."""
    d = np.arange(source.type.highest - source.type.lowest + 1, dtype=np.float64)
    table: list[float] = np.exp(-d * source.scale).astype(np.float32).tolist()
    return table
