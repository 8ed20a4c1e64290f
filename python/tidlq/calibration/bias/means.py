"""Means of what a layer's window sees, and the means of accumulators that follow from them.

    mean of acc[o]  =  bias[o] + sum over inputs i and taps t of  weight[o, i, t] * mean[i, t]

with mean[i, t] the mean over output positions of the input that tap t sees; outside counts zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ChannelStatistics, FrameStepper, WindowSums
from tidlq.graph.channels import input_axis
from tidlq.graph.layers import ConvolutionAttributes, DeformableAttributes, Layer, LayerKind
from tidlq.graph.model import Graph

Float64 = NDArray[np.float64]


def accumulator_means(weight: NDArray[np.number], groups: int, means: Float64) -> Float64:
    """Means of accumulators without their bias.

    Args:
        weight: [C_out, C_in / groups, taps], integers or real values.
        groups: of the convolution.
        means: float64 [C_in, taps].

    Returns:
        float64 [C_out]. Sums have one order, whatever the threads.
    """
    outputs, per_group, taps = weight.shape
    blocks = weight.reshape(groups, outputs // groups, per_group, taps)
    # No BLAS: the order of its sums depends on the number of threads.
    inputs = means.reshape(groups, per_group, taps)
    sums: Float64 = np.einsum("goit,git->go", blocks, inputs, optimize=False)
    return sums.reshape(-1)


def integer_means(
    stepper: FrameStepper, index: int, frames: range, *, is_sampled: bool = False
) -> Float64:
    """Means of the integers q - zero_point that the next layer's window sees: [C_in, taps].

    Args:
        stepper: stands before the layer.
        index: of the layer.
        frames: to take the means over.
        is_sampled: the layer is a deformable convolution: the means are those of its samples, times
            the integers of its mask.
    """
    of = stepper.sample_sums if is_sampled else stepper.input_sums
    sums = of(index, frames.start, frames.stop)
    positions = len(frames) * stepper.output_positions(index)
    flat = sums.reshape(-1, 1) if sums.ndim == 1 else sums.reshape(-1, sums.shape[-1]).T
    return np.asarray(flat / positions, np.float64)


@dataclass(frozen=True)
class _Window:
    """Which statistic gives the means of a layer's input; layers of one geometry share it."""

    tensor: str
    geometry: tuple[tuple[int, ...], ...] = ()
    axis: int = 0
    transposed: bool = False


class FloatMeans:
    """Means of the float network's inputs, by layer, over the frames that were added.

    What the taps of a deformable convolution see is no window of its input: of it, the means are
    those of its output before the non-linearity.

    Args:
        graph: gives shapes.
        layers: layers with output channels.
    """

    def __init__(self, graph: Graph, layers: Sequence[Layer]) -> None:
        self._windows = {layer.name: _window(graph, layer) for layer in layers}
        self._sums: dict[_Window, WindowSums | ChannelStatistics] = {
            window: _statistic(window) for window in self._windows.values()
        }

    @property
    def tensors(self) -> tuple[str, ...]:
        """Feature maps that `add` wants."""
        return tuple(dict.fromkeys(window.tensor for window in self._sums))

    def add(
        self, features: Mapping[str, NDArray[np.generic]], share: int = 0, shares: int = 1
    ) -> None:
        """Adds one frame.

        Args:
            features: of the frame, by name.
            share: which part of the sums to add to; every part wants each frame once, and
                different ones may be added to at the same time.
            shares: how many parts there are.
        """
        for window, statistic in list(self._sums.items())[share::shares]:
            values = np.ascontiguousarray(features[window.tensor], np.float32)
            statistic.update(values)

    def of(self, layer: Layer) -> Float64:
        """Means of a layer's input, float64 [C_in, taps]; of the output's channels, [C_out, 1]."""
        statistic = self._sums[self._windows[layer.name]]
        if isinstance(statistic, ChannelStatistics):
            return (statistic.sums / statistic.count).reshape(-1, 1)
        return statistic.sums.reshape(len(statistic.sums), -1) / statistic.positions


def _window(graph: Graph, layer: Layer) -> _Window:
    if isinstance(layer.attributes, DeformableAttributes):
        return _Window(_before_clamp(graph, layer), axis=1)
    tensor = layer.inputs[0]
    if not isinstance(layer.attributes, ConvolutionAttributes):
        return _Window(tensor, axis=input_axis(layer))
    window = layer.attributes.window
    size = (graph.shape(layer.output) or ())[2:]
    geometry = (window.kernel, window.stride, window.dilation, window.pad_begin, size)
    is_transposed = layer.kind is LayerKind.TRANSPOSED_CONVOLUTION
    return _Window(tensor, geometry, transposed=is_transposed)


def _before_clamp(graph: Graph, layer: Layer) -> str:
    """What the leading node of a layer writes."""
    (node,) = (node for node in graph.nodes if node.name == layer.nodes[0])
    return str(node.outputs[0].name)


def _statistic(window: _Window) -> WindowSums | ChannelStatistics:
    if window.geometry:
        kernel, stride, dilation, pad, size = (list(values) for values in window.geometry)
        return WindowSums(kernel, stride, dilation, pad, size, transposed=window.transposed)
    return ChannelStatistics(window.axis)
