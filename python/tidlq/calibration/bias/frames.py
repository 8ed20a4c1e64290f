"""The frames of bias calibration: all in memory, some of them held out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import DataError
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.paging import PagedArrays, page_out

Array = NDArray[np.generic]

LEAST_FRAMES = 4
HELD_OUT_EVERY = 4
LARGEST_MEMORY = 1 << 30
ENOUGH_MEMORY = 1 << 27
"""What frames may take in any case."""
ENOUGH_FRAMES = 100
"""More than these are taken only where they fit into `ENOUGH_MEMORY`: the standard error of a mean
over them is a tenth of the spread between frames, and falls slowly from there on."""


@dataclass(frozen=True)
class FrameSplit:
    """Which frames of the data bias calibration takes, and which of these judge.

    Attributes:
        count: frames of the data.
        rows: by index in the data, the row in `BiasFrames` of each frame that is taken.
        fitted: rows from this one on are held out.
    """

    count: int
    rows: Mapping[int, int]
    fitted: int


@dataclass(frozen=True, eq=False)
class BiasFrames:
    """Frames by input: those that corrections are measured on first, those held out last.

    Attributes:
        inputs: [frames, *shape] by input name.
        fitted: number of frames that are not held out.
        split: how they were taken from the data; without it they are the data.
        pages: the file that holds many or large frames.
    """

    inputs: Mapping[str, Array]
    fitted: int
    split: FrameSplit | None = None
    pages: PagedArrays | None = None

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """The frames in the order of the data."""
        rows = range(self.count) if self.split is None else self.split.rows.values()
        return (self.frame(row) for row in rows)

    def rest(self) -> None:
        """Gives back the memory of frames that a file holds, until they are read again."""
        if self.pages is not None:
            self.pages.rest()

    @property
    def count(self) -> int:
        """All frames."""
        return len(next(iter(self.inputs.values())))

    @property
    def held_out(self) -> range:
        """Indices of the frames that judge."""
        return range(self.fitted, self.count)

    @property
    def measured(self) -> range:
        """Indices of the frames that corrections are measured on."""
        return range(self.fitted)

    def selected(self, indices: Sequence[int], fitted: int) -> BiasFrames:
        """Some of the frames, in the order given; the first `fitted` are those measured on."""
        rows = list(indices)
        return BiasFrames({name: array[rows] for name, array in self.inputs.items()}, fitted)

    def frame(self, index: int) -> dict[str, Array]:
        """One frame as the float network takes it."""
        # The ellipsis keeps a scalar an array.
        return {name: array[index, ...] for name, array in self.inputs.items()}


def split_frames(count: int, bytes_each: int) -> FrameSplit | None:
    """Takes frames and holds every fourth one out.

    Of more than `ENOUGH_FRAMES`, some are taken, evenly spread, so that memory does not grow with
    the number of frames; of fewer too where `LARGEST_MEMORY` does not hold them.

    Args:
        count: frames of the data.
        bytes_each: memory that one of them takes while the network runs.

    Returns:
        None where there are fewer than `LEAST_FRAMES`.
    """
    if count < LEAST_FRAMES:
        return None
    limit = min(count, _most_frames(max(bytes_each, 1)))
    held = range(HELD_OUT_EVERY - 1, limit, HELD_OUT_EVERY)
    order = sorted(range(limit), key=lambda place: (place in held, place))
    rows = {place: row for row, place in enumerate(order)}
    taken = {place * count // limit: rows[place] for place in range(limit)}
    return FrameSplit(count, taken, limit - len(held))


def frame_bytes(graph: Graph, layers: Iterable[Layer], bits: int) -> int:
    """About what a frame takes while the integer network runs over all of them.

    Args:
        graph: gives shapes.
        layers: of the network.
        bits: of its features.
    """
    inputs = sum(math.prod(s.shape) * s.dtype.itemsize for s in graph.inputs)
    sizes = [math.prod(graph.shape(layer.output) or ()) * bits // 8 for layer in layers]
    return inputs + 4 * max(sizes, default=0)


def load_frames(frames: Iterable[Mapping[str, Array]], split: FrameSplit) -> BiasFrames:
    """Takes frames into memory.

    Args:
        frames: checked frames, as calibration saw them.
        split: which of them.

    Raises:
        DataError: There are fewer frames than when they were counted.
    """
    inputs: dict[str, Array] = {}
    rows, found = split.rows, 0
    for index, frame in enumerate(frames):
        if index not in rows:
            continue
        for name, array in frame.items():
            # Copied: a source may hand out the same memory again.
            inputs.setdefault(name, np.empty((len(rows), *array.shape), array.dtype))
            inputs[name][rows[index]] = array
        found += 1
    if found < len(rows):
        raise DataError(
            f"the calibration data gave {split.count} frames at first and fewer when read again; "
            "every reading must give the same."
        )
    pages = page_out(inputs)
    held = inputs if pages is None else pages.arrays
    return BiasFrames(held, split.fitted, split, pages)


def _most_frames(bytes_each: int) -> int:
    enough = max(ENOUGH_MEMORY // bytes_each, ENOUGH_FRAMES)
    return max(min(enough, LARGEST_MEMORY // bytes_each), LEAST_FRAMES)
