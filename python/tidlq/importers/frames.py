"""The door for calibration and inference data."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import DataError, OptionError
from tidlq.graph.model import TensorSignature
from tidlq.importers.arrays import (
    ARRAY_SUFFIXES,
    arrays_in_memory,
    frame_arrays,
    open_array_files,
)
from tidlq.importers.frame_source import (
    Frame,
    FrameReader,
    FrameSource,
    SelectedFrames,
    evenly_spaced,
)
from tidlq.importers.generators import (
    ListReader,
    StreamedFrames,
    is_function_spec,
    load_function,
)
from tidlq.importers.images import ImageReader, is_image, list_files
from tidlq.importers.preprocessing import Preprocessing

__all__ = ["Data", "Frame", "FrameSource", "open_frames"]

Data: TypeAlias = (
    str
    | os.PathLike[str]
    | NDArray[np.generic]
    | Mapping[str, NDArray[np.generic]]
    | Iterable[object]
    | Callable[[], Iterable[object]]
)
"""What `open_frames` takes."""


def open_frames(
    data: Data,
    inputs: Sequence[TensorSignature],
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
) -> FrameSource:
    """Opens data as frames of a network's inputs.

    Args:
        data: a folder (read with all its subfolders), a glob or a file of pictures, `.npy` or
            `.npz` arrays; `package.module:function`; or, from Python, an array of frames, arrays
            by input name, a list or iterator of frames, or a function that returns one. A frame is
            a mapping of input names to arrays, or an array if the network has one input.
        inputs: the network's inputs.
        preprocessing: of pictures, and of 8-bit arrays that hold pictures.
        limit: frames to take, at most: spread evenly over data whose length is known, else the
            first ones. None takes all.

    Returns:
        Frames that are read when iterated over, and again at every iteration. (An iterator can
        feed a single iteration only; a second one is an error.)

    Raises:
        DataError: There is no data, it is damaged, or it does not fit the inputs.
        OptionError: The limit is below 1, or `preprocessing` does not fit the inputs.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the number of frames is {limit}, allowed: 1 or more.")
    if isinstance(data, (str, os.PathLike)):
        text = os.fspath(data)
        if is_function_spec(text) and not Path(text).exists():
            return StreamedFrames(load_function(text), inputs, f"data function {text!r}", limit)
        return _select(_open_files(_find_files(text), inputs, preprocessing), limit, repr(text))
    if isinstance(data, np.ndarray):
        data = {"": data}
    if isinstance(data, Mapping):
        arrays = arrays_in_memory(data)
        return _select(frame_arrays(arrays, inputs, preprocessing, "data"), limit, "data")
    if isinstance(data, Sequence) and not isinstance(data, bytes):
        paths = [Path(item) for item in data if isinstance(item, (str, os.PathLike))]
        if paths and len(paths) == len(data):
            return _select(_open_files(paths, inputs, preprocessing), limit, "data")
        return _select(ListReader(data, inputs), limit, "data")
    if callable(data):
        return StreamedFrames(data, inputs, "data function", limit)
    if isinstance(data, Iterable) and not isinstance(data, bytes):
        iterable = data
        return StreamedFrames(lambda: iterable, inputs, "data", limit)
    raise DataError(
        f"data is a {type(data).__name__}, allowed: a path, a glob, package.module:function, "
        "arrays, a list or iterator of frames, or a function that returns one."
    )


def _select(reader: FrameReader, limit: int | None, where: str) -> SelectedFrames:
    if len(reader) == 0:
        raise DataError(f"{where} holds no frame.")
    return SelectedFrames(reader, evenly_spaced(len(reader), limit))


def _find_files(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        files = [file for file in list_files(path) if not file.name.startswith(".")]
        found = [file for file in files if is_image(file) or _is_array(file)]
        if not found:
            raise DataError(
                f"folder {text!r} holds no picture and no .npy or .npz file "
                f"({len(files)} other files)."
            )
        return found
    if path.exists():
        return [path]
    if glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
        found = [Path(match) for match in matches if Path(match).is_file()]
        if found:
            return found
        raise DataError(f"no file matches {text!r}.")
    raise DataError(
        f"{text!r} does not exist; allowed: a folder, a glob, a file, or package.module:function."
    )


def _is_array(path: Path) -> bool:
    return path.suffix.lower() in ARRAY_SUFFIXES


def _open_files(
    paths: Sequence[Path],
    inputs: Sequence[TensorSignature],
    preprocessing: Preprocessing | None,
) -> FrameReader:
    arrays = [path for path in paths if _is_array(path)]
    if not arrays:
        return ImageReader.open(paths, inputs, preprocessing)
    if len(arrays) < len(paths):
        other = next(path for path in paths if not _is_array(path))
        raise DataError(
            f"pictures and arrays are mixed, such as {str(other)!r} and {str(arrays[0])!r}: "
            "give either."
        )
    return open_array_files(arrays, inputs, preprocessing)
