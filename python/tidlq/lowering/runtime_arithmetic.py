"""What ONNX Runtime's kernels compute in float32, for layers that requantize as it does.

Its integer kernels do not all follow the one formula of QuantizeLinear: some add the zero point
before they round, some sum real values one by one, one rounds a reciprocal down. Where a layer is
one that such a kernel executes, it gets that kernel's arithmetic; `docs/numerics.md` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tidlq.graph.interpolation import ResizeAxis
from tidlq.graph.layers import Clamp, Layer, PoolAttributes
from tidlq.lowering.network_pb2 import Requantize, Resize
from tidlq.lowering.requantize import clamp_integers
from tidlq.spec import FeatureQuant, Requantization

_QLINEAR_BITS = 8
_LARGEST_SUM = math.log(np.finfo(np.float32).max)
# The kernel's margin below the largest sum of exponentials, as a power of e.
_MARGIN = 5.0


def real(output: FeatureQuant, clamp: Clamp | None, scales: Sequence[float] = ()) -> Requantize:
    """Requantize of mode REAL."""
    low, high = clamp_integers(output, clamp)
    return Requantize(
        mode=Requantize.MODE_REAL,
        scale=scales,
        zero_point=output.zero_point,
        clamp_min=low,
        clamp_max=high,
    )


def is_linear_kernel(
    mode: Requantization, features: Sequence[FeatureQuant], clamp: Clamp | None
) -> bool:
    """ONNX Runtime has an integer kernel for the layer: one 8-bit type, no clamp behind it.

    Args:
        mode: of the layer.
        features: its inputs and its output.
        clamp: fused bounds.
    """
    kind = features[-1].type
    is_open = clamp_integers(features[-1], clamp) == (kind.lowest, kind.highest)
    is_one_type = all(feature.type == kind for feature in features)
    return mode is Requantization.FLOAT and kind.bits == _QLINEAR_BITS and is_one_type and is_open


def sum_scales(first: FeatureQuant, second: FeatureQuant, output: FeatureQuant) -> list[float]:
    """Scales of a sum of two:  v = fma(q_0, r_0, fma(q_1, r_1, c)).

    r are input scales over the output's, c = zero_point - fma(r_0, z_0, r_1 * z_1), in float32: the
    kernel for x86 processors with AVX2.
    """
    r0, r1 = (np.float32(x.scale) / np.float32(output.scale) for x in (first, second))
    product = float(r1 * np.float32(second.zero_point))
    shift = np.float32(float(r0) * first.zero_point + product)
    return [float(r0), float(r1), float(np.float32(output.zero_point) - shift)]


def average(
    layer: Layer, source: FeatureQuant, output: FeatureQuant, sizes: Sequence[int]
) -> Requantize:
    """Of an average pool that ONNX Runtime has an integer kernel for.

    A window that is the whole image has its integers summed and multiplied by
    `scale(input) / (scale(output) * n)` in float32; others have their real values summed.

    Args:
        layer: an average pool.
        source: its input's quantization.
        output: its output's.
        sizes: of the input along the window's axes.
    """
    assert isinstance(layer.attributes, PoolAttributes)
    window = layer.attributes.window
    is_whole = window.kernel == tuple(sizes) and not any((*window.pad_begin, *window.pad_end))
    if not is_whole:
        return real(output, layer.clamp)
    message = real(output, layer.clamp)
    message.mode = Requantize.MODE_FLOAT
    steps = np.float32(output.scale) * np.float32(math.prod(sizes))
    message.scale.append(float(np.float32(source.scale) / steps))
    return message


def softmax_scale(output: FeatureQuant) -> float:
    """The steps that stand for 1:  floor(1 / scale), in float32."""
    return float(np.floor(np.float32(1) / np.float32(output.scale)))


def softmax_table(source: FeatureQuant, row: int) -> list[float]:
    """float32(exp(top - d * scale)) for every difference d of two integers.

    The top is as large as the float32 sum of a row allows.

    Args:
        source: the input's quantization.
        row: elements that are summed.
    """
    top = max(0.0, _LARGEST_SUM - math.log(row) - _MARGIN)
    d = np.arange(source.type.highest - source.type.lowest + 1, dtype=np.float64)
    table: list[float] = np.exp(top - d * source.scale).astype(np.float32).tolist()
    return table


def resize_map(axis: ResizeAxis) -> Resize.AxisMap:
    """Neighbours and shares along an axis; halves where an element is its own neighbour."""
    pairs = zip(axis.low, axis.high, axis.fraction, strict=True)
    fraction = [0.5 if low == high else share for low, high, share in pairs]
    return Resize.AxisMap(low=axis.low, high=axis.high, fraction=fraction)
