"""Frames that several passes go over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration.frames import iterate_frames
from tidlq.graph.model import Graph
from tidlq.importers.frame_source import Frame, FrameSource

Array = NDArray[np.generic]

LARGEST_KEPT = 256 << 20


class KeptFrames:
    """Checked frames of a source, kept in memory after the first pass where they are few.

    More than `LARGEST_KEPT` bytes of them are read again at every pass.

    Args:
        graph: tells what a frame is.
        source: where they come from.
        limit: frames at most.
    """

    def __init__(self, graph: Graph, source: FrameSource, limit: int) -> None:
        self._graph = graph
        self._source = source
        self._limit = limit
        self._kept: list[Frame] | None = None
        self.length = source.length

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Frame] = []
        size = 0
        for frame in islice(iterate_frames(self._graph, self._source), self._limit):
            size += sum(array.nbytes for array in frame.values())
            if size <= LARGEST_KEPT:
                # A source may hand out the same memory again.
                kept.append({name: array.copy() for name, array in frame.items()})
            else:
                kept.clear()
            yield frame
        if size <= LARGEST_KEPT:
            self._kept = kept
