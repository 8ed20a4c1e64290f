"""Frames from Python: `package.module:function`, functions, lists and iterators."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidlq.errors import DataError, TidlqError
from tidlq.graph.model import TensorSignature
from tidlq.importers.frame_source import Frame, FrameSource, check_frame

_FUNCTION_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

FrameFunction = Callable[[], Iterable[object]]


def is_function_spec(text: str) -> bool:
    """Says whether a text has the form `package.module:function`."""
    return _FUNCTION_SPEC.fullmatch(text) is not None


def load_function(spec: str) -> FrameFunction:
    """Imports the function that `package.module:function` names.

    Modules in the working directory are found as they are by `python -m`.

    Raises:
        DataError: The module cannot be imported or has no such function.
    """
    module_name, _, function_name = spec.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise DataError(
            f"data {spec!r}: module {module_name!r} cannot be imported: {_in_one_line(error)}."
        ) from error
    finally:
        sys.path.remove(here)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise DataError(f"data {spec!r}: module {module_name!r} has no function {function_name!r}.")
    frame_function: FrameFunction = function
    return frame_function


@dataclass(frozen=True)
class StreamedFrames(FrameSource):
    """Frames that a function yields, in order; the number is not known beforehand.

    Attributes:
        function: called anew for each iteration.
        inputs: the network's inputs.
        name: the function, as messages name it.
        limit: frames to take from the beginning; None takes all.
    """

    function: FrameFunction
    inputs: Sequence[TensorSignature]
    name: str
    limit: int | None = None

    @property
    def length(self) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        items = self._items()
        index = 0
        while self.limit is None or index < self.limit:
            try:
                item = next(items)
            except StopIteration:
                break
            except TidlqError:
                raise
            except (Exception, SystemExit) as error:
                raise DataError(
                    f"{self.name} failed at frame {index}: {_in_one_line(error)}."
                ) from error
            yield check_item(item, self.inputs, self.frame_name(index))
            index += 1
        if index == 0:
            raise DataError(
                f"{self.name} yields no frame; an iterator that is used up needs to be a list or "
                "a function."
            )

    def frame_name(self, index: int) -> str:
        return f"frame {index} of {self.name}"

    def _items(self) -> Iterator[object]:
        yield from self.function()


@dataclass(frozen=True)
class ListReader:
    """Frames in a list: mappings of arrays by input name, or arrays for a network of one input."""

    items: Sequence[object]
    inputs: Sequence[TensorSignature]

    def __len__(self) -> int:
        return len(self.items)

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yields the frames at the given indices."""
        for index in indices:
            yield check_item(self.items[index], self.inputs, self.frame_name(index))

    def frame_name(self, index: int) -> str:
        """Names a frame by its place in the list."""
        return f"frame {index}"


def check_item(item: object, inputs: Sequence[TensorSignature], where: str) -> Frame:
    """Returns a frame that user code made, after comparing it with the network's inputs.

    Raises:
        DataError: The item is neither a mapping nor an array for an only input, or does not fit.
    """
    if isinstance(item, Mapping):
        return check_frame(item, inputs, where, batches=True)
    if isinstance(item, np.ndarray) and len(inputs) == 1:
        return check_frame({inputs[0].name: item}, inputs, where, batches=True)
    raise DataError(
        f"{where} is a {type(item).__name__}, allowed: a mapping of input names to arrays"
        + (", or an array." if len(inputs) == 1 else ".")
    )


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
