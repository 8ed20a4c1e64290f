"""Resizing of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidlq.importers.tflite.layout import Layout, axis_in
from tidlq.importers.tflite.rewrite import Rewrite

_NCHW = Layout.CHANNELS_FIRST
_LARGEST_SIZE = 1 << 20


def _sizes(rewrite: Rewrite) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes before and after, in TFLite's order."""
    shape, sizes = rewrite.shape(0), rewrite.listed(1, "a size")
    if len(shape) != 4 or len(sizes) != 2 or min(sizes) < 1 or min(shape) < 1:
        raise rewrite.fault(f"resizes the shape {list(shape)} to {list(sizes)}.")
    if max(sizes) > _LARGEST_SIZE:
        raise rewrite.fault(f"resizes to {list(sizes)}; at most {_LARGEST_SIZE} is supported.")
    return shape, (shape[0], *sizes, shape[3])


def _emit_resize(rewrite: Rewrite, after: tuple[int, ...], **attributes: str) -> None:
    sizes = rewrite.integers_constant((after[0], after[3], *after[1:3]), "sizes")
    value = rewrite.emit("Resize", rewrite.read(0, _NCHW), None, None, sizes, **attributes)
    rewrite.write(value, _NCHW)


def rewrite_bilinear(rewrite: Rewrite) -> None:
    """RESIZE_BILINEAR as a linear Resize."""
    _, after = _sizes(rewrite)
    aligned, half = rewrite.flag("AlignCorners"), rewrite.flag("HalfPixelCenters")
    if aligned and half:
        raise rewrite.fault("both aligns corners and takes centres of pixels.")
    mode = "align_corners" if aligned else "half_pixel" if half else "asymmetric"
    _emit_resize(rewrite, after, mode="linear", coordinate_transformation_mode=mode)


def rewrite_nearest(rewrite: Rewrite) -> None:
    """RESIZE_NEAREST_NEIGHBOR as a nearest Resize, or a Gather per axis where the two differ.

    TFLite multiplies by a float32 scale where ONNX divides by one; at the edge between two pixels
    the two may fall on different sides.
    """
    shape, after = _sizes(rewrite)
    aligned, half = rewrite.flag("AlignCorners"), rewrite.flag("HalfPixelCenters")
    places = {axis: _places(shape[axis], after[axis], aligned, half) for axis in (1, 2)}
    if all(
        np.array_equal(there, _onnx_places(shape[axis], after[axis], aligned, half))
        for axis, there in places.items()
    ):
        mode = "align_corners" if aligned else "half_pixel" if half else "asymmetric"
        rounding = "round_prefer_ceil" if aligned or half else "floor"
        _emit_resize(
            rewrite,
            after,
            mode="nearest",
            coordinate_transformation_mode=mode,
            nearest_mode=rounding,
        )
        return
    value = rewrite.read(0, _NCHW)
    for axis, there in places.items():
        listed = rewrite.constant(there, f"places{axis}")
        own = axis_in(axis, 4, _NCHW)
        value = rewrite.emit("Gather", value, listed, role=f"axis{axis}", axis=own)
    rewrite.write(value, _NCHW)


def _places(size: int, out: int, aligned: bool, half: bool) -> NDArray[np.int64]:
    """Which pixel each output takes, in float32 as TFLite's kernel computes it."""
    if aligned and out > 1:
        scale = np.float32(size - 1) / np.float32(out - 1)
    else:
        scale = np.float32(size) / np.float32(out)
    x = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    rounded = np.floor(x + np.float32(0.5)) if aligned else np.floor(x)
    return np.asarray(np.clip(rounded, 0, size - 1), np.int64)


def _onnx_places(size: int, out: int, aligned: bool, half: bool) -> NDArray[np.int64]:
    """The same in float32 as ONNX defines it."""
    x = np.arange(out, dtype=np.float32)
    if aligned:
        if half:
            return np.full(out, -1)
        x = x * np.float32(size - 1) / np.float32(max(out - 1, 1))
        x = np.floor(x + np.float32(0.5))
    else:
        scale = np.float32(out / size)
        shift = np.float32(0.5 if half else 0)
        # With centres of pixels: (x + 0.5) / scale - 0.5, rounded with halves up.
        x = np.floor((x + shift) / scale - shift + shift)
    return np.asarray(np.clip(x, 0, size - 1), np.int64)
