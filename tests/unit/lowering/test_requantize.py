"""Multipliers and shifts from real ratios."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.graph.layers import Clamp
from tidlq.lowering.requantize import (
    by_operand,
    by_ratio,
    by_shift,
    clamp_integers,
    fixed_multipliers,
    to_real,
)
from tidlq.spec import FeatureQuant, IntegerType, Requantization


def fixed_multiplier(ratio: float) -> tuple[int, int]:
    multipliers, shifts = fixed_multipliers(np.array([ratio]))
    return int(multipliers[0]), int(shifts[0])


U8 = FeatureQuant(IntegerType(8, signed=False), 0.5, 10)


@given(st.floats(2.0**-31, 2.0**30))
def test_multiplier_is_within_half_a_unit_of_31_bits(ratio: float) -> None:
    multiplier, shift = fixed_multiplier(ratio)
    assert 0 <= shift <= 62
    assert abs(multiplier) <= 2**31 - 1
    assert abs(Fraction(multiplier, 2**shift) - Fraction(ratio)) <= Fraction(ratio) / 2**31


@pytest.mark.parametrize("exponent", range(-62, 31))
def test_powers_of_two_are_exact(exponent: int) -> None:
    multiplier, shift = fixed_multiplier(2.0**exponent)
    assert Fraction(multiplier, 2**shift) == Fraction(2) ** exponent


def test_ratio_just_below_a_power_of_two_does_not_overflow() -> None:
    multiplier, shift = fixed_multiplier(1.0 - 2.0**-53)
    assert (multiplier, shift) == (2**30, 30)


@pytest.mark.parametrize("ratio", [2.0**31 - 0.5, 2.0**31, 2.0**64, 1e300])
def test_ratios_beyond_31_bits_become_the_largest_multiplier(ratio: float) -> None:
    assert fixed_multiplier(ratio) == (2**31 - 1, 0)
    assert fixed_multiplier(-ratio) == (-(2**31) + 1, 0)


@pytest.mark.parametrize("ratio", [float("inf"), float("nan")])
def test_ratios_that_are_not_finite_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        fixed_multiplier(ratio)


def test_shifts_beyond_62_bits_become_62() -> None:
    assert list(by_shift([0, 62, 134], U8).shift) == [0, 62, 62]


def test_clamp_integers_follow_zero_point_and_open_sides() -> None:
    assert clamp_integers(U8, None) == (0, 255)
    assert clamp_integers(U8, Clamp(low=0.0)) == (10, 255)
    assert clamp_integers(U8, Clamp(low=0.0, high=6.0)) == (10, 22)
    assert clamp_integers(U8, Clamp(high=-1e9)) == (0, 0)


def test_a_sum_has_one_shift_and_signed_multipliers() -> None:
    message = by_operand(Requantization.FIXED, [0.5, -0.25], U8)
    assert len(message.shift) == 1
    assert message.multiplier[0] == -2 * message.multiplier[1]
    assert Fraction(message.multiplier[0], 2 ** message.shift[0]) == 1


@given(
    st.floats(1e-6, 1.0),
    st.floats(2.0**-20, 2.0**6),
    st.floats(2.0**-20, 2.0**6),
    st.integers(-65535, 65535),
    st.integers(-65535, 65535),
)
def test_a_sum_of_16_bit_operands_is_right_to_a_hundredth_of_a_step(
    step: float, first: float, second: float, q0: int, q1: int
) -> None:
    output = FeatureQuant(IntegerType(16, signed=False), step, 0)
    scales = [first * step, -second * step]
    message = by_operand(Requantization.FIXED, scales, output)
    total = message.multiplier[0] * q0 + message.multiplier[1] * q1
    exact = Fraction(scales[0]) * q0 + Fraction(scales[1]) * q1
    # Ratios up to 64 take 6 of the multiplier's 30 bits.
    error = Fraction(total, 2 ** message.shift[0]) - exact / Fraction(step)
    assert abs(error) <= 2 * 65535 * 2.0**-24


@given(st.floats(2.0**-46, 2.0**-8), st.integers(-(2**46), 2**46))
def test_an_accumulator_of_16_bit_operands_keeps_its_step(ratio: float, accumulator: int) -> None:
    multiplier, shift = fixed_multiplier(ratio)
    q = accumulator * Fraction(ratio)
    if abs(q) <= 65535:
        assert abs(accumulator * Fraction(multiplier, 2**shift) - q) <= 2.0**-14


def test_a_sum_of_coarse_operands_saturates_its_multipliers() -> None:
    message = by_operand(Requantization.FIXED, [2.0**64, -(2.0**40), 0.5], U8)
    assert list(message.multiplier) == [2**30, -(2**30), 1]
    assert list(message.shift) == [0]


def test_float_ratios_are_computed_in_float32() -> None:
    message = by_ratio(Requantization.FLOAT, [(0.1, 0.3)], U8)
    product = np.float32(0.1) * np.float32(0.3)
    assert message.scale[0] == np.float32(product / np.float32(0.5))


def test_float_ratios_beyond_float32_become_its_largest_number() -> None:
    tiny = FeatureQuant(IntegerType(8, signed=False), 2.0**-100)
    message = by_ratio(Requantization.FLOAT, [(1e20, 1e18), (-1e20, 1e18)], tiny)
    largest = float(np.finfo(np.float32).max)
    assert list(message.scale) == [largest, -largest]


def test_scales_of_a_float32_output_are_multiplied_in_float32() -> None:
    message = to_real([(0.1, 0.3), (1e30, 1e30)], [0.1, -2.0])
    largest = np.finfo(np.float32).max
    assert list(message.scale) == [np.float32(0.1) * np.float32(0.3), largest]
    assert list(message.real_bias) == [np.float32(0.1), -2.0]
    assert (message.zero_point, message.clamp_min, message.clamp_max) == (0, 0, 0)
    assert list(to_real([(0.5, 0.5)]).real_bias) == []
