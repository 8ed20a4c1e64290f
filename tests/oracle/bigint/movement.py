"""Layers that place elements elsewhere, and Resize, which also blends neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oracle.bigint.integers import IntArray
from oracle.bigint.requantization import quotients, requantize_accumulators, saturate
from oracle.bigint.tensors import Array, centered, dtype_of, shape_of, store
from tidlq.lowering import network_pb2 as pb


def concat(layer: pb.Concat, arrays: Sequence[Array]) -> Array:
    """The inputs one after the other along an axis."""
    return np.concatenate(arrays, axis=layer.axis)


def reshape(x: Array, output: pb.Tensor) -> Array:
    """Same elements, other sizes."""
    return x.reshape(shape_of(output))


def transpose(layer: pb.Transpose, x: Array) -> Array:
    """Output axis i is input axis perm[i]."""
    return x.transpose(list(layer.perm)).copy()


def pad(layer: pb.Pad, x: Array, output: pb.Tensor) -> Array:
    """Elements added before and after each axis: a constant, a mirror image or the edge."""
    result = x
    for axis, (begin, end) in enumerate(zip(layer.begin, layer.end, strict=True)):
        size = x.shape[axis]
        position = np.arange(-begin, size + end)
        if layer.mode == pb.Pad.MODE_CONSTANT:
            filler_shape = [*result.shape]
            filler_shape[axis] = 1
            filler = np.full(filler_shape, layer.value, dtype_of(output))
            result = np.concatenate([result, filler], axis=axis)
            position = np.where((position < 0) | (position >= size), size, position)
        elif layer.mode == pb.Pad.MODE_REFLECT:
            position = np.abs(position)
            position = np.where(position >= size, 2 * (size - 1) - position, position)
        elif layer.mode == pb.Pad.MODE_EDGE:
            position = np.clip(position, 0, size - 1)
        else:
            raise ValueError(f"pad mode {layer.mode}")
        result = np.take(result, position, axis=axis)
    return result


def gather(layer: pb.Gather, x: Array) -> Array:
    """output[..., i, ...] = input[..., index[i], ...] along an axis."""
    return np.take(x, _positions(layer.index), axis=layer.axis)


def slice_axes(layer: pb.Slice, x: Array, output: pb.Tensor) -> Array:
    """output[i] = input[start + i * step] along every axis."""
    for axis, (start, step) in enumerate(zip(layer.start, layer.step, strict=True)):
        position = start + np.arange(output.shape[axis], dtype=np.int64) * step
        if position.min() < 0 or position.max() >= x.shape[axis]:
            raise IndexError(f"axis {axis} reads {position.min()} .. {position.max()}")
        x = np.take(x, position, axis=axis)
    return x


def resize(layer: pb.Resize, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """Weighted sum of two neighbours per mapped axis, then requantize."""
    if layer.real_weights:
        return _real_resize(layer, x, output)
    is_raw = layer.requantize.mode == pb.Requantize.MODE_QUOTIENT
    acc = x.astype(object) if is_raw else centered(x, source)
    width_axis = acc.ndim - 2
    if layer.HasField("height"):
        acc = _blend(acc, layer.height, 1, layer.weight_bits)
    if layer.HasField("width"):
        acc = _blend(acc, layer.width, width_axis, layer.weight_bits)
    if is_raw:
        axes = layer.HasField("height") + layer.HasField("width")
        return store(quotients(acc, 1 << (axes * layer.weight_bits), layer.requantize), output)
    return store(requantize_accumulators(acc, layer.requantize), output)


def windowed_resize(
    layer: pb.WindowedResize, x: Array, source: pb.Tensor, output: pb.Tensor
) -> Array:
    """Weighted sums of windows, axis by axis, then requantize."""
    acc = centered(x, source)
    if layer.HasField("height"):
        acc = _weighted_windows(acc, layer.height, 1)
    if layer.HasField("width"):
        acc = _weighted_windows(acc, layer.width, acc.ndim - 2)
    return store(requantize_accumulators(acc, layer.requantize), output)


def _weighted_windows(
    values: IntArray, windows: pb.WindowedResize.AxisWindows, axis: int
) -> IntArray:
    """Sum over the taps of each output position of an axis."""
    shape = [1] * values.ndim
    shape[axis] = -1
    total: IntArray | int = 0
    for tap in range(windows.taps):
        weights = np.array(list(windows.weight[tap :: windows.taps]), dtype=object)
        chosen = np.take(values, _positions(windows.position[tap :: windows.taps]), axis=axis)
        total = total + chosen * weights.reshape(shape)
    return np.asarray(total, dtype=object)


def _real_resize(layer: pb.Resize, x: Array, output: pb.Tensor) -> Array:
    """Four neighbours by real weights, in float32 from left to right; truncated."""
    q, one = x.astype(np.float32), np.float32(1)
    f = np.array(list(layer.height.fraction), np.float32)[:, None, None]
    g = np.array(list(layer.width.fraction), np.float32)[None, :, None]
    low, high = (q[:, _positions(rows)] for rows in (layer.height.low, layer.height.high))
    left, right = _positions(layer.width.low), _positions(layer.width.high)
    v = low[:, :, left] * (one - f) * (one - g)
    v = v + high[:, :, left] * f * (one - g)
    v = v + low[:, :, right] * (one - f) * g
    v = v + high[:, :, right] * f * g
    whole = np.trunc(v + np.float32(0.5)).astype(np.int64).astype(object)
    return store(saturate(whole, 0, layer.requantize.clamp_min, layer.requantize.clamp_max), output)


def _blend(values: IntArray, axis_map: pb.Resize.AxisMap, axis: int, bits: int) -> IntArray:
    """low * (2^bits - weight_high) + high * weight_high at each output position of an axis."""
    shape = [1] * values.ndim
    shape[axis] = len(axis_map.low)
    high_weight = np.array(list(axis_map.weight_high), dtype=object).reshape(shape)
    low = np.take(values, _positions(axis_map.low), axis=axis)
    high = np.take(values, _positions(axis_map.high), axis=axis)
    return np.asarray(low * ((1 << bits) - high_weight) + high * high_weight, dtype=object)


def _positions(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(list(values), np.int64)
