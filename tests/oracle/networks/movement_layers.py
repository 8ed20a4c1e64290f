"""Appends layers that place elements elsewhere: Concat to Slice, and Resize."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from oracle.bigint.tensors import limits_of
from oracle.networks import draws
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

_IMAGE_RANK = 4


def concat(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """The source with new inputs, constants or itself, along any axis."""
    like = net.tensor(source)
    shape = list(like.shape)
    axis = draw(st.integers(0, len(shape) - 1))
    operands = [source]
    for _ in range(draw(st.integers(0, 3))):
        style = draw(st.sampled_from(["input", "constant", "same"]))
        other = list(shape)
        other[axis] = draw(st.integers(1, 5))
        if style == "same":
            operands.append(source)
        elif style == "constant" and like.element_type != pb.ELEMENT_TYPE_F32:
            values = draws.integer_values(draw, like.element_type, other)
            operands.append(net.constant(values, like.scale, like.zero_point))
        else:
            operands.append(net.input(like.element_type, other, like.scale, like.zero_point))
    operands = draw(st.permutations(operands))
    shape[axis] = sum(net.tensor(i).shape[axis] for i in operands)
    output = draws.feature_like(net, shape, source)
    return net.layer(operands, output, concat=pb.Concat(axis=axis))


def reshape(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any sizes with the same product."""
    left = math.prod(net.tensor(source).shape)
    shape = []
    for _ in range(draw(st.integers(1, 4))):
        shape.append(draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0])))
        left //= shape[-1]
    output = draws.feature_like(net, [*shape, left], source)
    return net.layer([source], output, reshape=pb.Reshape())


def transpose(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any order of the axes."""
    shape = net.tensor(source).shape
    perm = draw(st.permutations(range(len(shape))))
    output = draws.feature_like(net, [shape[p] for p in perm], source)
    return net.layer([source], output, transpose=pb.Transpose(perm=perm))


def pad(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Every mode, on every axis."""
    like = net.tensor(source)
    modes = [pb.Pad.MODE_CONSTANT, pb.Pad.MODE_EDGE, pb.Pad.MODE_REFLECT]
    mode = draw(st.sampled_from(modes))
    most = [min(3, size - 1) if mode == pb.Pad.MODE_REFLECT else 3 for size in like.shape]
    begin, end = ([draw(st.integers(0, m)) for m in most] for _ in range(2))
    value = draw(st.integers(*limits_of(like.element_type)))
    shape = [b + size + e for b, size, e in zip(begin, like.shape, end, strict=True)]
    output = draws.feature_like(net, shape, source)
    layer = pb.Pad(
        begin=begin, end=end, mode=mode, value=value if mode == pb.Pad.MODE_CONSTANT else 0
    )
    return net.layer([source], output, pad=layer)


def slice_axes(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any start and step, backwards too."""
    starts, steps, shape = [], [], []
    for size in net.tensor(source).shape:
        start = draw(st.integers(0, size - 1))
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2, -3]))
        room = (size - 1 - start) // step if step > 0 else start // -step
        starts.append(start)
        steps.append(step)
        shape.append(draw(st.integers(1, room + 1)))
    output = draws.feature_like(net, shape, source)
    return net.layer([source], output, slice=pb.Slice(start=starts, step=steps))


def gather(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any positions along an axis, some of them again and again."""
    shape = list(net.tensor(source).shape)
    axis = draw(st.integers(0, len(shape) - 1))
    index = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=12))
    shape[axis] = len(index)
    output = draws.feature_like(net, shape, source)
    return net.layer([source], output, gather=pb.Gather(axis=axis, index=index))


def top_k(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Some elements of the middle axis of three in order, or their positions."""
    outer, rows, columns = net.tensor(source).shape
    shape = (outer, draw(st.integers(1, rows)), columns)
    kind = draw(st.sampled_from([0, pb.ELEMENT_TYPE_S32, pb.ELEMENT_TYPE_S64]))
    output = net.feature(kind, shape) if kind else draws.feature_like(net, shape, source)
    layer = pb.TopK(least=draw(st.booleans()), higher_first=draw(st.booleans()))
    return net.layer([source], output, top_k=layer)


def resize(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Nearest or linear maps, whatever positions they name; axes may stay as they are."""
    shape = list(net.tensor(source).shape)
    if len(shape) == _IMAGE_RANK and draws.one_in(draw, 3):
        return real_resize(draw, net, source)
    bits = 0 if draw(st.booleans()) else draw(st.integers(1, 15))
    layer = pb.Resize(weight_bits=bits)
    gain = 1
    for axis, field in ((len(shape) - 3, "height"), (len(shape) - 2, "width")):
        if axis < 1 or draws.one_in(draw, 5):
            continue
        axis_map = axis_maps(draw, shape[axis], bits)
        getattr(layer, field).CopyFrom(axis_map)
        shape[axis] = len(axis_map.low)
        gain <<= bits
    output = draws.features(draw, net, shape)
    usual = draws.span(net.tensor(source)) / 2 * gain
    layer.requantize.CopyFrom(draws.requantizations(draw, net.tensor(output), usual))
    if draws.one_in(draw, 4):
        draws.make_quotient(layer.requantize)
    return net.layer([source], output, resize=layer)


def windowed_resize(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Windows of any positions and weights; an axis may stay as it is."""
    shape = list(net.tensor(source).shape)
    layer = pb.WindowedResize()
    gain = 1
    for axis, field in ((len(shape) - 3, "height"), (len(shape) - 2, "width")):
        if axis < 1 or draws.one_in(draw, 5):
            continue
        outputs, taps = draw(st.integers(1, 9)), draw(st.integers(1, 6))
        reach = draw(st.sampled_from([3, 1 << 11, (1 << 22) // taps]))
        rng = draws.generator(draw)
        windows = getattr(layer, field)
        windows.taps = taps
        windows.position.extend(rng.integers(0, shape[axis], taps * outputs).tolist())
        windows.weight.extend(rng.integers(-reach, reach, taps * outputs, endpoint=True).tolist())
        shape[axis] = outputs
        gain *= reach
    output = draws.features(draw, net, shape)
    usual = draws.span(net.tensor(source)) / 2 * gain
    layer.requantize.CopyFrom(draws.requantizations(draw, net.tensor(output), usual))
    return net.layer([source], output, windowed_resize=layer)


def real_resize(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Real shares of any two positions along both axes of rank 4."""
    shape = list(net.tensor(source).shape)
    layer = pb.Resize(real_weights=True)
    for axis, axis_map in ((1, layer.height), (2, layer.width)):
        axis_map.CopyFrom(axis_maps(draw, shape[axis], 0))
        shape[axis] = len(axis_map.low)
        del axis_map.weight_high[:]
        shares = draws.generator(draw).choice([0.0, 0.25, 0.5, 0.7, 1 / 3], shape[axis])
        axis_map.fraction.extend(shares.astype(np.float32).tolist())
    output = draws.features(draw, net, shape)
    target = net.tensor(output)
    layer.requantize.CopyFrom(draws.real_values(draw, target))
    if draw(st.booleans()):
        draws.make_quotient(layer.requantize)
    return net.layer([source], output, resize=layer)


def axis_maps(draw: DrawFn, size: int, bits: int) -> pb.Resize.AxisMap:
    """A map of some output positions to any two positions of the input."""
    outputs = draw(st.integers(1, 12))
    rng = draws.generator(draw)
    low = rng.integers(0, size, outputs)
    high = rng.integers(0, size, outputs) if bits else low
    weight = rng.integers(0, 1 << bits, outputs, endpoint=bits > 0)
    return pb.Resize.AxisMap(
        low=low.tolist(), high=high.tolist(), weight_high=weight.tolist() if bits else [0] * outputs
    )
