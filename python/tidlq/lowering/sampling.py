"""Lowering of samples at places that a grid gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tidlq.graph.interpolation import GridSampleAttributes, SampleMode, SamplePadding
from tidlq.graph.layers import Layer
from tidlq.lowering.builder import NetworkBuilder, channels_last, identity
from tidlq.lowering.network_pb2 import GridSample
from tidlq.lowering.requantize import LARGEST_SHIFT, by_ratio, by_shift

# So that the rounding of a place is lost in that of the output, whatever the image.
_FRACTION_BITS: Mapping[int, int] = MappingProxyType({8: 11, 16: 20})
_MULTIPLIER_BITS = 30
_OFFSET_BITS = 51
_PADDINGS: Mapping[SamplePadding, tuple[GridSample.Padding.ValueType, ...]] = MappingProxyType(
    {
        SamplePadding.ZEROS: (GridSample.PADDING_ZEROS,) * 2,
        SamplePadding.BORDER: (GridSample.PADDING_BORDER,) * 2,
        SamplePadding.REFLECTION: (
            GridSample.PADDING_MIRROR_AT_EDGES,
            GridSample.PADDING_MIRROR_AT_CORNERS,
        ),
    }
)
"""By whether corners are aligned."""


def lower_grid_sample(builder: NetworkBuilder, layer: Layer) -> None:
    """Places in fixed point, finer than the output's integers tell apart."""
    attributes = layer.attributes
    assert isinstance(attributes, GridSampleAttributes)
    source, grid = layer.inputs
    target = builder.feature(layer.output)
    layout = channels_last(len(builder.shape(source)))
    inputs = [builder.integer(source, layout), builder.integer(grid, identity(len(layout)))]
    op = builder.add_layer(
        layer.name, inputs, builder.new_integer(layer.output, layout)
    ).grid_sample
    op.fraction_bits = _FRACTION_BITS[builder.feature(source).type.bits]
    op.nearest = attributes.mode is SampleMode.NEAREST
    op.cubic = attributes.mode is SampleMode.CUBIC
    op.padding = _PADDINGS[attributes.padding][attributes.aligns_corners]
    sizes = builder.shape(source)[2:]
    _fill_places(op, builder.feature(grid).scale, sizes, aligns_corners=attributes.aligns_corners)
    if not op.cubic:
        op.requantize.CopyFrom(by_shift([2 * op.fraction_bits], target, layer.clamp))
        return
    factors = (builder.feature(source).scale, 4.0**-op.fraction_bits)
    mode = builder.plan.layers[layer.name].requantization
    op.requantize.CopyFrom(by_ratio(mode, [factors], target, layer.clamp))


def _fill_places(
    op: GridSample, grid_scale: float, sizes: Sequence[int], *, aligns_corners: bool
) -> None:
    """From -1 .. 1 to positions:  (g * span + size - 1) / 2, rounded to a fraction.

    The span is size, or size - 1 where -1 and 1 are the outermost positions.
    """
    one = 2.0**op.fraction_bits
    gains = [grid_scale * (size - aligns_corners) / 2 * one for size in sizes]
    middles = [(size - 1) / 2 * one for size in sizes]
    shift = min(
        _MULTIPLIER_BITS - math.frexp(max(gains))[1],
        _OFFSET_BITS - math.frexp(max(1.0, *middles))[1],
        LARGEST_SHIFT,
    )
    op.shift = max(shift, 0)
    limit = 1 << _MULTIPLIER_BITS
    op.multiplier.extend(min(round(math.ldexp(gain, op.shift)), limit) for gain in gains)
    half = (1 << op.shift) >> 1
    op.offset.extend(round(math.ldexp(middle, op.shift)) + half for middle in middles)
