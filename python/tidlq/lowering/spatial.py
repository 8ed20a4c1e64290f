"""Lowering of pools and resize."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tidlq.graph.interpolation import (
    AxisWindows,
    ResizeAttributes,
    ResizeAxis,
    WindowedResizeAttributes,
)
from tidlq.graph.layers import Layer, LayerKind, PoolAttributes, Window
from tidlq.lowering import litert_resize, twice_rounded
from tidlq.lowering.builder import (
    Layout,
    NetworkBuilder,
    identity,
    is_same_memory,
    permuted,
)
from tidlq.lowering.network_pb2 import Layer as LayerMessage
from tidlq.lowering.network_pb2 import Requantize, Resize, WindowedResize
from tidlq.lowering.requantize import by_ratio, by_shift
from tidlq.lowering.runtime_arithmetic import average as runtime_average
from tidlq.lowering.runtime_arithmetic import is_linear_kernel, real, resize_map
from tidlq.spec import Requantization

LINEAR_WEIGHT_BITS = {8: 11, 16: 15}
"""Bits of an interpolation weight, by the feature's bits."""

WINDOW_WEIGHT_BITS = {8: 15, 16: 20}
"""The same where windows are wider: their sums have 64 bits."""


def _window_layout(window: Window, rank: int) -> Layout:
    """(batch, the window's axes, the axis that is left)."""
    rest = [axis for axis in range(1, rank) if axis not in window.axes]
    return (0, *window.axes, *rest)


def _counts(window: Window, sizes: Sequence[int], outs: Sequence[int], include: bool) -> list[int]:
    """Distinct divisors of an average, ascending."""
    products = {1}
    for index, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        low = -window.pad_begin[index] if include else 0
        high = size + (window.pad_end[index] if include else 0)
        per_axis = set()
        for position in range(out):
            start = position * window.stride[index] - window.pad_begin[index]
            taps = (start + k * window.dilation[index] for k in range(window.kernel[index]))
            per_axis.add(sum(low <= tap < high for tap in taps))
        products = {a * b for a in products for b in per_axis}
    return sorted(products)


def _average(builder: NetworkBuilder, layer: Layer, counts: Sequence[int]) -> Requantize:
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    mode = builder.plan.layers[layer.name].requantization
    has_kernel = layer.op_type != "ReduceMean" and 0 not in counts
    if has_kernel and is_linear_kernel(mode, (source, target), layer.clamp):
        assert isinstance(layer.attributes, PoolAttributes)
        sizes = permuted(builder.shape(layer.inputs[0]), layer.attributes.window.axes)
        return runtime_average(layer, source, target, sizes)
    if mode is not Requantization.TWICE_ROUNDED:
        ratios = [(source.scale / count if count else 0.0,) for count in counts]
        return by_ratio(mode, ratios, target, layer.clamp)
    if layer.op_type == "ReduceMean":
        return twice_rounded.by_mean(source, counts[0], target, layer.clamp)
    # AVERAGE_POOL_2D takes its input's scale for its output's.
    return twice_rounded.by_quotient(target, layer.clamp)


def lower_pool(builder: NetworkBuilder, layer: Layer) -> None:
    """MaxPool, AveragePool, global pools and spatial means."""
    assert isinstance(layer.attributes, PoolAttributes)
    window = layer.attributes.window
    shape, out_shape = builder.shape(layer.inputs[0]), builder.shape(layer.output)
    layout = _window_layout(window, len(shape))
    kept = len(out_shape) == len(shape)
    # A mean that drops its axes is a pool down to size 1 followed by a reshape.
    pooled = (
        out_shape
        if kept
        else tuple(1 if axis in window.axes else size for axis, size in enumerate(shape))
    )
    target = builder.feature(layer.output)
    x = builder.integer(layer.inputs[0], layout)
    if kept:
        output = builder.new_integer(layer.output, layout)
    else:
        output = builder.add_tensor(f"{layer.name}/pooled", permuted(pooled, layout), target)
    message = builder.add_layer(layer.name, [x], output)
    missing = 2 - len(window.kernel)
    op = message.max_pool if layer.kind is LayerKind.MAX_POOL else message.average_pool
    op.kernel.extend([1] * missing + list(window.kernel))
    op.stride.extend([1] * missing + list(window.stride))
    op.dilation.extend([1] * missing + list(window.dilation))
    op.pad.extend([0] * missing + list(window.pad_begin))
    if layer.kind is LayerKind.AVERAGE_POOL:
        average = message.average_pool
        average.pad.extend([0] * missing + list(window.pad_end))
        average.count_include_pad = layer.attributes.count_include_pad
        sizes, outs = permuted(shape, window.axes), permuted(pooled, window.axes)
        average.count.extend(_counts(window, sizes, outs, average.count_include_pad))
        average.requantize.CopyFrom(_average(builder, layer, list(average.count)))
    if not kept:
        assert is_same_memory(pooled, layout, identity(len(pooled)))
        flat = builder.reshape(layer.output, output, out_shape, target)
        builder.place_integer(layer.output, flat, identity(len(out_shape)))


def _axis_map(axis: ResizeAxis, bits: int) -> Resize.AxisMap:
    one = 1 << bits
    weights = [round(fraction * one) if bits else 0 for fraction in axis.fraction]
    return Resize.AxisMap(low=axis.low, high=axis.high, weight_high=weights)


def lower_resize(builder: NetworkBuilder, layer: Layer) -> None:
    """Nearest and linear interpolation; the weights' bits leave by an exact shift."""
    assert isinstance(layer.attributes, ResizeAttributes)
    axes, target = layer.attributes.axes, builder.feature(layer.output)
    linear = any(any(axis.fraction) for axis in axes)
    bits = LINEAR_WEIGHT_BITS[target.type.bits] if linear else 0

    def fill(message: LayerMessage) -> None:
        _fill_resize(builder, layer, message.resize, bits)

    _add_resized(builder, layer, tuple(axis.axis for axis in axes), fill)


def lower_windowed_resize(builder: NetworkBuilder, layer: Layer) -> None:
    """Interpolation between more than two positions; the output has a scale of its own."""
    assert isinstance(layer.attributes, WindowedResizeAttributes)
    axes = layer.attributes.axes
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    bits = WINDOW_WEIGHT_BITS[source.type.bits]
    mode = builder.plan.layers[layer.name].requantization

    def fill(message: LayerMessage) -> None:
        op = message.windowed_resize
        if len(axes) == 2:
            op.height.CopyFrom(_windows(axes[0], bits))
        op.width.CopyFrom(_windows(axes[-1], bits))
        factors = (source.scale, 2.0 ** (-bits * len(axes)))
        op.requantize.CopyFrom(by_ratio(mode, [factors], target, layer.clamp))

    _add_resized(builder, layer, tuple(axis.axis for axis in axes), fill)


def _windows(axis: AxisWindows, bits: int) -> WindowedResize.AxisWindows:
    """Integer weights, whose sum is 2^bits where that of the shares is 1."""
    weights = np.rint(np.ldexp(np.array(axis.shares), bits)).astype(np.int64)
    largest = np.argmax(weights, axis=1)
    is_used = weights.any(axis=1)
    missing = np.where(is_used, (1 << bits) - weights.sum(axis=1), 0)
    weights[np.arange(len(weights)), largest] += missing
    positions = np.array(axis.positions)
    return WindowedResize.AxisWindows(
        taps=positions.shape[1],
        position=positions.reshape(-1).tolist(),
        weight=weights.reshape(-1).tolist(),
    )


def _add_resized(
    builder: NetworkBuilder,
    layer: Layer,
    axes: tuple[int, ...],
    fill: Callable[[LayerMessage], None],
) -> None:
    """A layer over an image whose height and width are the axes that change."""
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    layout = _resized_layout(axes, len(builder.shape(layer.output)))
    x = builder.integer(layer.inputs[0], layout)
    physical = permuted(builder.shape(layer.output), layout)
    if len(layout) == len(axes) + 2 and layout[0] == 0:
        output = builder.new_integer(layer.output, layout)
    else:
        before = permuted(builder.shape(layer.inputs[0]), layout)
        x = builder.reshape(f"{layer.name}/image", x, _as_image(before, axes), source)
        output = builder.add_tensor(f"{layer.name}/resized", _as_image(physical, axes), target)
    fill(builder.add_layer(layer.name, [x], output))
    if layer.output not in builder.integer_forms:
        output = builder.reshape(layer.output, output, physical, target)
        builder.place_integer(layer.output, output, layout)


def _resized_layout(resized: tuple[int, ...], rank: int) -> Layout:
    """An axis that stays, the resized ones, and all others: channels last for images."""
    rest = [axis for axis in range(rank) if axis not in resized]
    return (*rest[:1], *resized, *rest[1:])


def _as_image(physical: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The physical shape with one axis before the resized ones and one behind."""
    first = min(len(physical) - len(axes), 1)
    last = first + len(axes)
    return (math.prod(physical[:first]), *physical[first:last], math.prod(physical[last:]))


def _fill_resize(builder: NetworkBuilder, layer: Layer, op: Resize, bits: int) -> None:
    assert isinstance(layer.attributes, ResizeAttributes)
    axes, target = layer.attributes.axes, builder.feature(layer.output)
    mode = builder.plan.layers[layer.name].requantization
    if mode is Requantization.TWICE_ROUNDED and layer.attributes.is_linear and len(axes) == 2:
        sizes = [builder.shape(layer.inputs[0])[axis.axis] for axis in axes]
        op.CopyFrom(litert_resize.linear(layer.attributes, sizes, target))
        return
    if bits and len(axes) == 2 and mode is Requantization.FLOAT:
        op.height.CopyFrom(resize_map(axes[0]))
        op.width.CopyFrom(resize_map(axes[1]))
        op.real_weights = True
        op.requantize.CopyFrom(real(target, layer.clamp))
        return
    if len(axes) == 2:
        op.height.CopyFrom(_axis_map(axes[0], bits))
    op.width.CopyFrom(_axis_map(axes[-1], bits))
    op.weight_bits = bits
    op.requantize.CopyFrom(by_shift([bits * len(axes)], target, layer.clamp))
