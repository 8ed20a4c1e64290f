"""Schemes of TIDL's scale types."""

from __future__ import annotations

import pytest

from tidlq.errors import OptionError
from tidlq.spec import Requantization, ScaleRule
from tidlq.target import Device, Options, RequantizationChoice, scheme_of


@pytest.mark.parametrize(("scale_type", "rule"), [(0, ScaleRule.REAL), (1, ScaleRule.POWER_OF_TWO)])
def test_types_0_and_1_shift_the_accumulators_scale(scale_type: int, rule: ScaleRule) -> None:
    scheme = scheme_of(Options(quantization_scale_type=scale_type))
    assert not scheme.asymmetric_features
    assert not scheme.channel_wise
    assert scheme.feature_rule is ScaleRule.SHIFTED_ACCUMULATOR
    assert scheme.free_rule is scheme.weight_rule is rule
    assert scheme.requantization is Requantization.SHIFT
    assert scheme.full_weight_code


def test_type_4_is_asymmetric_and_per_channel_with_real_scales() -> None:
    scheme = scheme_of(Options(quantization_scale_type=4))
    assert scheme.asymmetric_features
    assert scheme.channel_wise
    assert scheme.feature_rule is scheme.free_rule is scheme.weight_rule is ScaleRule.REAL
    assert scheme.requantization is Requantization.FIXED
    assert not scheme.full_weight_code


def test_type_4_requantizes_in_float_when_asked() -> None:
    options = Options(quantization_scale_type=4, requantization=RequantizationChoice.FLOAT)
    assert scheme_of(options).requantization is Requantization.FLOAT


@pytest.mark.parametrize("scale_type", [0, 1])
def test_channel_wise_quantization_applies_to_symmetric_types(scale_type: int) -> None:
    options = Options(quantization_scale_type=scale_type, channel_wise_quantization=True)
    assert scheme_of(options).channel_wise


@pytest.mark.parametrize(
    ("device", "bits"), [(None, 32), (Device.TDA4VM, 16), (Device.AM62A, 32), (Device.AM69A, 32)]
)
def test_bias_bits_are_those_of_the_device(device: Device | None, bits: int) -> None:
    assert scheme_of(Options(device=device)).bias_bits == bits


@pytest.mark.parametrize("is_clipped", [False, True])
def test_bias_clipping_is_the_option(is_clipped: bool) -> None:
    assert scheme_of(Options(bias_clipping=is_clipped)).bias_clipping is is_clipped


def test_every_combination_has_its_own_name() -> None:
    names = {
        scheme_of(Options(quantization_scale_type=kind, channel_wise_quantization=wise)).name
        for kind, wise in [(0, False), (0, True), (1, False), (1, True), (4, False)]
    }
    assert len(names) == 5


def test_type_without_a_scheme_is_an_option_error() -> None:
    unchecked = Options().model_copy(update={"quantization_scale_type": 3})
    with pytest.raises(OptionError, match="this version supports 0, 1 and 4"):
        scheme_of(unchecked)
