"""Layers that gather: Convolution and its transpose, InnerProduct, MaxPool, AveragePool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle.bigint import real
from oracle.bigint.integers import IntArray, exact_matmul
from oracle.bigint.requantization import quotients, real_values, requantize_accumulators
from oracle.bigint.tensors import Array, centered, constant_of, shape_of, store
from tidlq.lowering import network_pb2 as pb


@dataclass(frozen=True)
class Taps:
    """For each output position of one axis and each kernel tap: where it reads.

    Attributes:
        index: [outputs, kernel] positions relative to the input; may lie outside it.
        size: the input's size.
    """

    index: NDArray[np.int64]
    size: int

    @classmethod
    def along(
        cls, outputs: int, size: int, kernel: int, stride: int, dilation: int, pad: int
    ) -> Taps:
        """index[y, k] = y * stride - pad + k * dilation."""
        first = np.arange(outputs) * stride - pad
        return cls(first[:, None] + np.arange(kernel)[None, :] * dilation, size)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which positions lie inside the input."""
        return (self.index >= 0) & (self.index < self.size)

    def count_within(self, before: int, after: int) -> NDArray[np.int64]:
        """Positions per output inside the input extended by `before` and `after`."""
        held = (self.index >= -before) & (self.index < self.size + after)
        return held.sum(axis=1)

    def source(self, tap: int) -> NDArray[np.int64]:
        """Index into the input followed by one filler, which stands for all outside."""
        return np.where(self.inside[:, tap], self.index[:, tap], self.size)


def _as_rank4(array: Array) -> Array:
    return array[:, None] if array.ndim == 3 else array


def _both_taps(
    features: Array,
    output: pb.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pad: Sequence[int],
) -> tuple[Taps, Taps]:
    shape = shape_of(output)
    out_h, out_w = (1, shape[1]) if len(shape) == 3 else (shape[1], shape[2])
    height, width = features.shape[1:3]
    return (
        Taps.along(out_h, height, kernel[0], stride[0], dilation[0], pad[0]),
        Taps.along(out_w, width, kernel[1], stride[1], dilation[1], pad[1]),
    )


def _windows(features: Array, taps: tuple[Taps, Taps], filler: int) -> Iterator[Array]:
    """[N, H', W', C] for each kernel position, row by row; outside positions hold the filler."""
    n, height, width, channels = features.shape
    extended = np.full((n, height + 1, width + 1, channels), filler, features.dtype)
    extended[:, :height, :width] = features
    for ky in range(taps[0].index.shape[1]):
        rows = extended[:, taps[0].source(ky)]
        for kx in range(taps[1].index.shape[1]):
            yield rows[:, :, taps[1].source(kx)]


def convolution(
    layer: pb.Convolution, x: Array, source: pb.Tensor, weight: pb.Tensor, output: pb.Tensor
) -> Array:
    """acc[n, y, x, o] = bias[o] + sum of (q - zero_point) * weight, then requantize."""
    kernels = constant_of(weight).astype(np.int64)
    features = _as_rank4(x).astype(np.int64) - source.zero_point
    taps = _both_taps(features, output, weight.shape[1:3], layer.stride, layer.dilation, layer.pad)
    patches = np.stack(list(_windows(features, taps, 0)), axis=3)
    channels_in, channels_out = patches.shape[4] // layer.groups, len(kernels) // layer.groups
    sums: list[IntArray] = []
    for g in range(layer.groups):
        rows = patches[..., g * channels_in : (g + 1) * channels_in]
        columns = kernels[g * channels_out : (g + 1) * channels_out].reshape(channels_out, -1)
        sums.append(exact_matmul(rows.reshape(-1, columns.shape[1]), columns.T))
    acc = np.concatenate(sums, axis=1) + np.array(list(layer.bias), dtype=object)
    return _finish(acc, layer.requantize, output)


def transposed_convolution(
    layer: pb.TransposedConvolution,
    x: Array,
    source: pb.Tensor,
    weight: pb.Tensor,
    output: pb.Tensor,
) -> Array:
    """Every element adds its products where y * stride + k * dilation - pad says."""
    kernels = constant_of(weight).astype(np.int64)
    features = _as_rank4(x).astype(np.int64) - source.zero_point
    n, height, width, _ = features.shape
    shape = shape_of(output)
    sizes = (1, shape[1]) if len(shape) == 3 else shape[1:3]
    channels_in, channels_out = kernels.shape[3], len(kernels) // layer.groups
    acc = np.zeros((n, *sizes, len(kernels)), dtype=object)
    for ky, kx in np.ndindex(kernels.shape[1:3]):
        rows = np.arange(height) * layer.stride[0] + ky * layer.dilation[0] - layer.pad[0]
        columns = np.arange(width) * layer.stride[1] + kx * layer.dilation[1] - layer.pad[1]
        tall, wide = (rows >= 0) & (rows < sizes[0]), (columns >= 0) & (columns < sizes[1])
        inner = features[:, tall][:, :, wide]
        for g in range(layer.groups):
            read = inner[..., g * channels_in : (g + 1) * channels_in]
            written = slice(g * channels_out, (g + 1) * channels_out)
            products = exact_matmul(read.reshape(-1, channels_in), kernels[written, ky, kx].T)
            place = np.ix_(range(n), rows[tall], columns[wide], range(len(kernels))[written])
            acc[place] += products.reshape(*read.shape[:3], channels_out)
    acc = acc.reshape(-1, len(kernels)) + np.array(list(layer.bias), dtype=object)
    return _finish(acc, layer.requantize, output)


def inner_product(
    layer: pb.InnerProduct, x: Array, source: pb.Tensor, weight: pb.Tensor, output: pb.Tensor
) -> Array:
    """acc[..., n] = bias[n] + sum over k of (q - zero_point) * weight[n, k], then requantize."""
    matrix = constant_of(weight).astype(np.int64)
    rows = x.astype(np.int64).reshape(-1, matrix.shape[1]) - source.zero_point
    acc = exact_matmul(rows, matrix.T) + np.array(list(layer.bias), dtype=object)
    return _finish(acc, layer.requantize, output)


def _finish(acc: IntArray, requantize: pb.Requantize, output: pb.Tensor) -> Array:
    """Integers, or real values where the output is float32."""
    if output.element_type == pb.ELEMENT_TYPE_F32:
        return real_values(acc, requantize).reshape(shape_of(output))
    return store(requantize_accumulators(acc, requantize).reshape(shape_of(output)), output)


def max_pool(layer: pb.MaxPool, x: Array, output: pb.Tensor) -> Array:
    """The largest integer of each window; padding is below every value."""
    features = _as_rank4(x).astype(np.int64)
    taps = _both_taps(features, output, layer.kernel, layer.stride, layer.dilation, layer.pad)
    below = int(np.iinfo(np.int64).min)
    best = np.maximum.reduce(list(_windows(features, taps, below)))
    return store(best.astype(object).reshape(shape_of(output)), output)


def average_pool(layer: pb.AveragePool, x: Array, source: pb.Tensor, output: pb.Tensor) -> Array:
    """Sum of q - zero_point over each window, requantized by the entry of its divisor."""
    is_raw = layer.requantize.mode == pb.Requantize.MODE_QUOTIENT
    features = _as_rank4(x.astype(object) if is_raw else np.asarray(centered(x, source)))
    taps = _both_taps(features, output, layer.kernel, layer.stride, layer.dilation, layer.pad)
    acc = sum(_windows(features, taps, 0), start=np.zeros((), dtype=object))
    top, left, bottom, right = layer.pad if layer.count_include_pad else (0, 0, 0, 0)
    divisor = np.outer(taps[0].count_within(top, bottom), taps[1].count_within(left, right))
    if layer.requantize.mode == pb.Requantize.MODE_REAL:
        values = _windows(real.real(_as_rank4(x), source), taps, 0)
        return real.average(layer, values, divisor[None, :, :, None], output)
    if is_raw:
        q = quotients(acc, divisor.astype(object)[None, :, :, None], layer.requantize)
        return store(q.reshape(shape_of(output)), output)
    index = {count: i for i, count in enumerate(layer.count)}
    entry = np.array([index[int(d)] for d in divisor.ravel()]).reshape(divisor.shape)
    q = requantize_accumulators(acc, layer.requantize, entry[None, :, :, None])
    return store(q.reshape(shape_of(output)), output)
