"""Resize and Upsample: coordinates are worked out here, once, per axis.

Coordinates follow ONNX's definition in float32, as ONNX Runtime computes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.interpolation import (
    AxisWindows,
    ResizeAttributes,
    ResizeAxis,
    WindowedResizeAttributes,
)
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.recognition.functions import refuse_stated
from tidlq.graph.recognition.gathers import gathered
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.graph.recognition.windows import WindowRule, axis_windows

Float32 = NDArray[np.float32]

LARGEST_WEIGHTS = 4
"""Sum of the magnitudes of a window's shares."""


def _scales(node: NodeReader, shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[float, ...]:
    """Scale of every axis, from `scales` or from the output's size."""
    index = 1 if node.op_type == "Upsample" else 2
    scales: list[float] = []
    if node.has_input(index) and node.is_constant(index):
        scales = [float(v) for v in node.constant(index, "scales").reshape(-1).tolist()]
    elif node.op_type == "Upsample" and "scales" in node.node.attributes:
        scales = [float(v) for v in node.node.attributes["scales"].as_floats()]
    full = [o / s for o, s in zip(out, shape, strict=True)]
    if not scales:
        return tuple(full)
    axes = node.integers("axes", range(len(shape)))
    for axis, scale in zip(axes, scales, strict=True):
        full[node.axis(axis, len(shape))] = scale
    return tuple(full)


def resized_coordinates(mode: str, size: int, out: int, scale: float) -> Float32:
    """Input coordinate of every output position."""
    x = np.arange(out, dtype=np.float32)
    s, half = np.float32(scale), np.float32(0.5)
    if mode == "asymmetric":
        return np.asarray(x / s, np.float32)
    if mode == "align_corners":
        if out == 1:
            return np.zeros(1, np.float32)
        return np.asarray(x * np.float32(size - 1) / np.float32(out - 1), np.float32)
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1, np.float32)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return np.asarray((x + half) / s - half, np.float32)
    if mode == "half_pixel_symmetric":
        adjustment = np.float32(out) / np.float32(scale * size)
        offset = np.float32(size) / np.float32(2) * (np.float32(1) - adjustment)
        return np.asarray(offset + (x + half) / s - half, np.float32)
    raise RefusedError(f"coordinate mode {mode!r} has no kernel")


def _nearest(mode: str, x: Float32) -> Float32:
    if mode == "round_prefer_floor":
        return np.asarray(np.ceil(x - np.float32(0.5)), np.float32)
    if mode == "round_prefer_ceil":
        return np.asarray(np.floor(x + np.float32(0.5)), np.float32)
    if mode == "floor":
        return np.floor(x)
    if mode == "ceil":
        return np.ceil(x)
    raise RefusedError(f"nearest mode {mode!r} has no kernel")


def _is_early(node: NodeReader) -> bool:
    """Upsample, and Resize before it had a choice of coordinates."""
    return node.op_type == "Upsample" or node.opset < 11


def _coordinate_mode(node: NodeReader) -> str:
    default = "asymmetric" if _is_early(node) else "half_pixel"
    return node.text("coordinate_transformation_mode", default)


def _is_same(axis: ResizeAxis, shape: tuple[int, ...]) -> bool:
    return axis.low == tuple(range(shape[axis.axis])) and not any(axis.fraction)


def _places(node: NodeReader, axis: int, size: int, out: int, scale: float) -> Float32:
    if _coordinate_mode(node) == "tf_crop_and_resize":
        rank = len(node.float_shape(node.inputs[0]))
        return _cropped_coordinates(node, axis, rank, size, out)
    return resized_coordinates(_coordinate_mode(node), size, out, scale)


def _has_beyond(
    node: NodeReader, axes: tuple[int, ...], shape: tuple[int, ...], out: tuple[int, ...]
) -> bool:
    """Whether the region of a crop reaches beyond the input, where zeros are then."""
    if _coordinate_mode(node) != "tf_crop_and_resize":
        return False
    cropped = [_cropped_coordinates(node, a, len(shape), shape[a], out[a]) for a in axes]
    if not any(np.isnan(places).any() for places in cropped):
        return False
    value = node.real("extrapolation_value", 0.0)
    if value != 0 or node.text("mode", "nearest") == "nearest":
        raise RefusedError("its region reaches beyond its input")
    return True


def _axis_map(node: NodeReader, axis: int, size: int, out: int, scale: float) -> ResizeAxis:
    x = _places(node, axis, size, out, scale)
    if node.text("mode", "nearest") == "nearest":
        rounding = "floor" if _is_early(node) else "round_prefer_floor"
        index = np.clip(_nearest(node.text("nearest_mode", rounding), x), 0, size - 1)
        low = tuple(int(i) for i in index)
        return ResizeAxis(axis, low, low, (0.0,) * out)
    x = np.clip(x, 0, np.float32(size - 1))
    floor = np.floor(x)
    low = tuple(int(i) for i in floor)
    high = tuple(min(i + 1, size - 1) for i in low)
    return ResizeAxis(axis, low, high, tuple(float(f) for f in x - floor))


def _cropped_coordinates(node: NodeReader, axis: int, rank: int, size: int, out: int) -> Float32:
    """Positions between two shares of an axis; NaN outside of the input."""
    region = node.constant(1, "region").reshape(-1)
    axes = [node.axis(listed, rank) for listed in node.integers("axes", range(rank))]
    start, end, last = np.float32(0), np.float32(1), np.float32(size - 1)
    if axis in axes:
        start = np.float32(region[axes.index(axis)])
        end = np.float32(region[axes.index(axis) + len(axes)])
    x = np.arange(out, dtype=np.float32)
    if out > 1:
        step = (end - start) * last / np.float32(out - 1)
        found = np.asarray(start * last + x * step, np.float32)
    else:
        found = np.asarray(x + np.float32(0.5) * (start + end) * last, np.float32)
    return np.where((found < 0) | (found > last), np.float32(np.nan), found)


def _kept_ratio(
    node: NodeReader, shape: tuple[int, ...], out: tuple[int, ...]
) -> tuple[float, ...] | None:
    """Scales of a node that keeps the ratio of the sizes that it is asked for."""
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch" or not node.has_input(3):
        return None
    asked = node.constant(3, "sizes").reshape(-1)
    axes = [node.axis(listed, len(shape)) for listed in node.integers("axes", range(len(shape)))]
    ratios = [float(size) / shape[axis] for size, axis in zip(asked, axes, strict=True)]
    common = min(ratios) if policy == "not_larger" else max(ratios)
    whole = (new / size for size, new in zip(shape, out, strict=True))
    return tuple(common if axis in axes else ratio for axis, ratio in enumerate(whole))


def _axis_windows(
    node: NodeReader, axis: int, size: int, out: int, scale: float, rule: WindowRule
) -> AxisWindows:
    places = _places(node, axis, size, out, scale)
    found = axis_windows(axis, size, places, scale, rule)
    if found is None:
        raise RefusedError("around a place of it no position counts")
    if max(sum(map(abs, shares)) for shares in found.shares) > LARGEST_WEIGHTS:
        raise RefusedError(
            f"its weights are beyond {LARGEST_WEIGHTS} times what they are divided by"
        )
    return found


def _leaves(axis: AxisWindows, size: int) -> bool:
    """Whether every output is the input at its own position."""
    return axis.positions == tuple((position,) for position in range(size))


def _recognise_windowed(
    node: NodeReader, changed: tuple[int, ...], scales: tuple[float, ...]
) -> Layer:
    """Interpolation that is cubic, filters what gets smaller, or finds zeros outside."""
    refuse_stated(node)
    shape, out = node.float_shape(node.inputs[0]), node.float_shape(node.output())
    rule = WindowRule(
        is_cubic=node.text("mode", "nearest") == "cubic",
        coefficient=node.real("cubic_coeff_a", -0.75),
        filters=bool(node.integer("antialias", 0)),
        excludes_outside=bool(node.integer("exclude_outside", 0)),
    )
    found = [_axis_windows(node, a, shape[a], out[a], scales[a], rule) for a in changed]
    axes = tuple(axis for axis in found if not _leaves(axis, shape[axis.axis])) or (*found[-1:],)
    if not 1 <= len(axes) <= 2:
        raise RefusedError(f"it interpolates along {len(axes)} axes, the engine along 1 or 2")
    return node.layer(LayerKind.WINDOWED_RESIZE, WindowedResizeAttributes(axes))


def recognise_resize(node: NodeReader) -> Layer:
    """Nearest interpolation along any axes; linear, cubic and filtering ones along one or two."""
    shape = node.float_shape(node.feature(0))
    out = node.float_shape(node.output())
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise RefusedError(f"mode {mode!r} has no kernel")
    is_smaller = any(new < size for size, new in zip(shape, out, strict=True))
    filters = bool(node.integer("antialias", 0)) and mode == "linear" and is_smaller
    is_cropped = _coordinate_mode(node) == "tf_crop_and_resize"
    sizes = enumerate(zip(shape, out, strict=True))
    changed = tuple(axis for axis, (size, new) in sizes if size != new or is_cropped)
    spatial = tuple(range(2, len(shape)))
    scales = _kept_ratio(node, shape, out) or _scales(node, shape, out)
    if len(shape) in (3, 4) and set(changed) <= set(spatial):
        changed = spatial
    if _has_beyond(node, changed, shape, out) or filters or mode == "cubic":
        return _recognise_windowed(node, changed, scales)
    axes = tuple(_axis_map(node, a, shape[a], out[a], scales[a]) for a in changed)
    if is_cropped:
        axes = tuple(axis for axis in axes if not _is_same(axis, shape)) or axes[-1:]
    is_image = len(shape) in (3, 4) and {axis.axis for axis in axes} <= set(spatial)
    if mode == "nearest" and not is_image:
        return gathered(node, {axis.axis: np.array(axis.low, np.int64) for axis in axes})
    if len(axes) > 2:
        raise RefusedError(f"it interpolates along {len(axes)} axes, the engine along 1 or 2")
    if not is_image:
        refuse_stated(node)
    attributes = ResizeAttributes(axes, mode == "linear", _coordinate_mode(node))
    return node.layer(LayerKind.RESIZE, attributes)
