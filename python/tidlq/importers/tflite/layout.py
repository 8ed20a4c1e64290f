"""The two orders of axes: TFLite's own, channels last, and that of ONNX's convolutions."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Layout(enum.Enum):
    """An order of axes."""

    OWN = "own"
    CHANNELS_FIRST = "channels first"


# Feature maps of convolutions over images and over volumes.
IMAGE_RANKS = (4, 5)
CHANNELS_FIRST_SUFFIX = {4: "nchw", 5: "ncdhw"}
OWN_SUFFIX = {4: "nhwc", 5: "ndhwc"}


def permutation(rank: int, to: Layout) -> tuple[int, ...]:
    """The transposition that brings a feature map into a layout from the other one."""
    if to is Layout.CHANNELS_FIRST:
        return (0, rank - 1, *range(1, rank - 1))
    return (0, *range(2, rank), 1)


def axis_in(axis: int, rank: int, layout: Layout) -> int:
    """Where an axis of TFLite's own order, 0 or more, stands in a layout."""
    return axis if layout is Layout.OWN else permutation(rank, layout).index(axis)


def sizes_in(sizes: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """One number per axis, brought from TFLite's own order into a layout."""
    if layout is Layout.OWN:
        return tuple(sizes)
    return tuple(sizes[axis] for axis in permutation(len(sizes), layout))
