"""Powers of two operands by tables: float64 in the order that network.proto states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oracle.bigint.tensors import Array, limits_of, shape_of, store
from tidlq.lowering import network_pb2 as pb

_LN2 = 0.6931471805599453
_LAST_TERM = 13
_FARTHEST = 1000.0


def power(
    layer: pb.Power, xs: Sequence[Array], sources: Sequence[pb.Tensor], output: pb.Tensor
) -> Array:
    """Base and exponent broadcast; a power that has no real value is one of 0."""
    shape, (low, high) = shape_of(output), limits_of(output.element_type)
    bases, exponents = (np.broadcast_to(np.asarray(x, dtype=object), shape) for x in xs)
    lowest = [limits_of(tensor.element_type)[0] for tensor in sources]
    result = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        i, j = bases[index] - lowest[0], exponents[index] - lowest[1]
        value = _value(layer, i, j) * layer.gain
        bounded = min(max(value, low - output.zero_point), high - output.zero_point)
        result[index] = round(bounded) + output.zero_point
    return store(result, output)


def _value(layer: pb.Power, i: int, j: int) -> float:
    exponent, sign, parity = layer.exponent[j], layer.sign[i], layer.parity[j]
    if exponent == 0:
        return 1.0
    magnitude = exp2(layer.logarithm[i] * exponent)
    if sign == 1 or (sign == -1 and parity == 0):
        return magnitude
    if sign == -1 and parity == 1:
        return -magnitude
    return 0.0 if exponent > 0 else math.inf


def exp2(x: float) -> float:
    """2^x by a series around the nearest integer."""
    x = min(max(x, -_FARTHEST), _FARTHEST)
    whole = math.floor(x + 0.5)
    rest = x - float(whole)
    terms = [1.0]
    for k in range(1, _LAST_TERM + 1):
        terms.append(terms[-1] * _LN2 / float(k))
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = total * rest + term
    return math.ldexp(total, whole)
