"""Appends element-wise layers: Quantize to PRelu, Extremum, and softmaxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from oracle.bigint.tensors import limits_of
from oracle.networks import draws
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

_PAIR = 2


def quantize(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """float32 to any integer type."""
    output = draws.features(draw, net, net.tensor(source).shape)
    return net.layer([source], output, quantize=pb.Quantize(half_away=draw(st.booleans())))


def dequantize(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Any integer type to float32."""
    output = net.feature(pb.ELEMENT_TYPE_F32, net.tensor(source).shape)
    return net.layer([source], output, dequantize=pb.Dequantize())


def rescale(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Between any two integer types."""
    output = draws.features(draw, net, net.tensor(source).shape)
    usual = draws.span(net.tensor(source)) / 2
    layer = pb.Rescale(requantize=draws.requantizations(draw, net.tensor(output), usual))
    return net.layer([source], output, rescale=layer)


def lookup(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """A random table."""
    output = draws.features(draw, net, net.tensor(source).shape)
    low, high = limits_of(net.tensor(output).element_type)
    entries = draws.span(net.tensor(source)) + 1
    table = draws.generator(draw).integers(low, high, entries, endpoint=True)
    return net.layer([source], output, lookup=pb.Lookup(value=table.tolist()))


def prelu(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """One slope or one per channel; both halves of one mode or of two."""
    shape = net.tensor(source).shape
    slope = draws.parameters(draw, net, (draw(st.sampled_from([1, shape[-1]])),))
    output = draws.features(draw, net, shape)
    target, usual = net.tensor(output), draws.span(net.tensor(source)) / 2
    positive = draws.requantizations(draw, target, usual)
    steeper = usual * draws.span(net.tensor(slope)) / 4
    negative = draws.requantizations(draw, target, steeper)
    negative.clamp_min, negative.clamp_max = positive.clamp_min, positive.clamp_max
    layer = pb.PRelu(slope=slope, positive=positive, negative=negative)
    return net.layer([source], output, prelu=layer)


def softmax(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """With the table that the input's scale gives."""
    like = net.tensor(source)
    distance = np.arange(draws.span(like) + 1, dtype=np.float64)
    table = np.exp(-distance * like.scale).astype(np.float32)
    if draw(st.booleans()):
        output = net.feature(pb.ELEMENT_TYPE_F32, like.shape)
        return net.layer([source], output, softmax=pb.Softmax(exponential=table.tolist()))
    output = draws.features(draw, net, like.shape)
    steps = draw(st.sampled_from([254.0, 255.0, 60_000.0, 3e38]))
    layer = pb.Softmax(exponential=table.tolist())
    layer.requantize.CopyFrom(draws.real_values(draw, net.tensor(output), [steps]))
    return net.layer([source], output, softmax=layer)


def integer_softmax(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """With random falling tables; 16 bits to 16, 8 bits to any type."""
    like, rng = net.tensor(source), draws.generator(draw)
    is_wide = like.element_type in (pb.ELEMENT_TYPE_U16, pb.ELEMENT_TYPE_S16)
    most = 2**15 - 1 if is_wide else 2**31 - 1
    falling = np.exp(-np.arange(draws.span(like) + 1) * rng.choice([1e-4, 0.03, 2.0]))
    layer = pb.IntegerSoftmax(exponential=np.rint(most * falling).astype(np.int64).tolist())
    if not is_wide:
        output = draws.features(draw, net, like.shape)
        return net.layer([source], output, integer_softmax=layer)
    x = np.arange(513) / 512
    layer.reciprocal.extend(np.minimum(np.rint(2**15 / (1 + x)), 2**15 - 1).astype(int).tolist())
    kind = draw(st.sampled_from([pb.ELEMENT_TYPE_S16, pb.ELEMENT_TYPE_U16]))
    output = net.feature(kind, like.shape, draws.scales(draw))
    return net.layer([source], output, integer_softmax=layer)


def extremum(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Two to four operands of one quantization, broadcast."""
    like = net.tensor(source)
    shape = tuple(like.shape)
    operands = [source]
    for _ in range(draw(st.integers(1, 3))):
        other = _broadcastable(draw, shape)
        if draw(st.booleans()):
            values = draws.integer_values(draw, like.element_type, other)
            operands.append(net.constant(values, like.scale, like.zero_point))
        else:
            operands.append(net.input(like.element_type, other, like.scale, like.zero_point))
    operands = draw(st.permutations(operands))
    common = np.broadcast_shapes(*(tuple(net.tensor(i).shape) for i in operands))
    output = draws.feature_like(net, common, source)
    return net.layer(operands, output, extremum=pb.Extremum(least=draw(st.booleans())))


def sum_operands(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Two to four operands: features, new inputs and constants, broadcast."""
    inputs, shape = _operands(draw, net, source, draw(st.integers(2, 4)))
    output = draws.features(draw, net, shape)
    target, rng = net.tensor(output), draws.generator(draw)
    result = pb.Requantize(zero_point=target.zero_point)
    result.clamp_min, result.clamp_max = draws.clamps(draw, target)
    spans = np.array([draws.span(net.tensor(i)) for i in inputs])
    ratio = draws.span(target) / spans * 2.0 ** rng.uniform(-2, 0, len(inputs))
    ratio = ratio * rng.choice([-1, 1, 1], len(inputs))
    if len(inputs) == _PAIR and draws.one_in(draw, 3):
        constant = float(rng.uniform(-1, 1)) * draws.span(target)
        if draw(st.booleans()):
            ratio, constant = 2.0 ** np.rint(np.log2(np.abs(ratio))), round(constant) / 2
        real = draws.real_values(draw, target, [*ratio, constant])
        return net.layer(inputs, output, sum=pb.Sum(requantize=real))
    if draws.one_in(draw, 3):
        return _twice_rounded_sum(draw, net, inputs, output, result)
    if draws.one_in(draw, 6):
        ratio = ratio[:1]
    if draw(st.booleans()):
        result.mode = pb.Requantize.MODE_FLOAT
        if draw(st.booleans()):
            # Sums of whole and half steps, where rounding has something to decide.
            ratio = np.copysign(2.0 ** np.rint(np.log2(np.abs(ratio))), ratio)
        result.scale.extend(np.asarray(ratio * target.scale, np.float32).tolist())
    else:
        result.mode = pb.Requantize.MODE_FIXED
        most = int(np.log2((2**31 - 1) / np.abs(ratio).max()))
        shift = draw(st.integers(0, min(62, most)))
        result.multiplier.extend(int(m) for m in np.rint(ratio * 2.0**shift))
        result.shift.append(shift if not draws.one_in(draw, 8) else draw(st.integers(0, 62)))
    return net.layer(inputs, output, sum=pb.Sum(requantize=result))


def _twice_rounded_sum(
    draw: DrawFn, net: NetworkBuilder, inputs: list[int], output: int, result: pb.Requantize
) -> int:
    """Operands shifted left, halved at least, and a sum that is shifted back; or any numbers."""
    rng, count = draws.generator(draw), len(inputs)
    result.mode = pb.Requantize.MODE_TWICE_ROUNDED
    left = draw(st.sampled_from([12, 15, 20]))
    wild = draws.one_in(draw, 8)
    spans = [draws.span(net.tensor(i)) for i in inputs]
    ratio = draws.span(net.tensor(output)) / max(spans) / 2.0**left * 2.0 ** rng.uniform(-2, 2)
    draws.twice_rounded(draw, rng, result, np.array([*[0.4] * count, ratio]), wild)
    for index in range(count):
        result.left_shift[index] = left
    subtracted = rng.choice([True, False], count).tolist() if draw(st.booleans()) else []
    return net.layer(inputs, output, sum=pb.Sum(requantize=result, subtracted=subtracted))


def product(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Two operands, broadcast, in every mode."""
    inputs, shape = _operands(draw, net, source, 2)
    output = draws.features(draw, net, shape)
    target = net.tensor(output)
    spans = [draws.span(net.tensor(i)) / 2 for i in inputs]
    result = draws.requantizations(draw, target, spans[0] * spans[1])
    if result.mode == pb.Requantize.MODE_FLOAT:
        overall = result.scale[0]
        if draw(st.booleans()):
            overall = float(2.0 ** np.rint(np.log2(abs(overall) or 1.0)))
        first = draw(st.sampled_from([target.scale, draws.scales(draw)]))
        second = np.float64(overall) / first * target.scale
        limit = float(np.finfo(np.float32).max)
        result.scale[:] = [first, float(np.clip(second, -limit, limit).astype(np.float32))]
    return net.layer(inputs, output, product=pb.Product(requantize=result))


def division(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Two operands, broadcast; divisors around zero too."""
    inputs, shape = _operands(draw, net, source, 2)
    output = draws.features(draw, net, shape)
    target, rng = net.tensor(output), draws.generator(draw)
    result = pb.Requantize(zero_point=target.zero_point)
    result.clamp_min, result.clamp_max = draws.clamps(draw, target)
    ratio = draws.span(target) / draws.span(net.tensor(inputs[0])) * 2.0 ** rng.uniform(0, 5)
    if draw(st.booleans()):
        result.mode = pb.Requantize.MODE_FLOAT
        scales = [ratio * target.scale, 2.0 ** rng.integers(-3, 3)]
        result.scale.extend(np.asarray(scales, np.float32).tolist())
    else:
        result.mode = pb.Requantize.MODE_FIXED
        shift = draw(st.integers(0, min(62, int(np.log2((2**31 - 1) / ratio)))))
        result.multiplier.append(round(ratio * 2.0**shift) * draw(st.sampled_from([1, 1, -1])))
        result.shift.append(shift if not draws.one_in(draw, 6) else draw(st.integers(0, 62)))
    return net.layer(inputs, output, division=pb.Division(requantize=result))


def power(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Two operands, broadcast; any logarithms, signs and exponents."""
    inputs, shape = _operands(draw, net, source, 2)
    output = draws.features(draw, net, shape)
    rng = draws.generator(draw)
    bases, exponents = (draws.span(net.tensor(index)) + 1 for index in inputs)
    reach = draw(st.sampled_from([1.0, 4.0, 300.0]))
    layer = pb.Power(
        logarithm=rng.normal(0, 2, bases).tolist(),
        sign=rng.integers(-1, 2, bases).tolist(),
        exponent=np.where(rng.random(exponents) < 0.1, 0, rng.normal(0, reach, exponents)).tolist(),
        parity=rng.integers(0, 3, exponents).tolist(),
        gain=draws.span(net.tensor(output)) * 2.0 ** -rng.integers(0, 6),
    )
    return net.layer(inputs, output, power=layer)


def scattered_product(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """Updates of any type that meet at few places or at many, in any order."""
    shape = tuple(net.tensor(source).shape)
    elements, count = math.prod(shape), draw(st.integers(1, 12))
    kind = draw(st.sampled_from(draws.INTEGER_TYPES))
    updates = net.input(kind, (count,), draws.scales(draw), draws.zero_points(draw, kind))
    output = draws.features(draw, net, shape)
    places = min(elements, draw(st.sampled_from([1, 3, elements])))
    layer = pb.ScatteredProduct(
        target=[draw(st.integers(0, places - 1)) for _ in range(count)],
        gain=1.0 / net.tensor(output).scale,
    )
    return net.layer([source, updates], output, scattered_product=layer)


def _operands(
    draw: DrawFn, net: NetworkBuilder, source: int, count: int
) -> tuple[list[int], tuple[int, ...]]:
    """The source and others that broadcast with it, in any order, and the common shape."""
    shape = tuple(net.tensor(source).shape)
    operands = [source]
    for _ in range(count - 1):
        other = _broadcastable(draw, shape)
        style = draw(st.sampled_from(["input", "constant", "same"]))
        kind = draw(draws.integer_types)
        if style == "constant":
            values = draws.integer_values(draw, kind, other)
            operands.append(net.constant(values, draws.scales(draw), draws.zero_points(draw, kind)))
        elif style == "input":
            new = net.input(kind, other, draws.scales(draw), draws.zero_points(draw, kind))
            operands.append(new)
        else:
            operands.append(source)
    operands = draw(st.permutations(operands))
    common = np.broadcast_shapes(*(tuple(net.tensor(i).shape) for i in operands))
    return operands, common


def _broadcastable(draw: DrawFn, shape: Sequence[int]) -> tuple[int, ...]:
    """The same sizes, some of them 1, some leading ones left out; or larger where shape has 1."""
    sizes = [
        draw(st.sampled_from([size, size, 1])) if size > 1 else draw(st.sampled_from([1, 1, 3]))
        for size in shape
    ]
    return tuple(sizes[draw(st.sampled_from([0, 0, *range(len(sizes) + 1)])) :])
