"""Bounds of accumulators: never left, and reached by the extreme inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tidlq.graph.layers import (
    Clamp,
    ConvolutionAttributes,
    Layer,
    LayerKind,
    PadAttributes,
    PadMode,
    Window,
)
from tidlq.precision.accumulators import (
    Interval,
    WeightSums,
    accumulator_bits,
    headroom_bits,
    input_terms,
    output_integers,
)
from tidlq.spec import FeatureQuant, IntegerType

U8 = FeatureQuant(IntegerType(8, signed=False), 0.1, 100)


def terms() -> st.SearchStrategy[Interval]:
    ends = st.integers(-(2**16), 2**16)
    return st.tuples(ends, ends).map(lambda pair: Interval(min(pair), max(pair)))


def weights(bits: int) -> st.SearchStrategy[NDArray[np.signedinteger]]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=4, max_side=5)
    limit = 2 ** (bits - 1)
    return hnp.arrays(np.dtype(f"i{bits // 8}"), shapes, elements=st.integers(-limit, limit - 1))


@given(st.data(), st.sampled_from([8, 16]), terms())
def test_no_accumulator_leaves_its_bound(
    data: st.DataObject, bits: int, interval: Interval
) -> None:
    weight = data.draw(weights(bits))
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    bias = data.draw(hnp.arrays(np.int64, len(flat), elements=st.integers(-(2**47), 2**47)))
    elements = st.integers(interval.low, interval.high)
    x = data.draw(hnp.arrays(np.int64, flat.shape[1], elements=elements))
    low, high = WeightSums.of(weight).bounds(interval, bias)
    accumulators = flat @ x + bias
    assert np.all(low <= accumulators)
    assert np.all(accumulators <= high)


@given(st.data(), st.sampled_from([8, 16]), terms())
def test_extreme_inputs_reach_the_bound(data: st.DataObject, bits: int, interval: Interval) -> None:
    weight = data.draw(weights(bits))
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    low, high = WeightSums.of(weight).bounds(interval, 7)
    for channel, row in enumerate(flat):
        assert row @ np.where(row > 0, interval.high, interval.low) + 7 == high[channel]
        assert row @ np.where(row > 0, interval.low, interval.high) + 7 == low[channel]


def test_reach_is_the_larger_side() -> None:
    sums = WeightSums.of(np.array([[3, -5], [4, 1]], np.int8))
    assert sums.reach(Interval(-2, 10)).tolist() == [max(3 * 10 + 5 * 2, 3 * 2 + 5 * 10), 50]


def test_headroom_counts_the_bits_that_the_worst_channel_leaves() -> None:
    assert headroom_bits(np.array([-8, 0]), np.array([4, 2**11]), 32) == 20
    assert headroom_bits(np.array([0]), np.array([2**31 - 1]), 32) == pytest.approx(0, abs=1e-8)
    assert headroom_bits(np.array([0]), np.array([0]), 32) == 31


def test_a_16_bit_operand_widens_the_accumulator() -> None:
    assert accumulator_bits(8, 8) == 32
    assert {accumulator_bits(16, 8), accumulator_bits(8, 16), accumulator_bits(16, 16)} == {64}


def layer(kind: LayerKind, **attributes: object) -> Layer:
    return Layer("op", kind, "Op", ("op",), ("x",), "y", **attributes)  # type: ignore[arg-type]


def convolution(*pads: int) -> Layer:
    window = Window((3, 3), (1, 1), (1, 1), pads[:2], pads[2:], (2, 3))
    return layer(LayerKind.CONVOLUTION, attributes=ConvolutionAttributes(window, 1))


def test_a_type_limits_the_terms_of_a_weighted_layer() -> None:
    assert input_terms(convolution(0, 0, 0, 0), Interval(0, 255), 100) == Interval(-100, 155)


def test_padding_adds_the_term_zero() -> None:
    proven = Interval(120, 200)
    assert input_terms(convolution(0, 0, 0, 0), proven, 100) == Interval(20, 100)
    assert input_terms(convolution(0, 0, 1, 0), proven, 100) == Interval(0, 100)


def test_a_fused_clamp_limits_what_a_layer_writes() -> None:
    anything = Interval(0, 255)
    clamped = layer(LayerKind.CONVOLUTION, clamp=Clamp(0.0, 6.0))
    assert output_integers(clamped, U8, anything) == Interval(100, 160)
    relu = layer(LayerKind.SUM, clamp=Clamp(0.0))
    assert output_integers(relu, U8, anything) == Interval(100, 255)
    assert output_integers(layer(LayerKind.SUM), U8, Interval(3, 4)) == anything


def test_moved_and_selected_values_stay_within_those_read() -> None:
    proven = Interval(100, 160)
    for kind in (LayerKind.MAX_POOL, LayerKind.RESHAPE, LayerKind.SLICE, LayerKind.RESIZE):
        assert output_integers(layer(kind), U8, proven) == proven


@pytest.mark.parametrize(
    ("mode", "value", "low"),
    [
        (PadMode.EDGE, 0.0, 120),
        (PadMode.CONSTANT, 0.0, 100),
        (PadMode.CONSTANT, -float("inf"), 0),
    ],
)
def test_a_pad_adds_what_it_writes(mode: PadMode, value: float, low: int) -> None:
    pad = layer(LayerKind.PAD, attributes=PadAttributes((1,), (1,), mode, value))
    assert output_integers(pad, U8, Interval(120, 160)) == Interval(low, 160)
