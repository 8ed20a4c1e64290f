"""Pools and spatial means."""

from __future__ import annotations

from tidlq.graph.layers import Layer, LayerKind, PoolAttributes, Window
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.graph.recognition.weighted import read_window


def _covering(shape: tuple[int, ...], axes: tuple[int, ...]) -> Window:
    ones, zeros = (1,) * len(axes), (0,) * len(axes)
    return Window(tuple(shape[axis] for axis in axes), ones, ones, zeros, zeros, axes)


def recognise_max_pool(node: NodeReader) -> Layer:
    """MaxPool over 1 or 2 axes, without indices."""
    node.feature(0)
    window = read_window(node, node.integers("kernel_shape", ()))
    sizes, outs = node.float_shape(node.inputs[0])[2:], node.float_shape(node.output())[2:]
    for axis in range(len(sizes)):
        if not all(
            _sees_input(window, axis, sizes[axis], position) for position in range(outs[axis])
        ):
            raise RefusedError("a window of it lies wholly in the padding")
    return node.layer(LayerKind.MAX_POOL, PoolAttributes(window))


def _sees_input(window: Window, axis: int, size: int, position: int) -> bool:
    start = position * window.stride[axis] - window.pad_begin[axis]
    taps = range(window.kernel[axis])
    return any(0 <= start + tap * window.dilation[axis] < size for tap in taps)


def recognise_average_pool(node: NodeReader) -> Layer:
    """AveragePool over 1 or 2 axes."""
    node.feature(0)
    window = read_window(node, node.integers("kernel_shape", ()))
    include = bool(node.integer("count_include_pad", 0))
    return node.layer(LayerKind.AVERAGE_POOL, PoolAttributes(window, include))


def recognise_global_pool(node: NodeReader) -> Layer:
    """GlobalAveragePool and GlobalMaxPool."""
    shape = node.float_shape(node.feature(0))
    if len(shape) not in (3, 4):
        raise RefusedError(f"its input has {len(shape)} axes, the engine takes 3 or 4")
    kind = LayerKind.MAX_POOL if node.op_type == "GlobalMaxPool" else LayerKind.AVERAGE_POOL
    return node.layer(kind, PoolAttributes(_covering(shape, tuple(range(2, len(shape))))))


def recognise_reduction(node: NodeReader) -> Layer:
    """ReduceMean or ReduceMax over one or two axes of a feature map, the batch excepted."""
    shape = node.float_shape(node.feature(0))
    listed = node.listed(1, "axes", "axes")
    if listed is None or not listed:
        raise RefusedError("it reduces every axis")
    axes = tuple(sorted({node.axis(axis, len(shape)) for axis in listed}))
    if len(axes) + 2 != len(shape) or len(axes) > 2 or 0 in axes:
        raise RefusedError(f"it reduces axes {axes} of rank {len(shape)}, not the spatial ones")
    kind = LayerKind.MAX_POOL if node.op_type == "ReduceMax" else LayerKind.AVERAGE_POOL
    return node.layer(kind, PoolAttributes(_covering(shape, axes)))
