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

LARGEST_KEPT = 64 << 20


class KeptFrames:
    """Checked frames of a source, kept in memory once they were read where they are few.

    More than `LARGEST_KEPT` bytes of them are read again at every pass. A pass that is broken off
    and the next one read no frame twice; passes do not overlap.

    Args:
        graph: tells what a frame is.
        source: where they come from.
        limit: frames at most.
    """

    def __init__(self, graph: Graph, source: FrameSource, limit: int) -> None:
        self._graph = graph
        self._source = source
        self._limit = limit
        self._kept: list[Frame] = []
        self._rest: Iterator[Frame] | None = None
        self._size = 0
        self.length = source.length

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        if self._rest is None or self._size > LARGEST_KEPT:
            self._kept, self._size = [], 0
            self._rest = islice(iterate_frames(self._graph, self._source), self._limit)
        yield from self._kept
        while (frame := self._next()) is not None:
            self._size += sum(array.nbytes for array in frame.values())
            if self._size <= LARGEST_KEPT:
                # A source may hand out the same memory again.
                self._kept.append({name: array.copy() for name, array in frame.items()})
            else:
                self._kept.clear()
            yield frame

    def release(self) -> None:
        """Gives back the memory; another pass reads the frames again."""
        self._kept, self._rest = [], None

    def _next(self) -> Frame | None:
        assert self._rest is not None
        try:
            return next(self._rest, None)
        except BaseException:
            # What is left of it would end silently.
            self._rest = None
            raise
