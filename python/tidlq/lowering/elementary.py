"""Elementary functions over all reals, for tables.

Outside its domain a function has the value at the nearest end of the domain, and at a pole the
limit from above: infinity, which saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def _reciprocal(x: Float64, numerator: float = 1.0) -> Float64:
    if numerator == 0.0:
        return np.zeros_like(x)
    # Without the sign of a zero: the limit from above.
    with np.errstate(divide="ignore"):
        return np.asarray(numerator / (x + 0.0))


def _power(x: Float64, exponent: float) -> Float64:
    domain = x if float(exponent).is_integer() else np.maximum(x, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.power(domain + 0.0, exponent))


def _power_of(x: Float64, base: float) -> Float64:
    with np.errstate(over="ignore"):
        return np.asarray(np.power(base, x))


def _hyperbolic(function: Callable[[Float64], Float64]) -> Callable[[Float64], Float64]:
    def saturating(x: Float64) -> Float64:
        with np.errstate(over="ignore"):
            return np.asarray(function(x))

    return saturating


def _within(
    function: Callable[[Float64], Float64], low: float, high: float
) -> Callable[[Float64], Float64]:
    def limited(x: Float64) -> Float64:
        with np.errstate(divide="ignore"):
            return np.asarray(function(np.clip(x, low, high)))

    return limited


def _erf(x: Float64) -> Float64:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _softplus(x: Float64) -> Float64:
    return np.asarray(np.logaddexp(0.0, x))


def _softsign(x: Float64) -> Float64:
    return np.asarray(x / (1.0 + np.abs(x)))


def _celu(x: Float64, alpha: float) -> Float64:
    with np.errstate(over="ignore"):
        return np.asarray(np.maximum(x, 0.0) + np.minimum(alpha * np.expm1(x / alpha), 0.0))


def _selu(x: Float64, alpha: float, gamma: float) -> Float64:
    return np.asarray(gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))))


def _thresholded_relu(x: Float64, alpha: float) -> Float64:
    return np.where(x > alpha, x, 0.0)


def _shrink(x: Float64, bias: float, lambd: float) -> Float64:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


ELEMENTARY: Mapping[str, Callable[..., Float64]] = MappingProxyType(
    {
        "Sign": np.sign,
        "Floor": np.floor,
        "Ceil": np.ceil,
        "Round": np.rint,
        "Reciprocal": _reciprocal,
        "Pow": _power,
        "PowOf": _power_of,
        "Erf": _erf,
        "Sin": np.sin,
        "Cos": np.cos,
        "Tan": np.tan,
        "Asin": _within(np.arcsin, -1.0, 1.0),
        "Acos": _within(np.arccos, -1.0, 1.0),
        "Atan": np.arctan,
        "Sinh": _hyperbolic(np.sinh),
        "Cosh": _hyperbolic(np.cosh),
        "Asinh": np.arcsinh,
        "Acosh": _within(np.arccosh, 1.0, math.inf),
        "Atanh": _within(np.arctanh, -1.0, 1.0),
        "Softplus": _softplus,
        "Softsign": _softsign,
        "Celu": _celu,
        "Selu": _selu,
        "ThresholdedRelu": _thresholded_relu,
        "Shrink": _shrink,
    }
)
"""ONNX name to function of float64 [n]; `Pow` has a number as exponent, `PowOf` one as base."""
