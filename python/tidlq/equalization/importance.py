"""With how much of its variance noise in a channel reaches the network's output: a model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidlq.equalization.groups import CHANNEL_AXIS
from tidlq.equalization.rewrite import input_channels
from tidlq.graph.channels import in_taps
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition

Float64 = NDArray[np.float64]

PASSED_BY_CLAMP = 0.5
"""Part of the variance that a fused ReLU or Clip passes."""


def squares_of(weight: NDArray[np.floating]) -> Float64:
    """Squares summed over the kernel: [C_out, C_in / groups]."""
    taps = in_taps(weight)
    return np.asarray(np.einsum("oik,oik->oi", taps, taps, dtype=np.float64), np.float64)


def to_inputs(layer: Layer, squares: Float64, outputs: Float64) -> Float64:
    """Sum over outputs of squares * outputs, per input channel."""
    groups, per_group = input_channels(layer, squares)
    blocks = squares.reshape(groups, -1, per_group) * outputs.reshape(groups, -1, 1)
    return np.asarray(blocks.sum(axis=1)).reshape(-1)


def find_importance(
    graph: Graph, partition: Partition, weights: Mapping[str, NDArray[np.floating]]
) -> dict[str, Float64]:
    """Importance of every feature map's channels, by backward propagation.

    Args:
        graph: gives shapes.
        partition: its layers.
        weights: [C_out, C_in / groups, ...] by layer.

    Returns:
        float64 [C] by tensor; what no layer with a weight reads has 1 everywhere.
    """
    importance: dict[str, Float64] = {}
    for layer in reversed(partition.layers):
        channels = _channels(graph, layer.output)
        outputs = importance.setdefault(layer.output, np.ones(channels))
        if layer.clamp is not None:
            outputs = outputs * PASSED_BY_CLAMP
        for name in layer.inputs:
            if graph.constant(name) is not None:
                continue
            known = importance.setdefault(name, np.zeros(_channels(graph, name)))
            if layer.name in weights:
                own = squares_of(weights[layer.name])
                # Channels of a matrix product over more axes lie along the last one.
                fits = len(outputs) == len(own)
                each = outputs if fits else np.full(len(own), outputs.mean())
                passed = to_inputs(layer, own, each)
            else:
                passed = outputs
            fits = passed.shape == known.shape
            importance[name] = known + (passed if fits else np.float64(passed.mean()))
    return importance


def _channels(graph: Graph, name: str) -> int:
    shape = graph.shape(name) or ()
    return shape[CHANNEL_AXIS] if len(shape) > CHANNEL_AXIS else 1
