"""Arrays in `.npy` and `.npz` files, read a few rows at a time."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import DataError

# RuntimeError: the archive is encrypted, or packed in a way that zipfile does not know.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class LazyArray(Protocol):
    """An array of which rows (slices along the first axis) are read on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[np.generic]: ...
    def rows(self, ranges: Iterable[tuple[int, int]]) -> Iterator[NDArray[np.generic]]:
        """Yields array[start:stop] for each (start, stop), in ascending order of start."""


@dataclass(frozen=True, eq=False)
class HeldArray:
    """An array in memory."""

    array: NDArray[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.array.dtype

    def rows(self, ranges: Iterable[tuple[int, int]]) -> Iterator[NDArray[np.generic]]:
        """Yields copies of the rows."""
        for start, stop in ranges:
            yield np.array(self.array[start:stop], order="C")


@dataclass(frozen=True)
class StoredArray:
    """An array in a file; compressed data is unpacked as rows are asked for.

    The file is read, not mapped: pages of a mapped file would count as the process's memory.

    Attributes:
        path: the `.npy` or `.npz` file.
        member: name inside the archive; None for a `.npy` file.
        shape: sizes.
        dtype: element type.
        is_fortran: stored column by column: the rows are scattered, so it is read whole.
        offset_bytes: where the elements begin.
    """

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    is_fortran: bool
    offset_bytes: int

    def rows(self, ranges: Iterable[tuple[int, int]]) -> Iterator[NDArray[np.generic]]:
        """Yields the rows.

        Raises:
            DataError: The file is damaged.
        """
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        with _readable(self.path), _stream(self.path, self.member) as stream:
            if self.is_fortran:
                flat = self._elements(stream, 0, self.shape[0] * row_bytes)
                yield from HeldArray(flat.reshape(self.shape, order="F")).rows(ranges)
                return
            for start, stop in ranges:
                size_bytes = (stop - start) * row_bytes
                flat = self._elements(stream, start * row_bytes, size_bytes)
                yield flat.reshape(stop - start, *self.shape[1:]).copy()

    def _elements(
        self, stream: IO[bytes], start_bytes: int, size_bytes: int
    ) -> NDArray[np.generic]:
        stream.seek(self.offset_bytes + start_bytes)
        data = stream.read(size_bytes)
        if len(data) != size_bytes:
            raise EOFError("the elements end early")
        return np.frombuffer(data, self.dtype)


def open_arrays(path: Path) -> dict[str, LazyArray]:
    """Returns the arrays of a `.npz` file by name, or that of a `.npy` file under ''.

    Raises:
        DataError: The file is missing, damaged, or holds Python objects.
    """
    with _readable(path):
        if path.suffix.lower() != ".npz":
            return {"": _open_array(path, None, path.stat().st_size)}
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return {
            info.filename.removesuffix(".npy"): _open_array(path, info.filename, info.file_size)
            for info in members
        }


def _open_array(path: Path, member: str | None, file_bytes: int) -> StoredArray:
    with _stream(path, member) as stream:
        shape, is_fortran, dtype = _read_header(stream)
        offset_bytes = stream.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects, not numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > file_bytes - offset_bytes:
        raise EOFError(f"{dtype} {list(shape)} does not fit into the file")
    return StoredArray(path, member, shape, dtype, is_fortran, offset_bytes)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    try:
        if np.lib.format.read_magic(stream) == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        return np.lib.format.read_array_header_2_0(stream)
    except _UNREADABLE:
        raise
    except Exception as error:
        # The header is a Python literal: a damaged one fails inside the tokenizer in many ways.
        raise ValueError("its header is damaged") from error


@contextlib.contextmanager
def _stream(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    if member is None:
        with path.open("rb") as stream:
            yield stream
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member) as unpacked:
            yield unpacked


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{str(path)!r} does not exist.") from None
    except _UNREADABLE as error:
        reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(f"{str(path)!r} cannot be read as arrays: {reason}.") from None
