"""Arrays as frames: `.npy` and `.npz` files, or arrays in memory."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tidlq.errors import DataError
from tidlq.graph.model import TensorSignature
from tidlq.importers.frame_source import Frame, quoted
from tidlq.importers.lazy_arrays import HeldArray, LazyArray, open_arrays
from tidlq.importers.preprocessing import Preprocessing

ARRAY_SUFFIXES = frozenset((".npy", ".npz"))

LABEL_KEYS = ("y", "label", "labels")
"""Names of arrays that hold class indices, never frames."""

_DATA_KEY = "x"


@dataclass(frozen=True)
class FramedArray:
    """An array cut into frames of one input.

    Attributes:
        array: the values.
        signature: the input.
        count: number of frames.
        rows_per_frame: rows (along the first axis) that make a frame.
        preprocessing: how a frame that is a picture becomes the input; None for ready frames.
    """

    array: LazyArray
    signature: TensorSignature
    count: int
    rows_per_frame: int
    preprocessing: Preprocessing | None

    def read(self, indices: Iterable[int], where: str) -> Iterator[NDArray[np.generic]]:
        """Yields the frames at ascending indices, of the input's shape and dtype."""
        picked, asked = itertools.tee(indices)
        size = self.rows_per_frame
        for index, rows in zip(
            picked, self.array.rows((i * size, (i + 1) * size) for i in asked), strict=True
        ):
            if self.preprocessing is None:
                yield self.signature.stored(rows).reshape(self.signature.shape)
            else:
                picture = _as_picture(rows[0])
                yield self.preprocessing.apply(picture, self.signature, f"frame {index} of {where}")


@dataclass(frozen=True)
class ArrayReader:
    """Frames of arrays that belong together: one array per input, all with as many frames.

    Attributes:
        arrays: one per input.
        where: the file, as messages name it.
    """

    arrays: Sequence[FramedArray]
    where: str

    def __len__(self) -> int:
        return self.arrays[0].count

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yields the frames at ascending indices."""
        copies = itertools.tee(indices, len(self.arrays))
        streams = [
            array.read(copy, self.where) for array, copy in zip(self.arrays, copies, strict=True)
        ]
        names = [array.signature.name for array in self.arrays]
        for values in zip(*streams, strict=True):
            yield dict(zip(names, values, strict=True))

    def frame_name(self, index: int) -> str:
        """Names a frame by its place in the file."""
        return f"frame {index} of {self.where}"


@dataclass(frozen=True)
class JoinedReader:
    """The frames of several files, one file after the other."""

    readers: Sequence[ArrayReader]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yields the frames at ascending indices."""
        for number, group in itertools.groupby(indices, lambda index: self._locate(index)[0]):
            yield from self.readers[number].read(self._locate(index)[1] for index in group)

    def frame_name(self, index: int) -> str:
        """Names a frame by its place in its file."""
        number, inner = self._locate(index)
        return self.readers[number].frame_name(inner)

    @functools.cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(itertools.accumulate(len(reader) for reader in self.readers))

    def _locate(self, index: int) -> tuple[int, int]:
        number = bisect.bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)


def open_array_files(
    paths: Sequence[Path],
    inputs: Sequence[TensorSignature],
    preprocessing: Preprocessing | None,
) -> JoinedReader:
    """Opens `.npy` and `.npz` files as frames.

    Raises:
        DataError: A file is damaged, or its arrays do not fit the network's inputs.
        OptionError: `mean` or `scale` do not have the input's channels.
    """
    return JoinedReader(
        tuple(
            frame_arrays(open_arrays(path), inputs, preprocessing, repr(str(path)))
            for path in paths
        )
    )


def arrays_in_memory(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, LazyArray]:
    """Wraps arrays in memory for `frame_arrays`."""
    return {name: HeldArray(array) for name, array in arrays.items()}


def frame_arrays(
    arrays: Mapping[str, LazyArray],
    inputs: Sequence[TensorSignature],
    preprocessing: Preprocessing | None,
    where: str,
) -> ArrayReader:
    """Cuts arrays into frames of the network's inputs.

    For an input of shape [b, ...] an array of shape [n * b, ...] or [n, b, ...] holds n frames.
    With preprocessing, 8-bit arrays [n, height, width] and [n, height, width, channels] (or
    channels first) are pictures; arrays of the input's own dtype stay as they are.

    Args:
        arrays: by name; a network of one input also takes an only array, or the one named 'x',
            whatever its name; labels ('y', 'label', 'labels') do not count.
        inputs: the network's inputs.
        preprocessing: of 8-bit pictures.
        where: the file, as messages name it.

    Raises:
        DataError: An input has no array, an array does not fit, or counts differ.
        OptionError: `mean` or `scale` do not have the input's channels.
    """
    framed = []
    for signature in inputs:
        array = _array_for(signature, arrays, inputs, where)
        framed.append(_framed(array, signature, preprocessing, where))
    counts = {item.signature.name: item.count for item in framed}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name!r}: {count}" for name, count in counts.items())
        raise DataError(f"{where} holds different numbers of frames per input ({found}).")
    return ArrayReader(tuple(framed), where)


def _array_for(
    signature: TensorSignature,
    arrays: Mapping[str, LazyArray],
    inputs: Sequence[TensorSignature],
    where: str,
) -> LazyArray:
    if signature.name in arrays:
        return arrays[signature.name]
    candidates = [name for name in arrays if name not in LABEL_KEYS]
    if len(inputs) == 1:
        if len(candidates) == 1:
            return arrays[candidates[0]]
        if _DATA_KEY in candidates:
            return arrays[_DATA_KEY]
    held = quoted(arrays) if any(arrays) else "one array without a name" if arrays else "no array"
    expected = quoted(item.name for item in inputs)
    raise DataError(
        f"{where} holds {held}, none of them for input {signature.name!r}: "
        f"give an .npz file with an array for each of {expected}."
    )


def _framed(
    array: LazyArray,
    signature: TensorSignature,
    preprocessing: Preprocessing | None,
    where: str,
) -> FramedArray:
    shape, target = array.shape, signature.shape
    if preprocessing is not None and array.dtype == np.uint8 and len(shape) in (3, 4):
        preprocessing.layout_of(signature)
        if len(shape) == 3 or 3 in (shape[1], shape[3]) or 1 in (shape[1], shape[3]):
            return FramedArray(array, signature, shape[0], 1, preprocessing)
    if signature.takes(array.dtype):
        if shape[1:] == target and shape:
            return FramedArray(array, signature, shape[0], 1, None)
        if target and shape[1:] == target[1:] and len(shape) == len(target):
            batch = max(target[0], 1)
            if shape[0] % batch == 0:
                return FramedArray(array, signature, shape[0] // batch, batch, None)
    ready = f"{signature.dtype} [{', '.join(map(str, ('N', *target[1:])))}]"
    are_pictures = array.dtype == np.uint8 and preprocessing is None and len(target) == 4
    raise DataError(
        f"{where}: the array for input {signature.name!r} is {array.dtype} {list(shape)}, "
        f"the network takes frames of {signature.dtype} {list(target)}: give {ready}"
        + (", or state the preprocessing of 8-bit pictures." if are_pictures else ".")
    )


def _as_picture(pixels: NDArray[np.generic]) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(pixels))
