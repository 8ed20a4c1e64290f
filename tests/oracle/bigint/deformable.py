"""Convolution at places that have moved: float64 in the order that network.proto states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oracle.bigint.tensors import Array, centered, constant_of, shape_of, store
from tidlq.lowering import network_pb2 as pb


def deformable_convolution(
    layer: pb.DeformableConvolution,
    xs: Sequence[Array],
    sources: Sequence[pb.Tensor],
    weight: pb.Tensor,
    output: pb.Tensor,
) -> Array:
    """Every output is a sum of samples at fractional places, times mask and weight."""
    weights = np.asarray(constant_of(weight), dtype=object)
    outputs, kernel_h, kernel_w, depth = weights.shape
    columns = outputs // layer.groups
    result = np.empty(shape_of(output), dtype=object)
    seen = samples(layer, xs, sources, (kernel_h, kernel_w), result.shape[1:3])
    for n, row, column, o in np.ndindex(*result.shape):
        acc = 0.0
        for ky, kx, i in np.ndindex(kernel_h, kernel_w, depth):
            sample = float(seen[n, row, column, ky, kx, o // columns * depth + i])
            acc = acc + sample * float(weights[o, ky, kx, i])
        value = acc * _entry(layer.gain, o) + _entry(layer.shift, o)
        z = output.zero_point
        bounded = min(max(value, layer.clamp_min - z), layer.clamp_max - z)
        result[n, row, column, o] = round(bounded) + z
    return store(result, output)


def samples(
    layer: pb.DeformableConvolution,
    xs: Sequence[Array],
    sources: Sequence[pb.Tensor],
    kernel: tuple[int, int],
    places: Sequence[int],
) -> Array:
    """What weights meet, float64 [N, *places, *kernel, C]: samples times mask."""
    x, offsets, *masks = (
        np.asarray(centered(array, tensor), dtype=object)
        for array, tensor in zip(xs, sources, strict=True)
    )
    part, taps = x.shape[3] // layer.offset_groups, kernel[0] * kernel[1]
    scale = float(sources[1].scale)
    seen = np.empty((len(x), *places, *kernel, x.shape[3]))
    for n, row, column, ky, kx, c in np.ndindex(*seen.shape):
        b = c // part * taps + ky * kernel[1] + kx
        h_steps, w_steps = offsets[n, row, column, 2 * b : 2 * b + 2].tolist()
        h = row * layer.stride[0] - layer.pad[0] + ky * layer.dilation[0]
        w = column * layer.stride[1] - layer.pad[1] + kx * layer.dilation[1]
        place = (float(h) + scale * float(h_steps), float(w) + scale * float(w_steps))
        sample = _sample(x[n, :, :, c], *place)
        mask = float(masks[0][n, row, column, b]) if masks else 1.0
        seen[n, row, column, ky, kx, c] = sample * mask
    return seen


def _sample(image: Array, h: float, w: float) -> float:
    low_h, low_w = math.floor(h), math.floor(w)
    f, g = h - float(low_h), w - float(low_w)

    def x(row: int, column: int) -> float:
        is_inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
        return float(image[row, column]) if is_inside else 0.0

    return (
        x(low_h, low_w) * ((1.0 - f) * (1.0 - g))
        + x(low_h, low_w + 1) * ((1.0 - f) * g)
        + x(low_h + 1, low_w) * (f * (1.0 - g))
        + x(low_h + 1, low_w + 1) * (f * g)
    )


def _entry(values: Sequence[float], o: int) -> float:
    return float(values[0] if len(values) == 1 else values[o])
