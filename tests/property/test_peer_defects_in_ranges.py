"""Defects that other quantizers have in their choice of ranges, each as a fact that excludes it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from tidlq._core import TensorStatistics
from tidlq.precision.scales import asymmetric_feature, symmetric_feature
from tidlq.spec import FeatureQuant, Range, ScaleRule

NO_LEAST_SHIFT = -(2**31)
FORMS = {"asymmetric": (True, 0.0), "symmetric": (False, 0.0), "power of two": (False, 1.0)}
every_form = pytest.mark.parametrize("form", FORMS)


def statistics_of(*frames: NDArray[np.floating]) -> TensorStatistics:
    statistics = TensorStatistics()
    for frame in frames:
        statistics.update(frame.astype(np.float32))
    return statistics


def select(
    statistics: TensorStatistics, method: str, bits: int, form: str, parameter: float = 1.0
) -> Range:
    asymmetric, unit = FORMS[form]
    return Range(
        *statistics.select_range(method, bits, asymmetric, unit, NO_LEAST_SHIFT, parameter)
    )


def quant_of(value_range: Range, bits: int, form: str) -> FeatureQuant:
    if form == "asymmetric":
        return asymmetric_feature(value_range, bits)
    rule = ScaleRule.REAL if form == "symmetric" else ScaleRule.POWER_OF_TWO
    return symmetric_feature(value_range, bits, rule)


def error_of(values: NDArray[np.floating], quant: FeatureQuant) -> float:
    values = values.astype(np.float64)
    q = np.rint(values / quant.scale) + quant.zero_point
    codes = np.clip(q, quant.type.lowest, quant.type.highest) - quant.zero_point
    return float(np.mean((values - codes * quant.scale) ** 2))


@every_form
@pytest.mark.parametrize("outlier", [200.0, -200.0, 3e3, 1e5])
@pytest.mark.parametrize("count", [2_000, 100_000])
def test_defect_02_entropy_cuts_off_an_outlier_however_coarse_the_bins_are(form, outlier, count):
    """A search with a single candidate leaves the outlier in the range."""
    values = np.append(np.random.default_rng(0).normal(size=count), outlier)
    statistics = statistics_of(values)
    chosen = select(statistics, "entropy", 8, form)
    # Three bins are what the histogram can tell apart.
    assert max(-chosen.min, chosen.max) <= max(8.0, 3 * statistics.bin_width)
    whole = Range(statistics.min, statistics.max)
    inliers = values[:-1]
    error = error_of(inliers, quant_of(chosen, 8, form))
    assert error < 0.05 * error_of(inliers, quant_of(whole, 8, form))


def test_defect_02_entropy_has_more_than_one_candidate_at_every_width():
    values = np.random.default_rng(0).standard_t(3, 200_000)
    statistics = statistics_of(values)
    for bits in (4, 6, 7, 8):
        chosen = select(statistics, "entropy", bits, "symmetric")
        assert chosen.max < 0.5 * statistics.max


def test_defect_03_a_late_wide_frame_costs_neither_memory_nor_resolution():
    """Bins of the first frame's width would number seven million here."""
    random = np.random.default_rng(0)
    statistics = statistics_of(random.normal(0, 1e-3, 10_000), np.array([10.0]))
    assert len(statistics.counts) <= 4096
    assert 10 / 4096 <= statistics.bin_width <= 20 / 4096
    one_frame = len(statistics.to_bytes())
    for _ in range(20):
        statistics.update(random.normal(0, 1e-3, 10_000).astype(np.float32))
    assert len(statistics.to_bytes()) <= one_frame + 8
    chosen = select(statistics, "percentile", 8, "symmetric", 99.99)
    assert chosen.max <= 2 * statistics.bin_width


@every_form
@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_defect_07_a_range_lies_within_the_data_at_every_width(form, method, bits):
    """A search at 16 bits that returns 146 for data up to 4.6, or crashes."""
    random = np.random.default_rng(0)
    samples = [
        np.clip(random.normal(size=50_000), -4.5, 4.6),
        np.maximum(random.normal(size=50_000), 0),
        random.normal(size=3),
        np.array([4.6]),
        np.zeros(5),
    ]
    for values in samples:
        statistics = statistics_of(values)
        chosen = select(statistics, method, bits, form, 99.9)
        assert statistics.min <= chosen.min <= chosen.max <= statistics.max


@every_form
def test_defect_07_sixteen_bits_keep_nearly_all_of_the_range(form):
    values = np.clip(np.random.default_rng(0).normal(size=50_000), -4.5, 4.6)
    chosen = select(statistics_of(values), "mse", 16, form)
    assert chosen.max > 0.99 * values.max()
    assert error_of(values, quant_of(chosen, 16, form)) < 1e-8


@every_form
@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-12, 1e-25])
def test_defect_08_small_data_have_as_many_bins_as_any(form, size):
    """Bins no narrower than 1e-5 leave a tensor of range 1e-3 a hundred of them."""
    values = np.random.default_rng(0).laplace(size=50_000).astype(np.float32)
    plain, small = statistics_of(values), statistics_of(values * np.float32(size))
    assert len(small.counts) >= 2000
    if form != "power of two":
        one = select(plain, "mse", 8, form)
        other = select(small, "mse", 8, form)
        assert other.max == pytest.approx(one.max * size, rel=0.02)
        assert other.min == pytest.approx(one.min * size, rel=0.02)


@pytest.mark.parametrize("form", ["asymmetric", "symmetric"])
def test_defect_09_the_choice_is_made_for_the_bits_that_there_are(form):
    """A search with 256 levels, whatever the bits, gives every width the same range."""
    values = np.random.default_rng(0).laplace(size=100_000)
    statistics = statistics_of(values)
    chosen = {bits: select(statistics, "mse", bits, form) for bits in (4, 6, 8, 10, 16)}
    ends = [item.max for item in chosen.values()]
    assert all(fewer < more for fewer, more in itertools.pairwise(ends))
    for bits, other in itertools.product(chosen, chosen):
        own = error_of(values, quant_of(chosen[bits], bits, form))
        assert own <= 1.001 * error_of(values, quant_of(chosen[other], bits, form))


def test_defect_11_the_range_does_not_depend_on_batches_and_their_order():
    values = np.random.default_rng(0).laplace(size=60_000)
    whole = statistics_of(values)
    batched = statistics_of(*np.array_split(values, 60)[::-1])
    for method, form, bits in itertools.product(("mse", "percentile", "entropy"), FORMS, (8, 16)):
        arguments = (method, bits, form, 99.9)
        assert select(batched, *arguments) == select(whole, *arguments)
