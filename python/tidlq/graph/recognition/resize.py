"""Resize and Upsample: coordinates are worked out here, once, per axis.

Coordinates follow ONNX's definition in float32, as ONNX Runtime computes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import Layer, LayerKind, ResizeAttributes, ResizeAxis
from tidlq.graph.recognition.reading import NodeReader, RefusedError

Float32 = NDArray[np.float32]


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


def _coordinates(mode: str, size: int, out: int, scale: float) -> Float32:
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


def _axis_map(node: NodeReader, axis: int, size: int, out: int, scale: float) -> ResizeAxis:
    x = _coordinates(_coordinate_mode(node), size, out, scale)
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


def recognise_resize(node: NodeReader) -> Layer:
    """Nearest or linear interpolation along the last two axes of rank 4, the last of rank 3."""
    shape = node.float_shape(node.feature(0))
    out = node.float_shape(node.output())
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise RefusedError(f"mode {mode!r} has no kernel")
    if node.integer("antialias", 0):
        raise RefusedError("it filters (antialias)")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise RefusedError("it keeps the aspect ratio")
    if len(shape) not in (3, 4):
        raise RefusedError(f"its input has {len(shape)} axes, the engine takes 3 or 4")
    changed = [a for a, (size, new) in enumerate(zip(shape, out, strict=True)) if size != new]
    spatial = tuple(range(2, len(shape)))
    if any(axis not in spatial for axis in changed):
        raise RefusedError("it resizes the batch or the channels")
    scales = _scales(node, shape, out)
    axes = tuple(_axis_map(node, a, shape[a], out[a], scales[a]) for a in spatial)
    attributes = ResizeAttributes(axes, mode == "linear", _coordinate_mode(node))
    return node.layer(LayerKind.RESIZE, attributes)
