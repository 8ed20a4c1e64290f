"""Appends layers that gather: Convolution, its transpose, InnerProduct, MaxPool, AveragePool."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from oracle.networks import draws
from oracle.networks.builder import NetworkBuilder
from oracle.networks.geometry import (
    NO_AXIS,
    Axis,
    convolution_axes,
    pool_axes,
    split_axes,
    transposed_axes,
)
from tidlq.lowering import network_pb2 as pb

AxisDraw = Callable[[DrawFn, int], Axis]


def convolution(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any groups, depthwise included; any window; rank 3 or 4."""
    shape = tuple(net.tensor(source).shape)
    channels = shape[-1]
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    groups = draw(st.sampled_from([1, channels, *divisors]))
    per_group = draw(st.integers(1, 3 if groups > 4 else 12))
    channels_out = per_group * groups
    axes = _feature_axes(draw, shape, convolution_axes)
    weight_shape = (channels_out, axes[0].kernel, axes[1].kernel, channels // groups)
    weight = draws.parameters(draw, net, weight_shape)
    kind = draws.weighted_types(draw)
    output = draws.features(draw, net, _output_shape(shape, axes, channels_out), kind)
    usual = draws.usual_sum(net.tensor(source), net.tensor(weight), math.prod(weight_shape[1:]))
    window = split_axes(axes)
    layer = pb.Convolution(
        weight=weight,
        bias=draws.biases(draw, channels_out, usual),
        stride=window["stride"],
        dilation=window["dilation"],
        pad=[axes[0].before, axes[1].before],
        groups=groups,
        requantize=draws.weighted(draw, net.tensor(output), usual, channels_out),
    )
    return net.layer([source], output, convolution=layer)


def transposed_convolution(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any groups and window; outputs that nothing reaches, and products that fall outside."""
    shape = tuple(net.tensor(source).shape)
    channels = shape[-1]
    groups = draw(st.sampled_from([1, channels]))
    per_group = draw(st.integers(1, 3 if groups > 4 else 6))
    axes = _feature_axes(draw, shape, transposed_axes)
    weight_shape = (per_group * groups, axes[0].kernel, axes[1].kernel, channels // groups)
    weight = draws.parameters(draw, net, weight_shape)
    sizes = _output_shape(shape, axes, weight_shape[0])
    output = draws.features(draw, net, sizes, draws.weighted_types(draw))
    usual = draws.usual_sum(net.tensor(source), net.tensor(weight), math.prod(weight_shape[1:]))
    window = split_axes(axes)
    layer = pb.TransposedConvolution(
        weight=weight,
        bias=draws.biases(draw, weight_shape[0], usual),
        stride=window["stride"],
        dilation=window["dilation"],
        pad=[axes[0].before, axes[1].before],
        groups=groups,
        requantize=draws.weighted(draw, net.tensor(output), usual, weight_shape[0]),
    )
    return net.layer([source], output, transposed_convolution=layer)


def inner_product(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any number of outputs over any leading axes."""
    shape = tuple(net.tensor(source).shape)
    outputs = draw(draws.channel_counts)
    weight = draws.parameters(draw, net, (outputs, shape[-1]))
    output = draws.features(draw, net, (*shape[:-1], outputs), draws.weighted_types(draw))
    usual = draws.usual_sum(net.tensor(source), net.tensor(weight), shape[-1])
    layer = pb.InnerProduct(
        weight=weight,
        bias=draws.biases(draw, outputs, usual),
        requantize=draws.weighted(draw, net.tensor(output), usual, outputs),
    )
    return net.layer([source], output, inner_product=layer)


def max_pool(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Every window holds a position of the input."""
    shape = tuple(net.tensor(source).shape)
    axes = _feature_axes(draw, shape, pool_axes)
    output = draws.feature_like(net, _output_shape(shape, axes, shape[-1]), source)
    layer = pb.MaxPool(pad=[axes[0].before, axes[1].before], **split_axes(axes))
    return net.layer([source], output, max_pool=layer)


def reduce(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """The middle axis of three, by every kind."""
    like = net.tensor(source)
    outer, rows, columns = like.shape
    kind = draw(st.sampled_from(pb.Reduce.Kind.values()[1:]))
    layer = pb.Reduce(kind=kind)
    if kind in (pb.Reduce.KIND_GREATEST, pb.Reduce.KIND_LEAST):
        output = draws.feature_like(net, (outer, columns), source)
        return net.layer([source], output, reduce=layer)
    output = draws.features(draw, net, (outer, columns))
    target = net.tensor(output)
    is_squared = kind == pb.Reduce.KIND_SQUARES
    usual = rows * (draws.span(like) / 2) ** (2 if is_squared else 1)
    modes = tuple(mode for mode in draws.EVERY_MODE if mode != pb.Requantize.MODE_TWICE_ROUNDED)
    if kind == pb.Reduce.KIND_ROOT_OF_SQUARES:
        modes = (pb.Requantize.MODE_DOUBLE,)
    layer.requantize.CopyFrom(draws.requantizations(draw, target, usual, modes=modes))
    return net.layer([source], output, reduce=layer)


def average_pool(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Divisors with and without padding; multipliers of each divisor."""
    shape = tuple(net.tensor(source).shape)
    axes = _feature_axes(draw, shape, pool_axes)
    include_pad = draw(st.booleans())
    sizes = (1, shape[1]) if len(shape) == 3 else shape[1:3]
    counts = [
        axis.count_within(size, *((axis.before, axis.after) if include_pad else (0, 0)))
        for axis, size in zip(axes, sizes, strict=True)
    ]
    divisors = np.unique(np.outer(counts[0], counts[1]))
    output = draws.features(draw, net, _output_shape(shape, axes, shape[-1]))
    usual = draws.span(net.tensor(source)) / 2 * divisors
    requantize = draws.requantizations(
        draw, net.tensor(output), usual, len(divisors), draws.MODES_WITHOUT_SHIFT
    )
    if divisors[0] > 0 and draws.one_in(draw, 3):
        requantize = draws.real_values(draw, net.tensor(output))
    elif divisors[0] > 0 and draws.one_in(draw, 4):
        draws.make_quotient(requantize)
    layer = pb.AveragePool(
        pad=[axes[0].before, axes[1].before, axes[0].after, axes[1].after],
        count_include_pad=include_pad,
        count=divisors.tolist(),
        requantize=requantize,
        **split_axes(axes),
    )
    return net.layer([source], output, average_pool=layer)


def _feature_axes(draw: DrawFn, shape: tuple[int, ...], axes: AxisDraw) -> tuple[Axis, Axis]:
    if len(shape) == 3:
        return NO_AXIS, axes(draw, shape[1])
    return axes(draw, shape[1]), axes(draw, shape[2])


def _output_shape(
    shape: tuple[int, ...], axes: tuple[Axis, Axis], channels: int
) -> tuple[int, ...]:
    inner = (axes[1].outputs,) if len(shape) == 3 else (axes[0].outputs, axes[1].outputs)
    return (shape[0], *inner, channels)
