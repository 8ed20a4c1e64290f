"""Where a command's words go: results to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from tidlq.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the units done and the total (None: not known)."""

PIPE_WIDTH = 120


@dataclass(frozen=True)
class Terminal:
    """A command's output.

    Attributes:
        json: standard output takes one JSON document and nothing else.
        quiet: no progress, no warnings, no remarks.
    """

    json: bool = False
    quiet: bool = False

    @property
    def width(self) -> int:
        """Columns that a table may take."""
        return make_console(sys.stdout).width

    def result(self, document: Mapping[str, Any], *shown: RenderableType) -> None:
        """Prints what the command found: the document, or its rendering for people.

        Raises:
            OutputError: Standard output cannot be written.
        """
        with _naming_stdout():
            if self.json:
                text = json.dumps(to_json(document), indent=1, allow_nan=False) + "\n"
            else:
                text = _render(shown)
            sys.stdout.write(text)
            sys.stdout.flush()

    def content(self, content: bytes) -> None:
        """Writes a file's content to standard output.

        Raises:
            OutputError: Standard output cannot be written.
        """
        with _naming_stdout():
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Prints a line beside the result, for people only."""
        if not (self.json or self.quiet):
            make_console(sys.stderr).print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Prints a warning to standard error."""
        if not self.quiet:
            print_marked("warning", text, "yellow")

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """A bar on standard error while it is a terminal; silent otherwise.

        What the user's own functions print meanwhile goes to standard error: standard output is
        for results.
        """
        console = make_console(sys.stderr)
        with contextlib.redirect_stdout(sys.stderr):
            if self.quiet or not console.is_terminal:
                yield _show_nothing
                return
            with _Bars(console) as bars:
                yield bars.show


@contextlib.contextmanager
def _naming_stdout() -> Iterator[None]:
    """A full disk behind standard output is an error of the user's; a closed pipe is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}.") from None


def _render(parts: Sequence[RenderableType]) -> str:
    """What people see, without the blanks that tables end their lines with."""
    console = make_console(sys.stdout)
    with console.capture() as capture:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _show_nothing(_step: str, _done: int, _total: int | None) -> None:
    """Progress without a terminal."""


class _Bars:
    """One bar per step; a new step takes the place of the one before."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._step: str | None = None
        self._task = self._progress.add_task("", visible=False, total=None, count="", left="")

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, step: str, done: int, total: int | None) -> None:
        if step != self._step:
            self._step = step
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(f"{step:<10}", total=total, count="", left="")
        count = f"{done}/{total}" if total else str(done or "")
        left = "left" if total else ""
        self._progress.update(self._task, completed=done, total=total, count=count, left=left)


def make_console(stream: TextIO) -> Console:
    """A console that adds nothing of its own to what is printed."""
    from rich.console import Console

    piped = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(
        file=stream,
        width=PIPE_WIDTH if piped else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_marked(mark: str, text: str, colour: str) -> None:
    """Prints `mark: text` to standard error, unwrapped."""
    from rich.text import Text

    line = Text.assemble((f"{mark}: ", f"bold {colour}"), text)
    make_console(sys.stderr).print(line, soft_wrap=True)


def to_json(value: Any) -> Any:
    """Values that JSON has; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)
