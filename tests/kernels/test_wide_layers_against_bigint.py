"""Layers too large for random drawing: full register tiles, and sums at the ends of 32 bits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oracle.bigint import evaluate
from oracle.bigint.tensors import DTYPES, limits_of
from oracle.comparison import first_difference
from oracle.networks import NetworkBuilder
from oracle.networks.pairs import PAIR_KINDS, every_pair
from tidlq.lowering import network_pb2 as pb

MODES = {
    "shift": pb.Requantize.MODE_SHIFT,
    "fixed": pb.Requantize.MODE_FIXED,
    "float": pb.Requantize.MODE_FLOAT,
}
TYPES = {
    "u8": pb.ELEMENT_TYPE_U8,
    "s8": pb.ELEMENT_TYPE_S8,
    "u16": pb.ELEMENT_TYPE_U16,
    "s16": pb.ELEMENT_TYPE_S16,
}
# Most that one U8 x S8 product can be, and how many of them an int32 holds.
LARGEST_PRODUCT = 255 * 127
FITTING_TERMS = (2**31 - 1) // LARGEST_PRODUCT


def _requantize(mode: int, output: pb.Tensor, ratios: NDArray[np.float64]) -> pb.Requantize:
    """acc * ratio, as exactly as the mode can say it."""
    low, high = limits_of(output.element_type)
    result = pb.Requantize(mode=mode, zero_point=output.zero_point, clamp_min=low, clamp_max=high)
    exponent = -np.floor(np.log2(ratios)).astype(int)
    if mode == pb.Requantize.MODE_FLOAT:
        result.scale.extend(ratios.astype(np.float32).tolist())
    elif mode == pb.Requantize.MODE_FIXED:
        shift = np.clip(exponent + 29, 0, 62)
        result.multiplier.extend(np.rint(ratios * 2.0**shift).astype(int).tolist())
        result.shift.extend(shift.tolist())
    else:
        result.shift.extend(np.clip(exponent, 0, 62).tolist())
    return result


def _convolution(
    input_type: str,
    weight_type: str,
    mode: str,
    shape: tuple[int, ...],
    groups: int,
    channels_out: int,
    kernel: int,
    stride: int,
) -> tuple[pb.Network, dict[str, NDArray[np.generic]]]:
    rng = np.random.default_rng(7)
    net = NetworkBuilder()
    low, high = limits_of(TYPES[input_type])
    net.input(TYPES[input_type], shape, 1.0, int(rng.integers(low, high + 1)))
    weight_low, weight_high = limits_of(TYPES[weight_type])
    weight_shape = (channels_out, kernel, kernel, shape[3] // groups)
    weight = rng.integers(weight_low, weight_high + 1, weight_shape)
    net.constant(weight.astype(DTYPES[TYPES[weight_type]]))
    pad = kernel // 2
    sizes = [(size + 2 * pad - kernel) // stride + 1 for size in shape[1:3]]
    output = net.feature(TYPES[input_type], (shape[0], *sizes, channels_out), 1.0, low + 3)
    usual = (high - low) / 3 * weight_high / 2 * np.sqrt(weight[0].size)
    ratios = (high - low) / usual * rng.uniform(0.02, 0.3, channels_out)
    layer = pb.Convolution(
        weight=1,
        bias=rng.integers(-int(usual), int(usual) + 1, channels_out).tolist(),
        stride=[stride, stride],
        dilation=[1, 1],
        pad=[pad, pad],
        groups=groups,
        requantize=_requantize(MODES[mode], net.tensor(output), ratios),
    )
    net.layer([0], output, convolution=layer)
    x = rng.integers(low, high + 1, shape).astype(DTYPES[TYPES[input_type]])
    return net.finish(), {"t0": x}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight_type", ["s8", "s16"])
@pytest.mark.parametrize("input_type", TYPES)
@pytest.mark.parametrize(
    ("shape", "groups", "channels_out", "kernel", "stride"),
    [
        ((1, 15, 17, 3), 1, 32, 3, 2),
        ((1, 13, 14, 40), 1, 72, 3, 1),
        ((2, 12, 11, 96), 1, 50, 1, 1),
        ((1, 19, 21, 48), 48, 48, 3, 1),
        ((1, 20, 18, 35), 35, 70, 5, 2),
        ((1, 10, 12, 64), 4, 24, 3, 1),
    ],
    ids=["first", "dense", "pointwise", "depthwise", "depthwise doubled", "grouped"],
)
def test_convolution_of_usual_size_equals_the_oracle(
    input_type: str,
    weight_type: str,
    mode: str,
    shape: tuple[int, ...],
    groups: int,
    channels_out: int,
    kernel: int,
    stride: int,
) -> None:
    network, arrays = _convolution(
        input_type, weight_type, mode, shape, groups, channels_out, kernel, stride
    )
    assert first_difference(network, arrays) is None


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_float_sums_and_products_of_every_pair_equal_the_oracle(kind: str, seed: int) -> None:
    network, arrays = every_pair(kind, seed)
    assert first_difference(network, arrays) is None


def _full_inner_product(
    input_type: str, weight_type: str, terms: int, sign: int, bias: int, mode: str
) -> str | None:
    """Every input and weight at its end, so the sum is as large as it can be."""
    net = NetworkBuilder()
    low, high = limits_of(TYPES[input_type])
    zero_point = low if sign > 0 else high
    net.input(TYPES[input_type], (1, terms), 1.0, zero_point)
    weight_high = limits_of(TYPES[weight_type])[1]
    rows = np.full((3, terms), weight_high)
    rows[1] = -weight_high
    rows[2, ::2] = -weight_high
    net.constant(rows.astype(DTYPES[TYPES[weight_type]]))
    output = net.feature(pb.ELEMENT_TYPE_S16, (1, 3), 1.0, 0)
    most = (high - low) * weight_high * terms + abs(bias)
    ratios = np.full(1, 30000 / most)
    layer = pb.InnerProduct(
        weight=1,
        bias=[sign * bias, -sign * bias, bias],
        requantize=_requantize(MODES[mode], net.tensor(output), ratios),
    )
    net.layer([0], output, inner_product=layer)
    x = np.full((1, terms), high if sign > 0 else low, DTYPES[TYPES[input_type]])
    return first_difference(net.finish(), {"t0": x})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("terms", [FITTING_TERMS, FITTING_TERMS + 1, 2 * FITTING_TERMS + 5])
def test_8_bit_sums_around_the_end_of_32_bits_are_exact(terms: int, sign: int, mode: str) -> None:
    assert _full_inner_product("u8", "s8", terms, sign, 0, mode) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bias", [2**31 - 1, 2**31, 2**33, 2**47])
def test_bias_may_carry_a_small_sum_beyond_32_bits(bias: int, sign: int, mode: str) -> None:
    assert _full_inner_product("u8", "s8", 16, sign, bias, mode) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight_type", ["s8", "s16"])
@pytest.mark.parametrize("input_type", ["u16", "s16"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("terms", [1, 2, 255, 256, 257, 4096])
def test_16_bit_sums_are_exact(
    terms: int, sign: int, input_type: str, weight_type: str, mode: str
) -> None:
    assert _full_inner_product(input_type, weight_type, terms, sign, 0, mode) is None


@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("exponent", [19, 20, 26, 30, 40])
def test_sum_halfway_between_two_float32_goes_to_the_even_one(exponent: int, offset: int) -> None:
    # 100.5 steps of 2^exponent: a float32 one unit larger, and no smaller one, rounds to 101.
    half_unit = 1 << (exponent + 6 - 24)
    acc = 201 * (1 << (exponent - 1)) + half_unit + offset
    net = NetworkBuilder()
    net.input(pb.ELEMENT_TYPE_S8, (1, 1))
    net.constant(np.ones((2, 1), np.int8))
    output = net.feature(pb.ELEMENT_TYPE_S16, (1, 2))
    ratio = np.full(1, 2.0**-exponent)
    layer = pb.InnerProduct(
        weight=1,
        bias=[acc, -acc],
        requantize=_requantize(pb.Requantize.MODE_FLOAT, net.tensor(output), ratio),
    )
    net.layer([0], output, inner_product=layer)
    arrays = {"t0": np.zeros((1, 1), np.int8)}
    expected = 101 if offset > 0 else 100
    assert evaluate(net.network, arrays)["t2"].tolist() == [[expected, -expected]]
    assert first_difference(net.finish(), arrays) is None
