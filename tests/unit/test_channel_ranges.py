"""Ranges of channels held as arrays read like the ranges one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tidlq.spec import ChannelRanges, Range, RangeOrigin, absolute_maxima

LOW = np.array([-3.0, 0.0, -0.1], np.float32)
HIGH = np.array([1.0, 0.0, 0.3], np.float32)
ONE_BY_ONE = tuple(
    Range(low, high, RangeOrigin.PARAMETER)
    for low, high in zip(LOW.tolist(), HIGH.tolist(), strict=True)
)


def test_each_channel_is_a_range_of_the_same_origin() -> None:
    channels = ChannelRanges(LOW, HIGH, RangeOrigin.PARAMETER)
    assert tuple(channels) == ONE_BY_ONE
    assert channels == ONE_BY_ONE
    assert tuple(channels[1:]) == ONE_BY_ONE[1:]
    assert hash(channels) == hash(ONE_BY_ONE)


def test_absolute_maxima_are_those_of_the_ranges() -> None:
    channels = ChannelRanges(LOW, HIGH)
    expected = [item.absolute_max for item in ONE_BY_ONE]
    assert absolute_maxima(channels).tolist() == expected
    assert absolute_maxima(ONE_BY_ONE).tolist() == expected


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (np.nan, 0.0), (0.0, np.inf)])
def test_a_channel_without_a_finite_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="finite min <= max"):
        ChannelRanges(np.array([low], np.float32), np.array([high], np.float32))
