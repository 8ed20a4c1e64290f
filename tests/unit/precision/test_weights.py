"""Weight scales and biases that must fit."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.precision.weights import bias_bits, weight_quant
from tidlq.spec import Range, Scheme
from tidlq.target import Options, scheme_of

WIDE = Range(-1.0, 1.0)


def scheme(scale_type: int, **options: object) -> Scheme:
    return scheme_of(Options.parse({"quantization_scale_type": scale_type, **options}))


def test_a_bias_too_large_for_16_bits_makes_the_scale_coarser() -> None:
    bias = np.array([1000.0])
    for scale_type in (0, 1):
        rules = scheme(scale_type, device="TDA4VM")
        quant = weight_quant(rules, 8, WIDE, (), bias, input_scale=0.001)
        assert abs(1000.0 / (0.001 * quant.scales[0])) <= 32767
        assert quant.scales[0] > 1 / 127


def test_bias_clipping_leaves_the_scale_to_the_weights() -> None:
    rules = scheme(0, device="TDA4VM", bias_clipping=1)
    quant = weight_quant(rules, 8, WIDE, (), np.array([1000.0]), input_scale=0.001)
    assert quant.scales == (1 / 128,)
    assert bias_bits(rules) == 16


def test_a_near_dead_channel_gets_a_scale_that_its_bias_fits() -> None:
    channels = (WIDE, Range(-1e-12, 1e-12))
    quant = weight_quant(scheme(4), 8, WIDE, channels, np.array([0.1, 0.5]), input_scale=0.01)
    assert quant.scales[0] == float(np.float32(1 / 127))
    assert 0.5 / (0.01 * quant.scales[1]) <= 2**31 - 1


def test_a_channel_without_weights_keeps_its_bias_precise() -> None:
    channels = (WIDE, Range(0.0, 0.0))
    quant = weight_quant(scheme(4), 8, WIDE, channels, np.array([0.1, 0.5]), input_scale=0.01)
    step = 0.01 * quant.scales[1]
    assert abs(round(0.5 / step) * step - 0.5) < 1e-6


def test_type_1_scales_are_powers_of_two_even_when_the_bias_moves_them() -> None:
    quant = weight_quant(
        scheme(1, device="TDA4VM"), 8, WIDE, (), np.array([777.0]), input_scale=0.001
    )
    assert math.frexp(quant.scales[0])[0] == 0.5


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=8),
    st.sampled_from([0, 1]),
    st.floats(1e-4, 1.0),
)
def test_channel_scales_of_shift_schemes_differ_by_powers_of_two(
    magnitudes: list[float], scale_type: int, input_scale: float
) -> None:
    rules = dataclasses.replace(scheme(scale_type), channel_wise=True)
    channels = [Range(-m, m) for m in magnitudes]
    whole = Range(-max(magnitudes), max(magnitudes))
    quant = weight_quant(rules, 8, whole, channels, None, input_scale)
    for scale, magnitude in zip(quant.scales, magnitudes, strict=True):
        ratio = max(quant.scales) / scale
        assert math.frexp(ratio)[0] == 0.5
        # Never finer than the channel needs, up to the rounding of float32.
        assert magnitude / scale <= 128 * (1 + 1e-5)


@given(st.lists(st.floats(-2.0, 2.0), min_size=2, max_size=9))
def test_quantized_weights_are_nearest_and_saturate(values: list[float]) -> None:
    quant = weight_quant(scheme(4), 8, WIDE, (WIDE,), None, 1.0)
    array = np.array([values])
    q = quant.quantize(array)
    assert q.min() >= -127
    assert q.max() <= 127
    inside = np.abs(array) <= 1.0
    assert np.all(np.abs(q * quant.scales[0] - array)[inside] <= quant.scales[0] / 2 + 1e-9)


def test_a_clipped_bias_of_a_channel_without_weights_fits_its_16_bits() -> None:
    rules = scheme(4, bias_clipping=1)
    channels = (WIDE, Range(0.0, 0.0))
    quant = weight_quant(rules, 8, WIDE, channels, np.array([0.1, 3.0]), input_scale=0.01)
    step = 0.01 * quant.scales[1]
    assert round(3.0 / step) <= 32767
    assert abs(round(3.0 / step) * step - 3.0) < 1e-3


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_pruned_channel_does_not_coarsen_the_others(scale_type: int) -> None:
    rules = dataclasses.replace(scheme(scale_type), channel_wise=True)
    small = Range(-0.01, 0.01)
    quant = weight_quant(rules, 8, small, (small, Range(0.0, 0.0)), None, input_scale=0.01)
    assert max(quant.scales) <= 0.01 / 64
