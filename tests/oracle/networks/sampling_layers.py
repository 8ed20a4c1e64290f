"""Appends layers that sample a feature at places."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from oracle.bigint.tensors import limits_of
from oracle.networks import draws
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

_PADDINGS = (
    pb.GridSample.PADDING_ZEROS,
    pb.GridSample.PADDING_BORDER,
    pb.GridSample.PADDING_MIRROR_AT_EDGES,
    pb.GridSample.PADDING_MIRROR_AT_CORNERS,
)
_REACH = 3
_MOST_SHIFT = 3


def grid_sample(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """At places in and around the feature, sometimes anywhere."""
    count, height, width, channels = net.tensor(source).shape
    grid_type = draw(st.sampled_from(draws.INTEGER_TYPES))
    places = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    zero_point = draws.zero_points(draw, grid_type)
    grid = net.input(grid_type, (count, *places, 2), draws.scales(draw), zero_point)
    output = draws.features(draw, net, (count, *places, channels))
    bits = draw(st.integers(0, 20))
    shift = draw(st.integers(0, 24))
    layer = pb.GridSample(fraction_bits=bits, shift=shift, nearest=draw(st.booleans()))
    layer.cubic = not layer.nearest and draw(st.booleans())
    span = draws.span(net.tensor(grid))
    wild = draws.one_in(draw, 8)
    for size in (height, width):
        most = 2**31 - 1 if wild else int(size * _REACH * 2 ** (bits + shift) / span)
        layer.multiplier.append(draw(st.integers(-min(most, 2**31 - 1), min(most, 2**31 - 1))))
        reach = 2**52 if wild else size << (bits + shift)
        layer.offset.append(draw(st.integers(-reach, reach)))
    layer.padding = draw(st.sampled_from(_PADDINGS))
    usual = draws.span(net.tensor(source)) / 2 * 4.0**bits
    layer.requantize.CopyFrom(draws.requantizations(draw, net.tensor(output), usual))
    return net.layer([source, grid], output, grid_sample=layer)


def deformable_convolution(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any groups of either kind, with a mask or without, mostly near the feature."""
    count, _, _, channels = net.tensor(source).shape
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    groups = draw(st.sampled_from([1, 1, channels, *divisors]))
    offset_groups = draw(st.sampled_from([1, 1, *divisors[:3]]))
    channels_out = draw(st.integers(1, 2 if groups > 4 else 9)) * groups
    kernel, places = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(2))
    weight = draws.parameters(draw, net, (channels_out, *kernel, channels // groups))
    taps = offset_groups * math.prod(kernel)

    def told(entries: int, reach: float) -> int:
        kind = draw(st.sampled_from(draws.INTEGER_TYPES))
        low, high = limits_of(kind)
        scale = draws.scales(draw) if draws.one_in(draw, 8) else reach / (high - low)
        shape = (count, *places, entries)
        return net.input(kind, shape, scale, draws.zero_points(draw, kind))

    inputs = [source, told(2 * taps, 9.0)]
    inputs += [told(taps, 1.0)] if draw(st.booleans()) else []
    output = draws.features(draw, net, (count, *places, channels_out))
    usual = draws.usual_sum(net.tensor(source), net.tensor(weight), taps)
    usual *= draws.span(net.tensor(inputs[2])) if len(inputs) > 2 else 1
    rng, reach = draws.generator(draw), draws.span(net.tensor(output)) / 3

    def numbers(size: float) -> list[float]:
        values: list[float] = rng.normal(0, size, draw(st.sampled_from([1, channels_out]))).tolist()
        return values

    low, high = draws.clamps(draw, net.tensor(output))
    layer = pb.DeformableConvolution(
        weight=weight,
        stride=[draw(st.integers(1, _MOST_SHIFT)) for _ in range(2)],
        dilation=[draw(st.integers(1, _MOST_SHIFT)) for _ in range(2)],
        pad=[draw(st.integers(0, _MOST_SHIFT)) for _ in range(2)],
        groups=groups,
        offset_groups=offset_groups,
        gain=numbers(reach / usual),
        shift=numbers(reach),
        clamp_min=low,
        clamp_max=high,
    )
    return net.layer(inputs, output, deformable_convolution=layer)
