"""A network over many frames, with a bounded number of them in memory."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tidlq.artifacts import Artifacts
from tidlq.errors import DataError, OutputError
from tidlq.graph.model import TensorSignature
from tidlq.session import InferenceSession

Array = NDArray[np.generic]
Frames = Iterable[Mapping[str, Array]]
Counter = Callable[[int], None]
"""Called with the number of frames done."""

_MOST_FRAMES = 16
_MOST_INPUT_BYTES = 32 << 20


@dataclass(frozen=True)
class WrittenOutput:
    """An array of a written file.

    Attributes:
        name: the output's name.
        dtype: numpy dtype's name.
        shape: sizes, frames included.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def batches(artifacts: Artifacts, frames: Frames) -> Iterator[list[Mapping[str, Array]]]:
    """Groups frames as the network takes them at a time: one by one where the batch is fixed."""
    inputs = artifacts.inputs
    frame_bytes = sum(math.prod(item.shape) * item.dtype.itemsize for item in inputs)
    size = min(_MOST_FRAMES, max(1, _MOST_INPUT_BYTES // max(frame_bytes, 1)))
    iterator = iter(frames)
    while batch := list(itertools.islice(iterator, size if artifacts.free_batch else 1)):
        yield batch


def run_batch(session: InferenceSession, batch: Sequence[Mapping[str, Array]]) -> list[Array]:
    """Runs some frames.

    Args:
        session: the network.
        batch: frames as `batches` groups them, of the inputs' static shapes.

    Returns:
        One array per output of the network, [frames, *output.shape].

    Raises:
        DataError: A frame does not fit the inputs.
    """
    artifacts = session.artifacts
    if artifacts.free_batch:
        names = [item.name for item in artifacts.inputs]
        feed = {name: np.concatenate([frame[name] for frame in batch]) for name in names}
        results = session.run(None, feed)
    else:
        (frame,) = batch
        results = session.run(None, frame)
    return [
        result.reshape(len(batch), *signature.shape)
        for result, signature in zip(results, artifacts.outputs, strict=True)
    ]


def write_outputs(
    session: InferenceSession,
    frames: Frames,
    path: str | os.PathLike[str],
    progress: Counter | None = None,
) -> tuple[WrittenOutput, ...]:
    """Runs frames and writes the outputs to an `.npz` file, whole or not at all.

    Args:
        session: the network.
        frames: of the inputs' static shapes.
        path: the file; an earlier one is replaced. An array per output, [n, ...] where the batch is
            free, else the output's own shape for a single frame and [frames, *shape] for several.
        progress: called after every batch.

    Raises:
        DataError: There is no frame, or one does not fit the inputs.
        OutputError: The file cannot be written.
    """
    target = Path(path)
    check_output_file(target)
    with _scratch_folder(target) as folder:
        signatures = session.artifacts.outputs
        with _writing(target), contextlib.ExitStack() as stack:
            files = [
                stack.enter_context((folder / str(index)).open("wb"))
                for index in range(len(signatures))
            ]
            count = _append_outputs(session, frames, files, progress)
        if count == 0:
            raise DataError("the input holds no frame.")
        with _writing(target):
            arrays = {
                item.name: _map(
                    folder / str(index), item.dtype, _joined_shape(session, item, count)
                )
                for index, item in enumerate(signatures)
            }
            write_archive(folder / "outputs.npz", arrays)
            (folder / "outputs.npz").replace(target)
    return tuple(
        WrittenOutput(name, str(array.dtype), tuple(array.shape)) for name, array in arrays.items()
    )


def check_output_file(target: Path) -> None:
    """Refuses a file that could not be written, before any work is done.

    Raises:
        OutputError: The name does not end in `.npz`, or the place cannot be written.
    """
    if target.suffix.lower() != ".npz":
        raise OutputError(
            f"output {str(target)!r} has the extension {target.suffix!r}; allowed: .npz."
        )
    if target.is_dir():
        raise OutputError(f"output {str(target)!r} is a folder; name an .npz file.")


def _append_outputs(
    session: InferenceSession,
    frames: Frames,
    files: Sequence[IO[bytes]],
    progress: Counter | None,
) -> int:
    done = 0
    for batch in batches(session.artifacts, frames):
        for file, result in zip(files, run_batch(session, batch), strict=True):
            file.write(np.ascontiguousarray(result).tobytes())
        done += len(batch)
        if progress is not None:
            progress(done)
    return done


def _joined_shape(
    session: InferenceSession, signature: TensorSignature, count: int
) -> tuple[int, ...]:
    shape = signature.shape
    if session.artifacts.free_batch:
        return (count * shape[0], *shape[1:])
    return shape if count == 1 else (count, *shape)


def _map(path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", shape=shape)


def write_archive(path: Path, arrays: Mapping[str, Array]) -> None:
    """Writes an `.npz` file without the time of day, and free in its choice of names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


@contextlib.contextmanager
def _scratch_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, so that renaming out of it is atomic."""
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"output {str(target)!r} cannot be written: {reason}.") from None
