"""Outliers are ranges far from the median of their role."""

from __future__ import annotations

from tidlq.quantproto import SavedLayer, SavedRanges, SavedTensor, find_outliers
from tidlq.spec import Range


def saved(*largest: float) -> SavedRanges:
    return SavedRanges(
        tuple(
            SavedLayer(str(index), "TIDL_ReLULayer", (SavedTensor("", Range(-high / 2, high), 1),))
            for index, high in enumerate(largest)
        )
    )


def test_a_range_eight_times_wider_or_narrower_is_marked_with_its_octaves() -> None:
    found = find_outliers(saved(*[1.0] * 9, 64.0, 2.0**-5, 8.0, 0.125))
    assert {place[0]: outlier.octaves for place, outlier in found.items()} == {"9": 6.0, "10": -5.0}


def test_where_ranges_spread_widely_more_is_usual() -> None:
    spread = [2.0**exponent for exponent in range(-8, 9, 2)]
    assert find_outliers(saved(*spread)) == {}
    assert [place[0] for place in find_outliers(saved(*spread, 2.0**24))] == ["9"]


def test_few_tensors_and_empty_ranges_have_no_outliers() -> None:
    assert find_outliers(saved(1.0, 1.0, 1.0, 1000.0)) == {}
    assert find_outliers(saved(*[1.0] * 9, 0.0)) == {}
