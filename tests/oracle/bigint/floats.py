"""Layers that cross between integers and float32: Quantize, Dequantize, Softmax."""

from __future__ import annotations

import numpy as np

from oracle.bigint.integers import for_each
from oracle.bigint.requantization import round_half_away, round_half_even, saturate
from oracle.bigint.tensors import Array, centered, limits_of, store
from tidlq.lowering import network_pb2 as pb


def quantize(layer: pb.Quantize, x: Array, output: pb.Tensor) -> Array:
    """q = saturate(round(x / scale) + zero_point); NaN becomes the zero point."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        steps = np.asarray(x, np.float32) / np.float32(output.scale)
    missing = np.isnan(steps)
    steps = np.where(missing, np.float32(0), steps)
    if layer.half_away:
        v = for_each(round_half_away, steps.astype(np.float64))
    else:
        v = round_half_even(steps)
    return store(saturate(v, output.zero_point, *limits_of(output.element_type)), output)


def dequantize(x: Array, source: pb.Tensor) -> Array:
    """x = scale * float32(q - zero_point)."""
    with np.errstate(over="ignore", under="ignore"):
        steps = centered(x, source).astype(np.float32)
        return np.asarray(np.float32(source.scale) * steps, np.float32)


def softmax(layer: pb.Softmax, x: Array) -> Array:
    """Table of exponentials over the last axis, normalised by a float64 sum in index order."""
    q = x.astype(np.int64)
    distance = q.max(axis=-1, keepdims=True) - q
    e = np.array(list(layer.exponential), np.float32)[distance].astype(np.float64)
    total = np.zeros(e.shape[:-1], np.float64)
    for j in range(e.shape[-1]):
        total = total + e[..., j]
    return (e / total[..., None]).astype(np.float32)
