"""Frames: what a network is fed with, one frame at a time."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import DataError, OptionError, nearest_names
from tidlq.graph.model import TensorSignature

Frame = dict[str, NDArray[np.generic]]
"""One frame: an array for every input of the network, of the input's shape and dtype."""


class FrameSource(abc.ABC):
    """Frames that are made when asked for; iterating again starts again.

    At any time no more than one frame of the source is in memory.
    """

    @property
    @abc.abstractmethod
    def length(self) -> int | None:
        """Number of frames, or None when only iterating can tell."""

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in a fixed order."""

    @abc.abstractmethod
    def frame_name(self, index: int) -> str:
        """Says where the frame at a position of the iteration comes from, for messages."""


class FrameReader(Protocol):
    """Frames that can be counted and picked without reading the others."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yields the frames at ascending indices."""

    def frame_name(self, index: int) -> str:
        """Says where a frame comes from, for messages."""


@dataclass(frozen=True)
class SelectedFrames(FrameSource):
    """Some or all frames of a reader, in ascending order.

    Attributes:
        reader: where the frames come from.
        indices: ascending indices into the reader.
    """

    reader: FrameReader
    indices: Sequence[int]

    @property
    def length(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Frame]:
        return self.reader.read(self.indices)

    def frame_name(self, index: int) -> str:
        return self.reader.frame_name(self.indices[index])


def evenly_spaced(length: int, limit: int | None) -> range | tuple[int, ...]:
    """Picks at most `limit` indices below `length`, spread over all of it.

    Index i is floor(i * length / limit): files sorted by class then still give every class.

    Raises:
        OptionError: The limit is below 1.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the number of frames is {limit}, allowed: 1 or more.")
    if limit is None or limit >= length:
        return range(length)
    return tuple(index * length // limit for index in range(limit))


def check_frame(
    frame: Mapping[str, object],
    inputs: Sequence[TensorSignature],
    where: str,
    *,
    batches: bool = False,
) -> Frame:
    """Returns a frame as contiguous arrays after comparing it with the network's inputs.

    A leading axis of size 1 may be left out.

    Args:
        frame: arrays by input name.
        inputs: the network's inputs.
        where: the frame, as messages name it.
        batches: inputs whose declared batch has a free size may hold several frames.

    Raises:
        DataError: An input is missing or unknown, or its shape or dtype differs.
    """
    expected = [signature.name for signature in inputs]
    for name in frame:
        if name not in expected:
            raise DataError(
                f"{where} holds {name!r}, the network's inputs are {quoted(expected)}."
                + nearest_names(str(name), expected)
            )
    return {
        signature.name: _check_array(frame.get(signature.name), signature, where, batches)
        for signature in inputs
    }


def _check_array(
    value: object, signature: TensorSignature, where: str, batches: bool
) -> NDArray[np.generic]:
    if value is None:
        raise DataError(f"{where} lacks input {signature.name!r}.")
    try:
        array: NDArray[np.generic] = np.asarray(value)
    except ValueError:
        raise DataError(f"{where}: input {signature.name!r} is not a regular array.") from None
    if signature.shape[:1] == (1,) and array.shape == signature.shape[1:]:
        array = array[np.newaxis]
    shape = array.shape
    if batches and signature.interface_shape and isinstance(signature.interface_shape[0], str):
        shape = signature.shape[:1] + shape[1:] if shape[:1] > (0,) else shape
    if not signature.takes(array.dtype) or shape != signature.shape:
        raise DataError(
            f"{where}: input {signature.name!r} is {array.dtype} {list(array.shape)}, "
            f"the network takes {signature.dtype} {list(signature.shape)}."
        )
    return np.asarray(signature.stored(array), order="C")


def quoted(names: Iterable[str]) -> str:
    """Names in quotes, separated by commas, for messages."""
    return ", ".join(repr(name) for name in names)
