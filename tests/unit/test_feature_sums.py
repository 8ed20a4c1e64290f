"""WindowSums and ChannelStatistics against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tidlq._core import ChannelStatistics, WindowSums, isa_available
from tidlq.errors import ArtifactError, DataError, OptionError

Floats = NDArray[np.float32]
VALUES = st.floats(-1e6, 1e6, width=32)
# kernel, stride, dilation, pad, output size
SPANS = st.tuples(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.integers(1, 6)
)


def window_of(spans: list[tuple[int, ...]]) -> WindowSums:
    return WindowSums(*(list(numbers) for numbers in zip(*spans, strict=True)))


def expected_sums(values: Floats, spans: list[tuple[int, ...]]) -> NDArray[np.float64]:
    """The definition: for each tap the sum over the positions that it reads, axis by axis."""
    sums = values.astype(np.float64).sum(axis=0)
    for axis, (kernel, stride, dilation, pad, outputs) in enumerate(spans):
        size = values.shape[2 + axis]
        read = np.arange(outputs)[None] * stride + np.arange(kernel)[:, None] * dilation - pad
        visits = np.zeros((kernel, size))
        for tap in range(kernel):
            inside = read[tap][(read[tap] >= 0) & (read[tap] < size)]
            visits[tap, inside] = 1
        sums = np.moveaxis(np.tensordot(visits, sums, axes=(1, 1 + axis)), 0, 1 + axis)
    return np.asarray(sums)


@given(data=st.data(), spans=st.lists(SPANS, min_size=1, max_size=2), batch=st.integers(1, 3))
def test_window_sums_are_those_of_numpy(
    data: st.DataObject, spans: list[tuple[int, ...]], batch: int
) -> None:
    shape = (batch, data.draw(st.integers(1, 3)), *(data.draw(st.integers(1, 9)) for _ in spans))
    window = window_of(spans)
    assert (window.sums.size, window.positions) == (0, 0)
    frames = [data.draw(hnp.arrays(np.float32, shape, elements=VALUES)) for _ in range(2)]
    for frame in frames:
        window.update(frame)
    expected = np.add(*(expected_sums(frame, spans) for frame in frames))
    scale = np.add(*(expected_sums(np.abs(frame), spans) for frame in frames))
    assert window.sums.shape == expected.shape == (shape[1], *(span[0] for span in spans))
    assert window.sums.dtype == np.float64
    assert (np.abs(window.sums - expected) <= 1e-13 * scale).all()
    assert window.positions == 2 * batch * int(np.prod([span[4] for span in spans]))


SHAPES = st.one_of(
    hnp.array_shapes(max_dims=5, max_side=4),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 50)),
)


@given(data=st.data(), shape=SHAPES)
def test_channel_statistics_are_those_of_numpy(data: st.DataObject, shape: tuple[int, ...]) -> None:
    values = data.draw(hnp.arrays(np.float32, shape, elements=VALUES))
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    statistics = ChannelStatistics(axis)
    statistics.update(values)
    statistics.update(-values)
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    np.testing.assert_array_equal(statistics.minima, np.minimum(rows.min(1), -rows.max(1)))
    np.testing.assert_array_equal(statistics.maxima, np.maximum(rows.max(1), -rows.min(1)))
    wide = rows.astype(np.float64)
    assert (np.abs(statistics.sums) <= 1e-13 * np.abs(wide).sum(1)).all()
    np.testing.assert_allclose(statistics.sums_of_squares, 2 * (wide**2).sum(1), rtol=1e-13)
    assert statistics.count == 2 * rows.shape[1]
    assert statistics.axis == axis
    assert statistics.minima.dtype == statistics.maxima.dtype == np.float32


def test_neither_layout_in_memory_nor_instruction_set_changes_a_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(5).standard_normal((3, 17, 19, 23)).astype(np.float32)
    strided = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    assert not strided.flags.c_contiguous
    states = set()
    for isa in isa_available():
        monkeypatch.setenv("TIDLQ_ISA", isa)
        for array in (values, strided):
            window = WindowSums([3, 3], [2, 1], [1, 1], [1, 1], [10, 23])
            channels, last = ChannelStatistics(1), ChannelStatistics(-1)
            for statistics in (window, channels, last):
                statistics.update(array)
            states.add((window.to_bytes(), channels.to_bytes(), last.to_bytes()))
    assert len(states) == 1


def test_a_resumed_state_goes_on_as_if_nothing_had_happened() -> None:
    frames = np.random.default_rng(6).standard_normal((4, 1, 3, 8, 9)).astype(np.float32)
    for start in (
        lambda: WindowSums([2, 3], [1, 2], [1, 1], [0, 1], [7, 5]),
        lambda: ChannelStatistics(1),
    ):
        whole, resumed = start(), start()
        for frame in frames:
            whole.update(frame)
            resumed = type(resumed).from_bytes(resumed.to_bytes())
            resumed.update(frame)
        assert resumed.to_bytes() == whole.to_bytes()
        np.testing.assert_array_equal(resumed.sums, whole.sums)


@given(st.binary(max_size=200))
def test_bytes_of_something_else_are_refused(noise: bytes) -> None:
    window, channels = WindowSums([1], [1], [1], [0], [4]), ChannelStatistics(0)
    window.update(np.ones((1, 2, 4), np.float32))
    for kind, other in ((WindowSums, channels), (ChannelStatistics, window)):
        for state in (noise, other.to_bytes(), other.to_bytes() + noise, other.to_bytes()[:-1]):
            with pytest.raises(ArtifactError, match=r"^The saved state of .* cannot be read"):
                kind.from_bytes(state)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (([3], [1], [1], [0], [0]), "output_size is 0, allowed is 1 to"),
        (([0, 3], [1, 1], [1, 1], [0, 0], [2, 2]), "kernel is 0, allowed is 1 to"),
        (([3], [1], [1], [-1], [2]), "pad_begin is -1, allowed is 0 to"),
        (([3], [1, 1], [1], [0], [2]), r"lists have \[1, 2, 1, 1, 1\] entries"),
        (([], [], [], [], []), "number of spatial axes is 0, allowed is 1 to 2"),
        (([1] * 3,) * 3 + ([0] * 3, [1] * 3), "number of spatial axes is 3"),
    ],
)
def test_a_window_that_cannot_be_is_refused(lists: tuple[list[int], ...], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        WindowSums(*lists)


def test_values_that_do_not_fit_are_refused() -> None:
    window, channels = WindowSums([3], [1], [1], [1], [4]), ChannelStatistics(1)
    for statistics in (window, channels):
        statistics.update(np.ones((1, 2, 4), np.float32))
        with pytest.raises(DataError, match=r"shape \[1, 3, 4\] do not fit .* 2 channels"):
            statistics.update(np.ones((1, 3, 4), np.float32))
    with pytest.raises(DataError, match="rank 3 is needed"):
        window.update(np.ones((1, 2, 4, 4), np.float32))
    with pytest.raises(DataError, match="an axis 1 is needed"):
        channels.update(np.ones(2, np.float32))


def test_extremes_pass_over_nan_and_sums_take_it() -> None:
    statistics = ChannelStatistics(0)
    statistics.update(np.array([[1, np.nan, -2], [np.nan] * 3, [np.inf, 0, 1]], np.float32))
    np.testing.assert_array_equal(statistics.minima, np.array([-2, np.inf, 0], np.float32))
    np.testing.assert_array_equal(statistics.maxima, np.array([1, -np.inf, np.inf], np.float32))
    np.testing.assert_array_equal(statistics.sums, [np.nan, np.nan, np.inf])
    window = WindowSums([1], [1], [1], [0], [2])
    window.update(np.array([[[1, np.nan], [np.inf, 1]]], np.float32))
    np.testing.assert_array_equal(window.sums[:, 0], [np.nan, np.inf])
