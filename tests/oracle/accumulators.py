"""Accumulators of a convolution or an inner product, before requantization."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oracle.bigint.tensors import Array, constant_of, shape_of
from tidlq.lowering import network_pb2 as pb


def accumulators(network: pb.Network, layer: pb.Layer, features: Array) -> NDArray[np.int64]:
    """Every accumulator of a layer, bias included, by output channel.

    Args:
        network: the integer program.
        layer: one of its convolutions or inner products.
        features: the layer's input, [frames, *shape].

    Returns:
        int64 [frames * output positions, channels]; exact, by the format's bounds on operands.
    """
    source = network.tensors[layer.inputs[0]]
    centered = features.astype(np.int64) - source.zero_point
    if layer.HasField("inner_product"):
        matrix = constant_of(network.tensors[layer.inner_product.weight]).astype(np.int64)
        rows = centered.reshape(-1, matrix.shape[1])
        return rows @ matrix.T + np.array(layer.inner_product.bias, np.int64)
    output = shape_of(network.tensors[layer.output])
    maps = centered[:, :, None] if len(output) == 3 else centered
    size = (1, output[1]) if len(output) == 3 else (output[1], output[2])
    return _convolution(network, layer.convolution, maps.reshape(-1, *maps.shape[2:]), size)


def _convolution(
    network: pb.Network, op: pb.Convolution, maps: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.int64]:
    """The sum over taps of the shifted map times the tap's weights."""
    kernel = constant_of(network.tensors[op.weight]).astype(np.int64)
    reach = [
        (outputs - 1) * stride + (taps - 1) * dilation + 1
        for outputs, stride, taps, dilation in zip(
            size, op.stride, kernel.shape[1:3], op.dilation, strict=True
        )
    ]
    after = [max(r - p - n, 0) for r, p, n in zip(reach, op.pad, maps.shape[1:3], strict=True)]
    padded = np.pad(maps, ((0, 0), (op.pad[0], after[0]), (op.pad[1], after[1]), (0, 0)))
    inputs, outputs = maps.shape[3] // op.groups, len(kernel) // op.groups
    acc = np.zeros((len(maps), *size, len(kernel)), np.int64) + np.array(op.bias, np.int64)
    for ky, kx in np.ndindex(*kernel.shape[1:3]):
        top, left = ky * op.dilation[0], kx * op.dilation[1]
        rows = padded[:, top : top + (size[0] - 1) * op.stride[0] + 1 : op.stride[0]]
        seen = rows[:, :, left : left + (size[1] - 1) * op.stride[1] + 1 : op.stride[1]]
        for g in range(op.groups):
            columns = slice(g * outputs, (g + 1) * outputs)
            acc[..., columns] += (
                seen[..., g * inputs : (g + 1) * inputs] @ kernel[columns, ky, kx].T
            )
    return acc.reshape(-1, len(kernel))
