"""Linear interpolation as LiteRT's reference kernels compute it.

Source: tflite/kernels/internal/reference/resize_bilinear.h in LiteRT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidlq.graph.interpolation import ResizeAttributes
from tidlq.lowering.network_pb2 import Resize
from tidlq.lowering.twice_rounded import by_quotient
from tidlq.spec import FeatureQuant

_WEIGHT_BITS = 10


def linear(attributes: ResizeAttributes, sizes: Sequence[int], output: FeatureQuant) -> Resize:
    """The engine's Resize for RESIZE_BILINEAR.

    Signed integers are mixed by weights of 10 bits per axis, with positions in steps of 1 / 1024;
    unsigned ones in float32. Zero points play no part.

    Args:
        attributes: what each axis becomes.
        sizes: of the axes before.
        output: the output's quantization.
    """
    result = Resize(requantize=by_quotient(output))
    make = _fixed_axis if output.type.signed else _real_axis
    maps = [
        make(attributes.coordinates, size, len(axis.low))
        for axis, size in zip(attributes.axes, sizes, strict=True)
    ]
    result.height.CopyFrom(maps[0])
    result.width.CopyFrom(maps[1])
    if output.type.signed:
        result.weight_bits = _WEIGHT_BITS
    else:
        result.real_weights = True
    return result


def _fixed_axis(coordinates: str, size: int, out: int) -> Resize.AxisMap:
    one = 1 << _WEIGHT_BITS
    step = (one * size + out // 2) // out
    if coordinates == "align_corners" and out > 1:
        step = (one * (size - 1) + (out - 1) // 2) // (out - 1)
    position = np.arange(out, dtype=np.int64) * step
    if coordinates == "half_pixel":
        position += step // 2 - one // 2
    # Divisions round towards zero, and what lies before the first pixel is the first pixel.
    low = np.minimum(np.maximum(position, 0) >> _WEIGHT_BITS, size - 1)
    high = np.minimum(np.maximum(position + one - 1, 0) >> _WEIGHT_BITS, size - 1)
    weight = np.where(high > low, position - one * low, 0)
    return Resize.AxisMap(low=low.tolist(), high=high.tolist(), weight_high=weight.tolist())


def _real_axis(coordinates: str, size: int, out: int) -> Resize.AxisMap:
    scale = np.float32(size) / np.float32(out)
    if coordinates == "align_corners" and out > 1:
        scale = np.float32(size - 1) / np.float32(out - 1)
    x = np.arange(out, dtype=np.float32)
    half = np.float32(0.5)
    position = (x + half) * scale - half if coordinates == "half_pixel" else x * scale
    low = np.minimum(np.maximum(np.floor(position), 0), size - 1).astype(np.int64)
    high = np.clip(np.ceil(position), 0, size - 1).astype(np.int64)
    share = np.asarray(position - low.astype(np.float32), np.float32)
    share = np.clip(share, -1, 1)
    return Resize.AxisMap(low=low.tolist(), high=high.tolist(), fraction=share.tolist())
