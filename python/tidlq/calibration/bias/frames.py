"""The frames of bias calibration: all in memory, some of them held out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

LEAST_FRAMES = 4
HELD_OUT_EVERY = 4
LARGEST_MEMORY = 1 << 30


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

    def frame(self, index: int) -> dict[str, Array]:
        """One frame as the float network takes it."""
        return {name: array[index] for name, array in self.inputs.items()}


def load_frames(
    frames: Iterable[Mapping[str, Array]], count: int, frame_bytes: int
) -> BiasFrames | None:
    """Takes frames into memory and holds every fourth one out.

    Of more frames than `LARGEST_MEMORY` holds, some are taken, evenly spread.

    Args:
        frames: checked frames, as calibration saw them.
        count: how many they are.
        frame_bytes: memory that one of them takes while the network runs.

    Returns:
        None where there are fewer than `LEAST_FRAMES`.
    """
    limit = min(count, max(LARGEST_MEMORY // max(frame_bytes, 1), LEAST_FRAMES))
    if count < LEAST_FRAMES:
        return None
    wanted = {index * count // limit for index in range(limit)}
    kept = [frame for index, frame in enumerate(frames) if index in wanted]
    is_held = [index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 for index in range(len(kept))]
    fitted = _picked(kept, is_held, False)
    held = _picked(kept, is_held, True)
    names = kept[0]
    inputs = {name: np.stack([frame[name] for frame in (*fitted, *held)]) for name in names}
    return BiasFrames(inputs, len(fitted))


def _picked(
    frames: Sequence[Mapping[str, Array]], is_held: Sequence[bool], wanted: bool
) -> list[Mapping[str, Array]]:
    return [frame for frame, held in zip(frames, is_held, strict=True) if held is wanted]
