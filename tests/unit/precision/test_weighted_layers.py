"""Weights whose biases and sums must fit, and the biases that a plan has room for."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.precision.accumulators import Interval, WeightSums
from tidlq.precision.weighted_layers import (
    BiasValues,
    WeightDecision,
    WeightedLayer,
    decide_weight,
)
from tidlq.precision.weights import bias_bits
from tidlq.spec import ChannelRanges, Range, Scheme, bias_integers
from tidlq.target import Options, scheme_of

BYTES = Interval(0, 255)
WORDS = Interval(0, 65535)


def scheme(scale_type: int, **options: object) -> Scheme:
    return scheme_of(Options.parse({"quantization_scale_type": scale_type, **options}))


def weighted(
    weight: NDArray[np.floating],
    bias: BiasValues,
    *,
    bits: tuple[int, int] = (8, 8),
    input_scale: float = 0.01,
    terms: Interval = BYTES,
) -> WeightedLayer:
    flat = weight.reshape(len(weight), -1).astype(np.float32)
    channels = ChannelRanges(flat.min(axis=1), flat.max(axis=1))
    whole = Range(float(flat.min()), float(flat.max()))
    return WeightedLayer("fc", weight, whole, channels, bias, input_scale, terms, *bits)


def decide(
    rules: Scheme,
    weight: NDArray[np.floating],
    bias: NDArray[np.float64] | None = None,
    **given: object,
) -> WeightDecision:
    values = BiasValues.of(bias, None, len(weight))
    return decide_weight(rules, weighted(weight, values, **given))  # type: ignore[arg-type]


def reach(decision: WeightDecision, weight: NDArray[np.floating]) -> int:
    return int(WeightSums.of(decision.weight.quantize(weight)).reach(BYTES).max())


# 70,000 largest products of 8 bits leave 32 bits; a second channel stays small.
LONG = np.stack([np.full(70_000, 0.5), np.linspace(-0.1, 0.1, 70_000)]).astype(np.float32)


@pytest.mark.parametrize("channel_wise", [False, True])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_an_accumulator_beyond_32_bits_makes_the_scale_coarser(
    scale_type: int, channel_wise: bool
) -> None:
    rules = dataclasses.replace(scheme(scale_type), channel_wise=channel_wise)
    decision = decide(rules, LONG)
    largest = 0.5 / (127 if scale_type == 4 else 128)
    assert decision.weight.scales[0] > largest
    assert decision.weight.scales[0] <= 2 * largest * (1 + 1e-6)
    assert reach(decision, LONG) <= 2**31 - 1
    assert 0 <= decision.headroom_bits < 1.01
    if scale_type == 1:
        assert {math.frexp(scale)[0] for scale in decision.weight.scales} == {0.5}
    if channel_wise:
        alone = decide(rules, LONG[1:])
        if scale_type == 4:
            assert decision.weight.scales[1] == alone.weight.scales[0]
        ratio = decision.weight.scales[0] / decision.weight.scales[1]
        assert scale_type == 4 or math.frexp(ratio)[0] == 0.5


def test_16_bit_operands_have_accumulators_of_64_bits() -> None:
    for bits in ((8, 16), (16, 8), (16, 16)):
        decision = decide(scheme(4), LONG, bits=bits)
        assert decision.weight.scales[0] == float(np.float32(0.5 / (2 ** (bits[1] - 1) - 1)))
        assert decision.headroom_bits > 15


def test_a_bias_and_its_sum_fit_together() -> None:
    # The bias alone fits 32 bits exactly; with the products it would not.
    bias = np.array([1.0])
    weight = np.full((1, 1000), 1e-9, np.float32)
    decision = decide(scheme(4), weight, bias)
    integer = bias_integers(bias, decision.weight, 0.01, 32)
    assert abs(int(integer[0])) + reach(decision, weight) <= 2**31 - 1


def test_a_layer_that_no_scale_can_save_is_refused_by_name() -> None:
    weight = np.broadcast_to(np.float32(1.0), (1, 2**24))
    with pytest.raises(ModelError, match=r"Layer 'fc' sums 16777216 products of 8 and 8 bits"):
        decide(scheme(4), weight)


def test_defect_10_the_bias_of_a_layer_promoted_to_16_bits_does_not_overflow() -> None:
    """At 16 bits the step of a bias shrinks, and a cast to int32 wraps."""
    bias, weight = np.array([40.0]), np.array([[0.01, -0.02]], np.float32)
    for device in (None, "AM68A"):
        rules = scheme(4, device=device)
        decision = decide(rules, weight, bias, bits=(16, 16), input_scale=1e-5, terms=WORDS)
        step = 1e-5 * decision.weight.scales[0]
        integer = int(bias_integers(bias, decision.weight, 1e-5, decision.bias_bits)[0])
        assert integer * step == pytest.approx(40.0, rel=1e-6)
        if device is None:
            assert 2**31 < integer <= 2**47
            assert decision.weight.scales[0] == float(np.float32(0.02 / 32767))
        else:
            # Devices add 32 bits: the weight's scale makes room instead.
            assert integer <= 2**31 - 1
            assert decision.weight.scales[0] > 0.02 / 32767


@pytest.mark.parametrize(
    ("options", "narrow", "wide"),
    [
        ({}, 32, 48),
        ({"device": "AM68A"}, 32, 32),
        ({"device": "TDA4VM"}, 16, 32),
        ({"device": "TDA4VM", "bias_clipping": 1}, 16, 32),
        ({"bias_clipping": 1}, 16, 48),
    ],
)
def test_bias_bits_by_device_and_operands(
    options: dict[str, object], narrow: int, wide: int
) -> None:
    rules = scheme(0, **options)
    assert bias_bits(rules) == narrow
    assert {bias_bits(rules, 8, 16), bias_bits(rules, 16, 8), bias_bits(rules, 16, 16)} == {wide}


def test_the_scale_holds_the_models_bias_and_the_one_that_stands_in_for_it() -> None:
    own, given = np.array([1.0, -2.0, 0.5]), (0.5, 3.0, -0.25)
    bias = BiasValues.of(own, given, 3)
    assert bias.values is not None
    assert bias.values.tolist() == list(given)
    assert bias.magnitudes.tolist() == [1.0, 3.0, 0.5]
    assert BiasValues.of(None, given, 3).magnitudes.tolist() == [0.5, 3.0, 0.25]
    assert BiasValues.of(None, None, 3).magnitudes.tolist() == [0.0, 0.0, 0.0]


values = st.floats(-2.0, 2.0, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)


@given(
    st.data(),
    st.sampled_from([0, 1, 4]),
    st.booleans(),
    st.sampled_from([(8, 8), (8, 16), (16, 16)]),
    st.sampled_from(["", "TDA4VM", "AM68A"]),
    st.booleans(),
    st.sampled_from([0.0, 1e-6, 1e-3]),
)
def test_biases_within_the_limits_change_no_scale(
    data: st.DataObject,
    scale_type: int,
    channel_wise: bool,
    bits: tuple[int, int],
    device: str,
    bias_clipping: bool,
    dead: float,
) -> None:
    device = "" if device == "TDA4VM" and scale_type == 4 else device
    rules = scheme(scale_type, device=device, bias_clipping=bias_clipping)
    rules = dataclasses.replace(rules, channel_wise=channel_wise)
    weight = np.array(
        data.draw(st.lists(st.lists(values, min_size=3, max_size=3), min_size=3, max_size=3))
    )
    weight[0] *= dead
    own = data.draw(st.none() | st.lists(values, min_size=3, max_size=3))
    own = None if own is None else np.array(own)
    terms = Interval(0, 2 ** bits[0] - 1)
    scale = data.draw(st.sampled_from([1e-7, 1e-4, 0.1]))

    def decided(given: list[float] | None) -> WeightDecision:
        bias = BiasValues.of(own, given, 3)
        return decide_weight(
            rules, weighted(weight, bias, bits=bits, terms=terms, input_scale=scale)
        )

    before = decided(None)
    shares = data.draw(
        st.lists(st.floats(-1.0, 1.0) | st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3)
    )
    given = [share * limit for share, limit in zip(shares, before.largest_bias, strict=True)]
    after = decided(given)
    assert after.weight == before.weight
    assert after.largest_bias == before.largest_bias
    # Nothing within the limits saturates, unless the model's own bias does.
    integers = bias_integers(np.array(given), after.weight, scale, after.bias_bits)
    steps = np.asarray(after.weight.scales) * scale
    is_own = np.abs(given) <= (0 if own is None else np.abs(own))
    assert np.all(is_own | (np.abs(integers * steps - given) <= steps * 0.51))
