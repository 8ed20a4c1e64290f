"""Frames as the caller has them become frames of exactly a Graph's inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import DataError
from tidlq.graph.model import Graph, TensorSignature
from tidlq.importers.frame_source import Frame, check_frame

Array = NDArray[np.generic]


def iterate_frames(graph: Graph, frames: Iterable[Mapping[str, Array]]) -> Iterator[Frame]:
    """Yields checked frames, each before the next one is asked for.

    Arrays of another dtype are converted where every value survives exactly. Where the graph's
    batch is free, a batch of N becomes N frames.

    Args:
        graph: the network.
        frames: arrays by input name, of shape input.shape or, with a free batch,
            [N, *input.shape[1:]].

    Raises:
        DataError: A frame lacks an input or has an unknown one, an array's dtype or shape does not
            fit, or a value is NaN or infinite; frames are counted from 0.
    """
    index = 0
    for given in frames:
        where = f"frame {index}"
        if not isinstance(given, Mapping):
            raise DataError(
                f"{where} is a {type(given).__name__}; it must map input names to arrays."
            )
        for frame in _split(graph, _convert(graph, given, where), where):
            where = f"frame {index}"
            checked = check_frame(frame, graph.inputs, where)
            for name, array in checked.items():
                check_finite(name, array, where)
            yield checked
            index += 1


class FrameDigest:
    """SHA-256 over frames: their order, names, types, shapes and bytes."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, frame: Mapping[str, Array]) -> None:
        """Adds the next frame."""
        self.count += 1
        for name, array in frame.items():
            self._hash.update(repr((name, array.dtype.str, array.shape)).encode())
            self._hash.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    @property
    def value(self) -> str:
        """Of the frames so far, hexadecimal."""
        return self._hash.hexdigest()


def check_finite(name: str, array: Array, where: str) -> None:
    """Raises DataError if an array holds a NaN or an infinity.

    Args:
        name: the tensor's name.
        array: any dtype.
        where: the frame, as the message names it.
    """
    if not np.issubdtype(array.dtype, np.inexact) or np.isfinite(array).all():
        return
    raise not_finite(name, where, int(np.isnan(array).sum()), int(np.isinf(array).sum()))


def not_finite(name: str, where: str, nans: int, infinities: int) -> DataError:
    """The error for a tensor with values that no range can hold."""
    found = [f"{count} {kind}" for count, kind in ((nans, "NaN"), (infinities, "Inf")) if count]
    return DataError(
        f"tensor {name!r} holds {' and '.join(found)} in {where}; calibration needs finite values."
    )


def _convert(graph: Graph, frame: Mapping[str, Array], where: str) -> dict[str, Array]:
    """The frame with arrays in the inputs' dtypes, where the values allow it."""
    signatures = {signature.name: signature for signature in graph.inputs}
    converted: dict[str, Array] = {}
    for name, array in frame.items():
        signature = signatures.get(name)
        converted[name] = array if signature is None else _exactly(array, signature, where)
    return converted


def _exactly(value: Array, signature: TensorSignature, where: str) -> Array:
    try:
        array: Array = np.asarray(value)
    except ValueError:
        raise DataError(f"{where}: input {signature.name!r} is not a regular array.") from None
    if array.dtype == signature.dtype:
        return array
    is_number = np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
    if is_number:
        with np.errstate(all="ignore"):
            converted = array.astype(signature.dtype)
            if np.array_equal(converted.astype(array.dtype), array, equal_nan=True):
                return converted
    lossy = f" with values that {signature.dtype} cannot hold exactly" if is_number else ""
    raise DataError(
        f"{where}: input {signature.name!r} is {array.dtype}{lossy}; "
        f"the network takes {signature.dtype}."
    )


def _split(graph: Graph, frame: Mapping[str, Array], where: str) -> Iterator[Mapping[str, Array]]:
    """The frames of a batch; anything that is not a batch of this graph stays one frame."""
    signatures = {signature.name: signature for signature in graph.inputs}
    batches: dict[str, int] = {}
    if graph.free_batch and frame.keys() <= signatures.keys():
        batches = {n: len(a) for n, a in frame.items() if _is_batch(a, signatures[n])}
    if not batches:
        yield frame
        return
    sizes = set(batches.values())
    if len(sizes) > 1 or len(batches) < len(frame):
        shapes = {name: list(array.shape) for name, array in frame.items()}
        raise DataError(f"{where}: the inputs have different batches: {shapes}.")
    for row in range(sizes.pop()):
        yield {name: array[row : row + 1] for name, array in frame.items()}


def _is_batch(array: Array, signature: TensorSignature) -> bool:
    return (
        array.ndim == len(signature.shape) > 0
        and len(array) > 1
        and array.shape[1:] == signature.shape[1:]
    )
