"""Memory between the phases of a compilation: what one is done with is not in the next one's way.

Large arrays that not every phase reads lie in a temporary file, mapped into memory: at rest, they
take none. What was freed in small and middle-sized pieces, a run's features for instance, goes
back to the system: the C library would keep it, the next phase asks for other sizes, and the peak
would be the sum of both.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import tempfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

LEAST_PAGED = 1 << 24
"""Bytes from which on arrays are worth a file."""
_ALIGNMENT = 64


class PagedArrays:
    """Arrays in a file that has no name and ends with them.

    Args:
        arrays: by name; they are copied.

    Raises:
        OSError: There is no room for the file.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        with tempfile.TemporaryFile(prefix="tidlq-") as file:
            for array in arrays.values():
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
                file.write(bytes(_aligned(array.nbytes) - array.nbytes))
            file.flush()
            self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.arrays: dict[str, Array] = {}
        begin = 0
        for name, array in arrays.items():
            view = np.frombuffer(self._pages, array.dtype, array.size, begin)
            self.arrays[name] = view.reshape(array.shape)
            begin += _aligned(array.nbytes)

    def rest(self) -> None:
        """Gives back the arrays' memory, until they are read again."""
        if hasattr(self._pages, "madvise"):
            self._pages.madvise(mmap.MADV_DONTNEED)


def page_out(arrays: Mapping[str, Array]) -> PagedArrays | None:
    """Moves arrays into a file.

    Returns:
        None where they are too small for that, or a file is not to be had.
    """
    if sum(array.nbytes for array in arrays.values()) < LEAST_PAGED:
        return None
    try:
        return PagedArrays(arrays)
    except OSError:
        return None


def give_back_freed_memory() -> None:
    """Asks the C library to return what it does not use, where it can (glibc)."""
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
