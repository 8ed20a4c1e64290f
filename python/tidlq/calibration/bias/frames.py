"""The frames of bias calibration: all in memory, some of them held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import DataError

Array = NDArray[np.generic]

LEAST_FRAMES = 4
HELD_OUT_EVERY = 4
LARGEST_MEMORY = 1 << 30
ENOUGH_MEMORY = 1 << 27
"""What frames may take in any case."""
ENOUGH_FRAMES = 100
"""More than these are taken only where they fit into `ENOUGH_MEMORY`: the standard error of a mean
over them is a tenth of the spread between frames, and falls slowly from there on."""


@dataclass(frozen=True, eq=False)
class BiasFrames:
    """Frames by input: those that corrections are measured on first, those held out last.

    Attributes:
        inputs: [frames, *shape] by input name.
        fitted: number of frames that are not held out.
    """

    inputs: Mapping[str, Array]
    fitted: int

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


def load_frames(
    frames: Iterable[Mapping[str, Array]], count: int, frame_bytes: int
) -> BiasFrames | None:
    """Takes frames into memory and holds every fourth one out.

    Of more than `ENOUGH_FRAMES`, some are taken, evenly spread, so that memory does not grow with
    the number of frames; of fewer too where `LARGEST_MEMORY` does not hold them.

    Args:
        frames: checked frames, as calibration saw them.
        count: how many they are.
        frame_bytes: memory that one of them takes while the network runs.

    Returns:
        None where there are fewer than `LEAST_FRAMES`.

    Raises:
        DataError: There are fewer frames than when they were counted.
    """
    if count < LEAST_FRAMES:
        return None
    limit = min(count, _most_frames(max(frame_bytes, 1)))
    held = range(HELD_OUT_EVERY - 1, limit, HELD_OUT_EVERY)
    order = sorted(range(limit), key=lambda place: (place in held, place))
    rows = {place * count // limit: row for row, place in enumerate(order)}
    inputs: dict[str, Array] = {}
    found = 0
    for index, frame in enumerate(frames):
        if index not in rows:
            continue
        for name, array in frame.items():
            # Copied: a source may hand out the same memory again.
            inputs.setdefault(name, np.empty((limit, *array.shape), array.dtype))
            inputs[name][rows[index]] = array
        found += 1
    if found < limit:
        raise DataError(
            f"the calibration data gave {count} frames at first and fewer when read again; "
            "every reading must give the same."
        )
    return BiasFrames(inputs, limit - len(held))


def _most_frames(frame_bytes: int) -> int:
    enough = max(ENOUGH_MEMORY // frame_bytes, ENOUGH_FRAMES)
    return max(min(enough, LARGEST_MEMORY // frame_bytes), LEAST_FRAMES)
