"""The native statistics, through their Python door, against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tidlq._core import ErrorStatistics, TensorStatistics
from tidlq.errors import DataError

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=9), elements=FINITE)


def statistics_of(*frames: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    for frame in frames:
        statistics.update(frame)
    return statistics


def state_of(statistics: TensorStatistics) -> tuple[object, ...]:
    return (
        statistics.min,
        statistics.max,
        statistics.count,
        statistics.zeros,
        statistics.sum,
        statistics.sum_of_squares,
        statistics.bin_width,
        statistics.first_bin,
        tuple(statistics.counts),
    )


@given(ARRAYS)
def test_a_frame_is_described_exactly(values):
    statistics = TensorStatistics()
    assert statistics.update(values) == (values.min(), values.max())
    flat = values.ravel().tolist()
    assert (statistics.min, statistics.max) == (values.min(), values.max())
    assert statistics.count == len(flat)
    assert statistics.zeros == flat.count(0.0)
    assert statistics.sum == float(sum(map(Fraction, flat)))
    assert statistics.sum_of_squares == float(sum(Fraction(x) ** 2 for x in flat))


@given(ARRAYS)
def test_the_histogram_is_the_finest_that_the_rules_allow(values):
    statistics = statistics_of(values)
    width = statistics.bin_width
    nonzero = [Fraction(x) for x in values.ravel().tolist() if x]
    if not nonzero:
        assert (width, len(statistics.counts)) == (0, 0)
        return
    assert math.frexp(width)[0] == 0.5
    low, high = min(Fraction(float(values.min())), 0), Fraction(float(values.max()))
    low = Fraction(float(values.min()))
    first = math.floor(low / Fraction(width))
    assert statistics.first_bin == first
    assert len(statistics.counts) == math.floor(high / Fraction(width)) - first + 1 <= 4096
    expected = np.zeros(len(statistics.counts), np.uint64)
    for value in nonzero:
        expected[math.floor(value / Fraction(width)) - first] += 1
    np.testing.assert_array_equal(statistics.counts, expected)
    half = Fraction(width) / 2
    too_many = math.floor(high / half) - math.floor(low / half) >= 4096
    too_fine = max(abs(low), abs(high)) / half >= 2**24 or half < Fraction(2) ** -149
    assert too_many or too_fine


@given(st.lists(ARRAYS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_and_sharding_leave_no_trace(frames, random):
    whole = statistics_of(*frames)
    shuffled = random.sample(frames, len(frames))
    cut = random.randint(0, len(frames))
    left, right = statistics_of(*shuffled[:cut]), statistics_of(*shuffled[cut:])
    left.merge(right)
    assert state_of(left) == state_of(whole)


@given(ARRAYS)
def test_the_layout_in_memory_leaves_no_trace(values):
    assert state_of(statistics_of(values.T)) == state_of(statistics_of(values))
    assert state_of(statistics_of(values[::-1])) == state_of(statistics_of(values))


def test_merging_with_itself_counts_twice():
    values = np.array([1, 2, 0, -3], np.float32)
    statistics = statistics_of(values)
    statistics.merge(statistics)
    assert state_of(statistics) == state_of(statistics_of(values, values))


def test_values_that_are_not_finite_are_counted_apart():
    statistics = TensorStatistics()
    assert statistics.update(np.array([np.nan, 2, np.inf, -1, -np.inf], np.float32)) == (-1, 2)
    assert (statistics.nan_count, statistics.inf_count, statistics.count) == (1, 2, 2)


@pytest.mark.parametrize("values", [[], [np.nan, np.inf]])
def test_a_frame_without_a_finite_value_has_no_extremes(values):
    statistics = TensorStatistics()
    assert np.isnan(statistics.update(np.array(values, np.float32))).all()
    assert np.isnan([statistics.min, statistics.max]).all()
    assert (statistics.count, statistics.bin_width, statistics.first_bin) == (0, 0, 0)


@given(hnp.arrays(np.float32, (2, 60), elements=st.floats(-99, 99, width=32)))
def test_errors_equal_double_precision(pair):
    reference, value = pair.astype(np.float64)
    statistics = ErrorStatistics()
    statistics.update(*pair)
    error = float(np.square(value - reference).sum())
    assert statistics.count == 60
    assert statistics.max_abs_error == np.abs(value - reference).max()
    assert statistics.mean_squared_error == pytest.approx(error / 60, rel=1e-12)
    norms = float(np.sqrt(np.square(reference).sum() * np.square(value).sum()))
    if norms:
        assert statistics.cosine == pytest.approx(float(reference @ value) / norms, abs=1e-12)
    if error and reference.any():
        ratio = float(np.square(reference).sum()) / error
        assert statistics.sqnr_db == pytest.approx(10 * math.log10(ratio), abs=1e-9)


def test_errors_of_transposed_arrays_pair_elements_by_position():
    reference = np.arange(6, dtype=np.float32).reshape(2, 3)
    statistics = ErrorStatistics()
    statistics.update(reference.T, np.ascontiguousarray(reference.T))
    assert (statistics.mean_squared_error, statistics.sqnr_db) == (0, math.inf)


def test_arrays_of_different_shapes_have_no_error():
    with pytest.raises(DataError, match=r"\[3, 2\].*\[2, 3\]"):
        ErrorStatistics().update(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))
