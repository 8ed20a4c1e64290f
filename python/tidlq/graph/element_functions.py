"""Functions of one variable in float64, by the names that layers call them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def error_function(x: Float64) -> Float64:
    """Error function."""
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def sigmoid(x: Float64) -> Float64:
    """Logistic function:  1 / (1 + exp(-x))."""
    # The exponent of a non-positive number cannot overflow.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softplus(x: Float64) -> Float64:
    """Smooth ReLU:  log(1 + exp(x))."""
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


def leaky_relu(x: Float64, alpha: float = 0.01) -> Float64:
    """The value x, or alpha * x below zero."""
    return np.where(x >= 0, x, alpha * x)


def relu(x: Float64) -> Float64:
    """Rectifier:  max(x, 0)."""
    return np.maximum(x, 0.0)


def hard_sigmoid(x: Float64, alpha: float = 0.2, beta: float = 0.5) -> Float64:
    """Clipped line:  min(max(alpha * x + beta, 0), 1)."""
    return np.clip(alpha * x + beta, 0.0, 1.0)


def swish(x: Float64, alpha: float = 1.0) -> Float64:
    """Swish:  x * sigmoid(alpha * x); SiLU where alpha is 1."""
    return np.asarray(x * sigmoid(alpha * x))


def hard_swish(x: Float64) -> Float64:
    """Hard swish:  x * min(max(x / 6 + 1/2, 0), 1)."""
    return np.asarray(x * hard_sigmoid(x, 1.0 / 6.0, 0.5))


def mish(x: Float64) -> Float64:
    """Mish:  x * tanh(softplus(x))."""
    return np.asarray(x * np.tanh(softplus(x)))


def gelu(x: Float64, by_tanh: float = 0.0) -> Float64:
    """GELU:  x * (1 + erf(x / sqrt(2))) / 2, or its approximation by tanh."""
    if by_tanh:
        inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        return np.asarray(0.5 * x * (1.0 + inner))
    complement = np.vectorize(math.erfc, otypes=[np.float64])(-x * math.sqrt(0.5))
    return np.asarray(0.5 * x * complement)
