"""Random sizes, values and requantization numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import ArrayLike, NDArray

from oracle.bigint.tensors import DTYPES, limits_of
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

INTEGER_TYPES = (
    pb.ELEMENT_TYPE_U8,
    pb.ELEMENT_TYPE_S8,
    pb.ELEMENT_TYPE_U16,
    pb.ELEMENT_TYPE_S16,
)
EVERY_MODE = (
    pb.Requantize.MODE_FLOAT,
    pb.Requantize.MODE_FIXED,
    pb.Requantize.MODE_TWICE_ROUNDED,
    pb.Requantize.MODE_DOUBLE,
    pb.Requantize.MODE_SHIFT,
)
MODES_WITHOUT_SHIFT = EVERY_MODE[:-1]

# Small sizes, and those around the widths of vector registers and kernel tiles.
channel_counts = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 63, 64, 65]))
spatial_sizes = st.integers(1, 9)
integer_types = st.sampled_from(INTEGER_TYPES)


def generator(draw: DrawFn) -> np.random.Generator:
    """A numpy generator that hypothesis controls through its seed."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def one_in(draw: DrawFn, times: int) -> bool:
    """True about once in `times` draws, and never in the simplest example."""
    return draw(st.integers(0, times - 1)) == times - 1


def shapes(draw: DrawFn, rank: int) -> tuple[int, ...]:
    """Sizes of a feature map: few frames, small area, any channels."""
    if rank == 0:
        return ()
    channels = draw(channel_counts)
    if rank == 1:
        return (channels,)
    inner = [draw(spatial_sizes) for _ in range(rank - 2)]
    return (draw(st.integers(1, 2)), *inner, channels)


def zero_points(draw: DrawFn, element_type: int) -> int:
    """Zero, an end of the type's range, its middle, or anything between."""
    low, high = limits_of(element_type)
    ends = [0, low, high, (low + high + 1) // 2]
    return draw(st.one_of(st.sampled_from(ends), st.integers(low, high)))


def scales(draw: DrawFn) -> float:
    """A step: a power of two or any float32 of ordinary size."""
    if draw(st.booleans()):
        return float(2.0 ** draw(st.integers(-12, 4)))
    return float(np.float32(draw(st.floats(2.0**-12, 16.0, width=32))))


def features(draw: DrawFn, net: NetworkBuilder, shape: Sequence[int], element_type: int = 0) -> int:
    """A tensor of drawn type and parameters."""
    kind = element_type or draw(integer_types)
    if kind == pb.ELEMENT_TYPE_F32:
        return net.feature(kind, shape)
    return net.feature(kind, shape, scales(draw), zero_points(draw, kind))


def feature_like(net: NetworkBuilder, shape: Sequence[int], source: int) -> int:
    """A tensor with another's type, scale and zero point."""
    like = net.tensor(source)
    return net.feature(like.element_type, shape, like.scale, like.zero_point)


def integer_values(draw: DrawFn, element_type: int, shape: Sequence[int]) -> NDArray[np.generic]:
    """Integers of a type: spread out, at the ends of the range, or near zero."""
    low, high = limits_of(element_type)
    rng = generator(draw)
    style = draw(st.sampled_from(["spread", "spread", "ends", "near zero"]))
    if style == "ends":
        values = rng.choice([low, low + 1, 0, high - 1, high], shape)
    elif style == "near zero":
        values = rng.integers(max(low, -3), 4, shape)
    else:
        values = rng.integers(low, high + 1, shape)
    return np.asarray(values).astype(DTYPES[element_type])


def float_values(draw: DrawFn, shape: Sequence[int], step: float = 1.0) -> NDArray[np.float32]:
    """Floats of every size, halves of a step and their neighbours, infinities and NaN."""
    rng = generator(draw)
    wide = rng.standard_normal(shape) * 2.0 ** rng.integers(-10, 16, shape)
    halves = ((rng.integers(-300, 300, shape) + 0.5) * step).astype(np.float32)
    halves = np.nextafter(halves, rng.choice([-np.inf, np.inf], shape).astype(np.float32))
    exact = ((rng.integers(-40000, 70000, shape) + 0.5) * step).astype(np.float32)
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45], shape)
    kinds = [special, halves, exact, exact, wide, wide]
    mixed = np.choose(rng.integers(0, len(kinds), shape), kinds)
    return np.asarray(mixed, np.float32)


def parameters(draw: DrawFn, net: NetworkBuilder, shape: Sequence[int]) -> int:
    """A constant S8 or S16 tensor with zero point 0."""
    kind = draw(st.sampled_from([pb.ELEMENT_TYPE_S8, pb.ELEMENT_TYPE_S16]))
    return net.constant(integer_values(draw, kind, shape), scales(draw))


def biases(draw: DrawFn, count: int, magnitude: float) -> list[int]:
    """One bias per channel: none, of the size of the sums, or anything allowed."""
    usual = draw(st.sampled_from([0, min(int(magnitude), 2**47)]))
    limit = 2**47 if one_in(draw, 10) else usual
    biases: list[int] = generator(draw).integers(-limit, limit, count, endpoint=True).tolist()
    return biases


def span(tensor: pb.Tensor) -> int:
    """Highest minus lowest integer of a tensor's type."""
    low, high = limits_of(tensor.element_type)
    return high - low


def usual_sum(source: pb.Tensor, weight: pb.Tensor, terms: int) -> float:
    """The size that a sum of products usually has."""
    return span(source) / 4 * span(weight) / 4 * math.sqrt(terms)


def requantizations(
    draw: DrawFn,
    output: pb.Tensor,
    magnitude: ArrayLike,
    entries: int = 1,
    modes: Sequence[int] = EVERY_MODE,
) -> pb.Requantize:
    """Numbers that mostly bring accumulators into the output's range, and sometimes any at all.

    Args:
        output: the tensor to fill.
        magnitude: usual size of the accumulators, per entry or for all.
        entries: length of the lists when they are not of length 1.
        modes: allowed modes.
    """
    if output.element_type == pb.ELEMENT_TYPE_F32:
        return real_outputs(draw, entries)
    count = entries if draw(st.booleans()) else 1
    rng = generator(draw)
    usual = np.maximum(np.broadcast_to(np.asarray(magnitude, float), (entries,))[:count], 1)
    ratio = span(output) / usual * 2.0 ** rng.uniform(-4, 0, count)
    result = pb.Requantize(mode=draw(st.sampled_from(modes)), zero_point=output.zero_point)
    result.clamp_min, result.clamp_max = clamps(draw, output)
    wild = one_in(draw, 8)
    if result.mode == pb.Requantize.MODE_FLOAT:
        result.scale.extend(_float_scales(draw, rng, ratio, wild))
        return result
    if result.mode == pb.Requantize.MODE_DOUBLE:
        result.double_scale.extend(_float_scales(draw, rng, ratio, wild))
        return result
    if result.mode == pb.Requantize.MODE_TWICE_ROUNDED:
        twice_rounded(draw, rng, result, ratio, wild)
        return result
    if result.mode == pb.Requantize.MODE_FIXED:
        multipliers = fixed_multipliers(draw, rng, count)
        result.multiplier.extend(multipliers)
        ratio = ratio / np.maximum(np.abs(multipliers), 1)
    shift = rng.integers(0, 63, count) if wild else np.clip(np.rint(-np.log2(ratio)), 0, 62)
    result.shift.extend(int(s) for s in shift)
    return result


def weighted(draw: DrawFn, output: pb.Tensor, magnitude: ArrayLike, channels: int) -> pb.Requantize:
    """Of a layer with weights, which may add a real bias before it rounds."""
    result = requantizations(draw, output, magnitude, channels)
    is_integer = output.element_type != pb.ELEMENT_TYPE_F32
    if is_integer and result.mode == pb.Requantize.MODE_FLOAT and draw(st.booleans()):
        count = channels if draw(st.booleans()) else 1
        values = generator(draw).standard_normal(count) * span(output) / 4
        result.real_bias.extend(values.astype(np.float32).tolist())
    return result


def real_values(draw: DrawFn, output: pb.Tensor, scales: Sequence[float] = ()) -> pb.Requantize:
    """Mode REAL."""
    result = pb.Requantize(mode=pb.Requantize.MODE_REAL, zero_point=output.zero_point)
    result.clamp_min, result.clamp_max = clamps(draw, output)
    result.scale.extend(np.asarray(scales, np.float32).tolist())
    return result


def real_outputs(draw: DrawFn, entries: int) -> pb.Requantize:
    """Scales of every size, and biases or none, of an output that is not quantized."""
    rng = generator(draw)
    result = pb.Requantize(mode=pb.Requantize.MODE_FLOAT)
    count = entries if draw(st.booleans()) else 1
    ratio = 2.0 ** rng.uniform(-20, 0, count)
    result.scale.extend(_float_scales(draw, rng, ratio, one_in(draw, 8)))
    count = draw(st.sampled_from([0, 1, entries]))
    values = rng.standard_normal(count) * 2.0 ** rng.integers(-10, 30)
    result.real_bias.extend(values.astype(np.float32).tolist())
    return result


def weighted_types(draw: DrawFn) -> int:
    """Type of the output of a layer with weights: sometimes float32."""
    return pb.ELEMENT_TYPE_F32 if one_in(draw, 4) else int(draw(integer_types))


def twice_rounded(
    draw: DrawFn,
    rng: np.random.Generator,
    result: pb.Requantize,
    ratio: NDArray[np.float64],
    wild: bool,
) -> None:
    """Fills the lists with multipliers and shifts for ratios, or with any at all."""
    count = len(ratio)
    multipliers = np.array(fixed_multipliers(draw, rng, count), np.int64)
    exponent = np.rint(np.log2(ratio * 2.0**31 / np.maximum(np.abs(multipliers), 1)))
    left, right = np.clip(exponent, 0, 31), np.clip(-exponent, 0, 31)
    if wild:
        left, right = rng.integers(0, 32, count), rng.integers(0, 32, count)
    result.multiplier.extend(multipliers.tolist())
    result.left_shift.extend(int(shift) for shift in left)
    result.shift.extend(int(shift) for shift in right)


def make_quotient(requantize: pb.Requantize) -> None:
    """The mode QUOTIENT, whose divisors are the layer's own."""
    for name in ("multiplier", "left_shift", "shift", "scale", "double_scale"):
        requantize.ClearField(name)
    requantize.mode = pb.Requantize.MODE_QUOTIENT


def clamps(draw: DrawFn, output: pb.Tensor) -> tuple[int, int]:
    """The type's whole range, that of a ReLU, or any part of it."""
    low, high = limits_of(output.element_type)
    style = draw(st.sampled_from(["whole", "whole", "relu", "part"]))
    if style == "whole":
        return low, high
    if style == "relu":
        return output.zero_point, high
    first, second = sorted(draw(st.integers(low, high)) for _ in range(2))
    return first, second


def fixed_multipliers(draw: DrawFn, rng: np.random.Generator, count: int) -> list[int]:
    """Multipliers of a drawn number of bits, of either sign now and then."""
    bits = draw(st.integers(1, 31))
    values = rng.integers(1 << (bits - 1), 1 << bits, count)
    signs = rng.choice([-1, 1], count) if one_in(draw, 4) else 1
    multipliers: list[int] = (values * signs).tolist()
    return multipliers


def _float_scales(
    draw: DrawFn, rng: np.random.Generator, ratio: NDArray[np.float64], wild: bool
) -> list[float]:
    if wild:
        signs = rng.choice([-1, 0, 1], len(ratio))
        ratio = signs * 10.0 ** rng.uniform(-44, 38, len(ratio))
    elif draw(st.booleans()):
        ratio = 2.0 ** np.rint(np.log2(ratio))
    values: list[float] = ratio.astype(np.float32).tolist()
    return values
