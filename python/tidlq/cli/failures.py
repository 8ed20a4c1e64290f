"""How an exception becomes a sentence and an exit code."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidlq.errors import InternalError, TidlqError, nearest_names

INTERRUPTED = 130
USAGE = 2
DEBUG_VARIABLE = "TIDLQ_DEBUG"
_NOTHING_WRITTEN = "interrupted, nothing was written"
_CAN_CONTINUE = "; the same command continues the calibration where it was"


class UserInterruptError(Exception):
    """The user pressed Ctrl-C; the message says what was written by then."""


@dataclass(frozen=True)
class Failure:
    """Why a command ends without success.

    Attributes:
        kind: name of the error's class, for scripts.
        message: one or two sentences.
        exit_code: of the process.
    """

    kind: str
    message: str
    exit_code: int

    def document(self) -> dict[str, Any]:
        """The failure as JSON values."""
        return {"kind": self.kind, "message": self.message, "exit_code": self.exit_code}


@contextlib.contextmanager
def naming_written(*paths: Path | None, progress: Path | None = None) -> Iterator[None]:
    """Lets an interruption say which of the files or folders were written before it.

    Args:
        paths: files, and folders of artifacts.
        progress: the file from which the same command continues, if it is there.

    Raises:
        UserInterruptError: In place of KeyboardInterrupt.
    """
    targets = [path for path in paths if path is not None]
    before = [_stamp(path) for path in targets]
    try:
        yield
    except KeyboardInterrupt:
        after = [_stamp(path) for path in targets]
        written = [
            repr(str(path))
            for path, old, new in zip(targets, before, after, strict=True)
            if new not in (None, old)
        ]
        message = _NOTHING_WRITTEN
        if written:
            message = f"interrupted, already written: {', '.join(written)}"
        if progress is not None and progress.exists():
            message += _CAN_CONTINUE
        raise UserInterruptError(message) from None


def _stamp(path: Path) -> tuple[int, int] | None:
    from tidlq.artifacts import MANIFEST

    try:
        # The folder itself may hold an unfinished calibration.
        found = (path / MANIFEST if path.is_dir() else path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def describe_failure(error: BaseException) -> Failure:
    """Returns what to say about an exception; whatever is not foreseen is a fault of tidlq."""
    if isinstance(error, (UserInterruptError, KeyboardInterrupt)):
        return Failure("Interrupted", str(error) or _NOTHING_WRITTEN, INTERRUPTED)
    if isinstance(error, InternalError):
        return _internal(str(error))
    if isinstance(error, TidlqError):
        return Failure(type(error).__name__, _one_line(str(error)), error.exit_code)
    if hasattr(error, "format_message"):
        return Failure("UsageError", _usage(error), getattr(error, "exit_code", USAGE))
    if isinstance(error, MemoryError):
        return Failure("MemoryError", _one_line(f"not enough memory. {error}"), 1)
    if isinstance(error, OSError) and error.strerror:
        # Such as a full disk behind the help text.
        where = f" ({error.filename})" if error.filename else ""
        return Failure("OSError", f"the system refuses: {error.strerror}{where}.", 1)
    return _internal(f"{type(error).__name__}: {error}")


def _internal(text: str) -> Failure:
    message = f"internal error: {_one_line(text)}"
    if not os.environ.get(DEBUG_VARIABLE):
        message += f" (run again with {DEBUG_VARIABLE}=1 to see where it arose)"
    return Failure("InternalError", message, InternalError.exit_code)


def _usage(error: Any) -> str:
    """The parser's sentence, with the nearest option and the way to the help."""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = _option_names(context)
        text = f"unknown option {option!r}.{nearest_names(option, known)}"
    else:
        text = _sentence(_one_line(error.format_message()))
    if context is not None:
        text += f" See '{context.command_path} --help'."
    return text


def _option_names(context: Any) -> Sequence[str]:
    if context is None:
        return ()
    parameters = context.command.get_params(context)
    return [name for parameter in parameters for name in parameter.opts if name.startswith("-")]


def _sentence(text: str) -> str:
    text = text[:1].lower() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _one_line(text: str) -> str:
    return " ".join(text.split())
