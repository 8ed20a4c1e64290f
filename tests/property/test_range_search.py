"""The native searches for ranges, against brute force on the raw data and the planner's scales."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidlq._core import TensorStatistics, select_weight_range
from tidlq.errors import ArtifactError, DataError, OptionError
from tidlq.precision.scales import (
    asymmetric_feature,
    parameter_scales,
    shifted_feature,
    symmetric_feature,
)
from tidlq.spec import FeatureQuant, Range, ScaleRule

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

NO_LEAST_SHIFT = -(2**31)
COUNT = 20_000


def any_data() -> dict[str, Float32]:
    random = np.random.default_rng(7)
    normal = random.normal(size=COUNT)
    bounded = np.clip(random.normal(1, 2, COUNT), 0, 6)
    data = {
        "normal": normal,
        "laplace": random.laplace(size=COUNT),
        "student": random.standard_t(3, COUNT),
        "relu": np.maximum(normal - 0.5, 0),
        "relu6": bounded,
        "silu": normal * 3 / (1 + np.exp(-normal * 3)),
        "uniform": random.uniform(-1, 3, COUNT),
        "negative": -np.abs(normal) - 0.5,
        "far": random.uniform(100, 101, COUNT),
        "tiny": normal * 1e-28,
        "subnormal": normal * 1e-40,
        "huge": random.laplace(size=COUNT) * 1e30,
        "constant": np.full(50, -2.5),
        "single": np.array([0.3]),
        "outlier": np.append(normal, 40.0),
        "two values": np.repeat([0.5, 3.0], [5000, 3]),
    }
    return {name: values.astype(np.float32) for name, values in data.items()}


DATA = any_data()
every_data = pytest.mark.parametrize("name", sorted(DATA))


def statistics_of(*frames: Float32) -> TensorStatistics:
    statistics = TensorStatistics()
    for frame in frames:
        statistics.update(frame)
    return statistics


def select(
    values: Float32,
    method: str,
    bits: int = 8,
    *,
    asymmetric: bool = False,
    unit: float = 0.0,
    least_shift: int = NO_LEAST_SHIFT,
    parameter: float = 1.0,
) -> Range:
    chosen = statistics_of(values).select_range(
        method, bits, asymmetric, unit, least_shift, parameter
    )
    assert chosen == tuple(map(float, np.float32(chosen)))
    return Range(*chosen)


def error_of(values: Float32, quant: FeatureQuant, weight: float = 1.0) -> float:
    """Mean squared error relative to the largest value; what saturates counts with a weight."""
    unit = float(np.abs(values).max())
    q = np.rint(values.astype(np.float64) / quant.scale) + quant.zero_point
    codes = np.clip(q, quant.type.lowest, quant.type.highest) - quant.zero_point
    error = (values - codes * quant.scale) / unit
    low = (quant.type.lowest - quant.zero_point) * quant.scale
    high = (quant.type.highest - quant.zero_point) * quant.scale
    saturated = (values < low) | (values > high)
    return float(np.mean(error**2 * np.where(saturated, weight, 1.0)))


def ends(value: float, steps: int) -> Float32:
    """The end of a range at many places between its own and a twentieth of it."""
    return np.float32(value) * np.linspace(1, 0.05, steps, dtype=np.float32)


def symmetric_ranges(values: Float32) -> Iterator[Range]:
    low, high = float(values.min()), float(values.max())
    for end in ends(max(-low, high), 400):
        clipped = Range(max(low, -end), max(max(low, -end), min(high, end)))
        yield clipped
        if low < 0 < high:
            yield Range(0.0, clipped.max)


def asymmetric_ranges(values: Float32) -> Iterator[Range]:
    low, high = float(values.min()), float(values.max())
    lows = ends(low, 25) if low < 0 else np.float32([low])
    highs = ends(high, 25) if high > 0 else np.float32([high])
    for begin in lows:
        for end in highs:
            if begin <= end:
                yield Range(float(begin), float(end))


@every_data
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_no_symmetric_range_has_a_much_smaller_error(name, bits, weight):
    values = DATA[name]
    rule = ScaleRule.REAL
    chosen = select(values, "mse", bits, parameter=weight)
    error = error_of(values, symmetric_feature(chosen, bits, rule), weight)
    candidates = [symmetric_feature(item, bits, rule) for item in symmetric_ranges(values)]
    best = min(error_of(values, quant, weight) for quant in candidates)
    assert error <= 1.03 * best + quantum(values, bits)


@every_data
@pytest.mark.parametrize("bits", [8, 16])
def test_no_asymmetric_range_has_a_much_smaller_error(name, bits):
    values = DATA[name]
    chosen = select(values, "mse", bits, asymmetric=True)
    error = error_of(values, asymmetric_feature(chosen, bits))
    candidates = [asymmetric_feature(item, bits) for item in asymmetric_ranges(values)]
    best = min(error_of(values, quant) for quant in candidates)
    assert error <= 1.03 * best + quantum(values, bits)


def quantum(values: Float32, bits: int) -> float:
    """What a histogram cannot see: the places of few distinct values inside of their bins."""
    return 0.1 * 4.0**-bits if len(np.unique(values)) < 100 else 0.0


@every_data
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("unit", "least_shift"), [(1.0, NO_LEAST_SHIFT), (0.0123, -4)])
def test_no_other_multiple_of_the_unit_has_a_smaller_error(name, bits, unit, least_shift):
    values = DATA[name]
    chosen = select(values, "mse", bits, unit=unit, least_shift=least_shift)
    quant, _ = shifted_feature(chosen, unit, bits, least_shift)
    error = error_of(values, quant)
    low, high = float(values.min()), float(values.max())
    whole, coarsest = shifted_feature(Range(low, high), unit, bits, least_shift)
    others = [whole]
    for shift in range(max(least_shift, coarsest - 8), coarsest + 1):
        scale = math.ldexp(unit, shift)
        for reach in {whole.type.signed, low < 0}:
            type_ = type(whole.type)(bits, reach)
            begin, end = type_.lowest * scale, type_.highest * scale
            clipped = Range(min(max(low, begin), high), max(low, min(high, end)))
            others.append(shifted_feature(clipped, unit, bits, least_shift)[0])
    assert error <= 1.02 * min(error_of(values, other) for other in others) + quantum(values, bits)


DISTRIBUTIONS = st.sampled_from(["normal", "laplace", "student", "relu", "silu", "uniform"])


@given(
    DISTRIBUTIONS,
    st.floats(1e-6, 1e6),
    st.floats(1e-9, 1e3),
    st.sampled_from([8, 16]),
    st.sampled_from(["mse", "entropy"]),
    st.integers(-60, 0) | st.just(NO_LEAST_SHIFT),
)
def test_the_planner_gives_a_chosen_range_the_scale_it_was_chosen_for(
    name, size, unit, bits, method, least_shift
):
    values = DATA[name] * np.float32(size)
    whole = Range(float(values.min()), float(values.max()))
    chosen = select(values, method, bits, unit=unit, least_shift=least_shift)
    quant, shift = shifted_feature(chosen, unit, bits, least_shift)
    assert shift >= least_shift
    if chosen == whole:
        return
    # An end that was cut is the last integer of the type, at the scale of the choice.
    reach = {
        np.float32(quant.type.lowest * quant.scale),
        np.float32(quant.type.highest * quant.scale),
    }
    moved = {end for end in (chosen.min, chosen.max) if end not in (whole.min, whole.max, 0.0)}
    assert moved <= reach
    assert quant.type.signed == (chosen.min < 0)
    if not moved:
        # Only the negative values were given up.
        assert (chosen.min, chosen.max) == (0.0, whole.max)


@given(DISTRIBUTIONS, st.floats(1e-6, 1e6), st.sampled_from([8, 16]))
def test_plain_powers_of_two_agree_with_the_planner(name, size, bits):
    values = DATA[name] * np.float32(size)
    chosen = select(values, "mse", bits, unit=1.0)
    quant = symmetric_feature(chosen, bits, ScaleRule.POWER_OF_TWO)
    assert quant == shifted_feature(chosen, 1.0, bits, NO_LEAST_SHIFT)[0]
    assert math.frexp(quant.scale)[0] == 0.5


@every_data
@pytest.mark.parametrize("percent", [90.0, 99.0, 99.9, 100.0])
def test_a_percentile_is_that_of_the_raw_data_within_a_bin(name, percent):
    values = DATA[name]
    statistics = statistics_of(values)
    low, high = select(values, "percentile", parameter=percent), values
    two_sided = values.min() < 0 < values.max()
    tail = (100 - percent) / (2 if two_sided else 1)
    begin, end = np.percentile(high, [tail, 100 - tail]).tolist()
    expected_min = min(begin, 0.0) if two_sided else float(values.min())
    expected_max = max(end, 0.0) if two_sided else end
    if values.max() <= 0:
        expected_min, expected_max = begin, float(values.max())
    # Between order statistics far apart, numpy interpolates and a histogram need not.
    near = 2 * statistics.bin_width + gap_around(values, [tail, 100 - tail])
    assert low.min == pytest.approx(expected_min, abs=near)
    assert low.max == pytest.approx(expected_max, abs=near)
    if percent == 100:
        assert (low.min, low.max) == (values.min(), values.max())


def gap_around(values: Float32, percents: list[float]) -> float:
    ordered = np.sort(values.astype(np.float64))
    places = np.array(percents) / 100 * (len(ordered) - 1)
    before = np.clip(places.astype(int) - 2, 0, len(ordered) - 1)
    after = np.clip(places.astype(int) + 3, 0, len(ordered) - 1)
    return float((ordered[after] - ordered[before]).max())


def test_a_percentile_of_sparse_features_never_loses_all_of_them():
    values = np.zeros(100_000, np.float32)
    values[:5] = [1, 2, 3, 4, 5]
    assert select(values, "percentile", parameter=99.9) == Range(0.0, 5.0)


def divergence(statistics: TensorStatistics, quant: FeatureQuant, chosen: Range) -> float:
    """The definition, bin by bin."""
    width = statistics.bin_width
    counts = statistics.counts.astype(np.float64)
    index = statistics.first_bin + np.arange(len(counts))
    centres = (index + 0.5) * width
    kept = (centres > chosen.min - 1e-9) & (centres < chosen.max + 1e-9)
    kept[0] |= chosen.min == statistics.min
    kept[-1] |= chosen.max == statistics.max
    reference, model = np.where(kept, counts, 0), np.zeros(len(counts))
    for side in (centres > 0, centres < 0):
        beyond = counts[side & ~kept].sum()
        occupied = np.flatnonzero(side & kept & (counts > 0))
        if len(occupied):
            reference[occupied[-1] if centres[occupied[-1]] > 0 else occupied[0]] += beyond
        elif beyond:
            return math.inf
        codes = np.floor(np.abs(centres) / quant.scale + 0.5).astype(int)
        for code in np.unique(codes[occupied]):
            same = occupied[codes[occupied] == code]
            model[same] = counts[same].sum() / len(same)
    used = reference > 0
    p, q = reference[used] / reference.sum(), model[used] / model.sum()
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize("name", ["normal", "laplace", "student", "relu", "silu", "uniform"])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_entropy_finds_a_range_of_nearly_the_least_divergence(name, asymmetric):
    values = DATA[name]
    statistics = statistics_of(values)
    chosen = select(values, "entropy", asymmetric=asymmetric)

    def quant_of(item: Range) -> FeatureQuant:
        if asymmetric:
            return asymmetric_feature(item, 8)
        return symmetric_feature(item, 8, ScaleRule.REAL)

    low, high = statistics.min, statistics.max
    found = [divergence(statistics, quant_of(chosen), chosen)]
    largest = max(-low, high)
    for end in np.linspace(largest, 0.1 * largest, 150):
        item = Range(max(low, -end), min(high, end))
        if quant_of(item).scale >= statistics.bin_width:
            found.append(divergence(statistics, quant_of(item), item))
    assert found[0] <= 1.1 * min(found) + 1e-4


@given(
    st.sampled_from(sorted(DATA)),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
    st.sampled_from([("mse", 1.0), ("mse", 3.0), ("percentile", 99.5), ("entropy", 0.0)]),
    st.booleans(),
)
def test_order_batches_and_shards_leave_no_trace(name, random, parts, method, asymmetric):
    values = DATA[name]
    order = np.random.default_rng(random.randint(0, 2**30)).permutation(len(values))
    shards = [statistics_of(shard) for shard in np.array_split(values[order], parts)]
    random.shuffle(shards)
    joined = TensorStatistics.from_bytes(shards[0].to_bytes())
    for shard in shards[1:]:
        joined.merge(shard)
    assert joined.to_bytes() == statistics_of(values).to_bytes()
    arguments = (method[0], 8, asymmetric, 0.0, NO_LEAST_SHIFT, method[1])
    assert joined.select_range(*arguments) == statistics_of(values).select_range(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kl", 8, False, 0.0, 0, 1.0), '"mse", "percentile" or "entropy"'),
        (("mse", 8, False, 0.0, 0, 0.0), "a positive number"),
        (("percentile", 8, False, 0.0, 0, 101.0), "up to 100"),
        (("mse", 17, False, 0.0, 0, 1.0), "2 to 16"),
        (("mse", 8, False, -1.0, 0, 1.0), "a positive number"),
        (("mse", 8, True, 1.0, 0, 1.0), "asymmetric"),
    ],
)
def test_arguments_that_are_not_allowed_are_named(arguments, words):
    with pytest.raises(OptionError, match=words):
        statistics_of(DATA["normal"]).select_range(*arguments)


def test_without_values_there_is_no_range():
    with pytest.raises(DataError, match="no finite value"):
        TensorStatistics().select_range("mse", 8, False, 0.0, 0, 1.0)


def test_a_least_shift_beyond_every_number_is_no_bound():
    values = DATA["normal"]
    assert select(values, "mse", unit=1.0, least_shift=-(2**62)) == select(values, "mse", unit=1.0)


@pytest.mark.parametrize("cut", [0, 5, 20, 500])
def test_a_truncated_state_is_refused_in_one_sentence(cut):
    with pytest.raises(ArtifactError, match="tensor statistics"):
        TensorStatistics.from_bytes(statistics_of(DATA["normal"]).to_bytes()[:cut])


def weight_error(
    weight: Float64, moments: Float64, largest: Float64, bits: int, rule: ScaleRule, full_code: bool
) -> Float64:
    """Weighted squared error of each channel: float64 [channels]."""
    scales = parameter_scales(largest, bits, rule, full_code=full_code)[:, None]
    highest = (1 << (bits - 1)) - 1
    codes = np.clip(np.rint(weight / scales), -highest - full_code, highest)
    return np.asarray((moments * (weight - codes * scales) ** 2).sum(1))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("rule", [ScaleRule.REAL, ScaleRule.POWER_OF_TWO])
@pytest.mark.parametrize("full_code", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_moments", [False, True])
def test_no_weight_range_has_a_much_smaller_error(
    bits, rule, full_code, per_channel, dtype, with_moments
):
    random = np.random.default_rng(3)
    weight = random.laplace(size=(5, 600)).astype(dtype)
    weight *= np.array([1, 1e-20, 3, 1e10, 0.1])[:, None] if per_channel else 1
    moments = random.uniform(0, 2, (1, 600)) if with_moments else None
    found = select_weight_range(
        weight, moments, bits, rule is ScaleRule.POWER_OF_TWO, full_code, per_channel
    )
    factors = np.ones((1, 1)) if moments is None else moments
    whole = np.abs(weight).astype(np.float64).max(axis=1 if per_channel else None).reshape(-1)

    def errors(largest: Float64) -> Float64:
        each = weight_error(
            weight.astype(np.float64), factors, np.broadcast_to(largest, 5), bits, rule, full_code
        )
        return each if per_channel else each.sum(keepdims=True)

    assert found.shape == (5,) if per_channel else (1,)
    assert (found <= whole).all()
    parts = np.linspace(1, 0.2, 161)
    best = np.min([errors(whole * part) for part in parts], axis=0)
    assert (errors(found) <= errors(whole)).all()
    assert (errors(found) <= 1.02 * best).all()


def test_a_weight_in_any_layout_gives_the_same_range():
    weight = np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32)
    moments = np.random.default_rng(2).uniform(size=(40, 30))
    plain = select_weight_range(weight, moments, 8, False, False, True)
    turned = select_weight_range(
        np.asfortranarray(weight), np.asfortranarray(moments), 8, False, False, True
    )
    np.testing.assert_array_equal(plain, turned)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_moments_of_another_shape_are_refused(channels, columns, rows, width):
    assume((rows, width) not in {(1, columns), (channels, columns)})
    with pytest.raises(DataError, match="moments"):
        select_weight_range(
            np.ones((channels, columns)), np.ones((rows, width)), 8, False, False, True
        )


@pytest.mark.parametrize("weight", [np.ones(3), np.ones((2, 2), np.int8), np.ones((1, 2, 3))])
def test_what_is_no_matrix_of_floats_is_no_weight(weight):
    with pytest.raises(DataError, match="two axes of float32 or float64"):
        select_weight_range(weight, None, 8, False, False, True)
