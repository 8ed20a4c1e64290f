"""Frames that several passes go over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tidlq.calibration import KeptFrames, kept_frames
from tidlq.graph.model import Graph
from tidlq.importers.frames import open_frames


def frame(number: float) -> dict[str, np.ndarray]:
    return {"input": np.full((1, 2, 3), number, np.float32)}


def numbers(frames: KeptFrames) -> list[float]:
    return [float(x["input"][0, 0, 0]) for x in frames]


class Source:
    """Counts its passes, and hands out the same memory again."""

    def __init__(self) -> None:
        self.passes = 0

    def __call__(self) -> Iterator[dict[str, np.ndarray]]:
        self.passes += 1
        memory = frame(0)
        for number in range(6):
            memory["input"][:] = number
            yield memory


def test_few_frames_are_read_once_and_copied(relu_graph: Graph) -> None:
    source = Source()
    frames = KeptFrames(relu_graph, open_frames(source, relu_graph.inputs), 4)
    assert numbers(frames) == numbers(frames) == [0, 1, 2, 3]
    assert [float(x["input"][0, 0, 0]) for x in list(frames)] == [0, 1, 2, 3]
    assert source.passes == 1


def test_many_frames_are_read_at_every_pass(
    relu_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_frames, "LARGEST_KEPT", 2 * 24)
    source = Source()
    frames = KeptFrames(relu_graph, open_frames(source, relu_graph.inputs), 6)
    for _ in range(3):
        assert numbers(frames) == [0, 1, 2, 3, 4, 5]
    assert source.passes == 3


def test_a_pass_that_is_broken_off_leaves_nothing_half_kept(relu_graph: Graph) -> None:
    source = Source()
    frames = KeptFrames(relu_graph, open_frames(source, relu_graph.inputs), 6)
    next(iter(frames))
    assert numbers(frames) == numbers(frames) == [0, 1, 2, 3, 4, 5]


def test_released_frames_are_read_again(relu_graph: Graph) -> None:
    source = Source()
    frames = KeptFrames(relu_graph, open_frames(source, relu_graph.inputs), 4)
    assert numbers(frames) == [0, 1, 2, 3]
    frames.release()
    assert numbers(frames) == numbers(frames) == [0, 1, 2, 3]
    assert source.passes == 2
