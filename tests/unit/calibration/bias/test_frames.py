"""Which frames judge, and that they are the source's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from tidlq.calibration.bias.frames import (
    ENOUGH_FRAMES,
    ENOUGH_MEMORY,
    LARGEST_MEMORY,
    BiasFrames,
    load_frames,
    split_frames,
)
from tidlq.errors import DataError

Frame = dict[str, np.ndarray]


def frame(number: int) -> Frame:
    return {"a": np.full((1, 2), number, np.float32), "b": np.array(number)}


def loaded(frames: Iterable[Frame], count: int, bytes_each: int) -> BiasFrames | None:
    split = split_frames(count, bytes_each)
    return None if split is None else load_frames(frames, split)


def test_every_fourth_frame_is_held_out() -> None:
    found = loaded((frame(i) for i in range(10)), 10, 8)
    assert found is not None
    assert found.inputs["b"].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 3, 7]
    assert (found.fitted, found.count) == (8, 10)
    assert [int(found.frame(i)["b"]) for i in found.held_out] == [3, 7]
    assert [int(one["b"]) for one in found] == list(range(10))
    assert found.frame(1)["a"].shape == (1, 2)
    assert found.frame(1)["b"].shape == ()
    assert found.inputs["a"].dtype == np.float32


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_frames_are_none(count: int) -> None:
    assert loaded((frame(i) for i in range(count)), count, 8) is None


def test_many_frames_are_thinned_evenly() -> None:
    found = loaded((frame(i) for i in range(100)), 100, LARGEST_MEMORY // 10)
    assert found is not None
    assert [int(one["b"]) for one in found] == list(range(0, 100, 10))
    assert found.count - found.fitted == 2


@pytest.mark.parametrize(
    ("frame_bytes", "taken"),
    [(ENOUGH_MEMORY // 300, 300), (ENOUGH_MEMORY // 50, ENOUGH_FRAMES), (8, 400)],
)
def test_beyond_enough_frames_only_what_fits_is_taken(frame_bytes: int, taken: int) -> None:
    found = loaded((frame(i) for i in range(400)), 400, frame_bytes)
    assert found is not None
    assert found.count == taken
    assert found.inputs["b"].max() >= 396


def test_frames_too_large_for_the_memory_are_still_four() -> None:
    found = loaded((frame(i) for i in range(8)), 8, LARGEST_MEMORY)
    assert found is not None
    assert sorted(found.inputs["b"].tolist()) == [0, 2, 4, 6]


def test_a_source_may_hand_out_the_same_memory_again() -> None:
    memory = frame(0)

    def source() -> Iterator[Frame]:
        for number in range(4):
            memory["a"][:] = number
            memory["b"][...] = number
            yield memory

    found = loaded(source(), 4, 8)
    assert found is not None
    assert found.inputs["b"].tolist() == [0, 1, 2, 3]
    assert found.inputs["a"][:, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("found", [0, 3, 5])
def test_fewer_frames_than_at_first_are_an_error(found: int) -> None:
    with pytest.raises(DataError, match="gave 6 frames at first and fewer"):
        loaded((frame(i) for i in range(found)), 6, 8)
