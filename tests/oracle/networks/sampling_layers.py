"""Appends layers that sample a feature at places."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

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
