"""What an interrupted calibration leaves behind, so that the next one continues where it was.

Phases save their own state under a name; what they save is written every few seconds, to one file
that is whole or absent. A file that is damaged or belongs to something else is dropped: it costs
the progress, never the result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from tidlq._core import isa_available
from tidlq.errors import ArtifactError
from tidlq.float_runtime import runtime_version
from tidlq.graph.model import Graph
from tidlq.version import __version__

State = Mapping[str, bytes]
"""A phase's state: named blobs, whose meaning is the phase's own business."""

T = TypeVar("T")

SECONDS_BETWEEN_WRITES = 2.0
LARGEST_SHARE = 0.02
"""Part of the time that writing may take; states that take long to write are written less often."""

_MAGIC = b"tidlq calibration progress 1\n"
_DIGEST_BYTES = 32
_HEADER_LENGTH = struct.Struct("<Q")


class Checkpoints(Protocol):
    """Where phases of a calibration keep their state."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, in plain sentences."""

    def load(self, phase: str, read: Callable[[State], T]) -> T | None:
        """What `read` makes of a phase's state; None where there is none, or it makes no sense."""

    def save(self, phase: str, state: Callable[[], State]) -> None:
        """Offers a phase's state; it is called now, or at a later save, or not at all.

        Between two saves of its phase the state may change, but not while others save.
        """

    def publish(self, name: str, content: bytes) -> None:
        """Writes a file for people beside the state, whole or not at all."""

    def drop(self, reason: str) -> None:
        """Forgets everything, and tells the user why."""

    def of(self, basis: str) -> Checkpoints:
        """The same for phases whose state holds for one basis only, such as certain frames."""


class NoCheckpoints:
    """Nothing is kept."""

    notices: tuple[str, ...] = ()

    def load(self, phase: str, read: Callable[[State], T]) -> T | None:  # noqa: ARG002
        """Nothing."""
        return None

    def save(self, phase: str, state: Callable[[], State]) -> None:
        """Does nothing."""

    def publish(self, name: str, content: bytes) -> None:
        """Does nothing."""

    def drop(self, reason: str) -> None:
        """Does nothing."""

    def of(self, basis: str) -> Checkpoints:  # noqa: ARG002
        """Itself."""
        return self


class CheckpointFile:
    """State in a file, for one key.

    Args:
        path: of the file; its folder is made when there is something to write.
        key: names everything besides the frames that decides what a calibration computes.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._notices: list[str] = []
        self._pending: dict[str, Callable[[], State]] = {}
        self._next_write = time.monotonic() + SECONDS_BETWEEN_WRITES
        self._states: dict[str, State] = {}
        self._states = self._read()

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, in plain sentences."""
        return tuple(self._notices)

    def load(self, phase: str, read: Callable[[State], T]) -> T | None:
        """What `read` makes of a phase's state; None where there is none, or it makes no sense."""
        state = self._states.get(phase)
        if state is None:
            return None
        try:
            return read(state)
        except (ArtifactError, ArithmeticError, LookupError, TypeError, ValueError):
            self.drop("is damaged")
            return None

    def save(self, phase: str, state: Callable[[], State]) -> None:
        """Offers a phase's state; it is called now, or at a later save, or not at all."""
        self._pending[phase] = state
        started = time.monotonic()
        if started < self._next_write:
            return
        for name, pending in self._pending.items():
            self._states[name] = pending()
        self._pending.clear()
        try:
            self._write()
        except OSError as error:
            self._notify(
                f"Calibration progress cannot be kept in {str(self._path)!r}: {error.strerror}; "
                "an interrupted calibration would start over."
            )
        ended = time.monotonic()
        pause = max(SECONDS_BETWEEN_WRITES, (ended - started) / LARGEST_SHARE)
        self._next_write = ended + pause

    def publish(self, name: str, content: bytes) -> None:
        """Writes a file for people beside the state, whole or not at all."""
        try:
            _write_whole(self._path.with_name(name), [content])
        except OSError as error:
            path = str(self._path.with_name(name))
            self._notify(f"{path!r} cannot be written: {error.strerror}.")

    def drop(self, reason: str) -> None:
        """Forgets everything, and tells the user why."""
        self._states.clear()
        self._pending.clear()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._notify(f"{str(self._path)!r} {reason}; the calibration starts over.")

    def of(self, basis: str) -> Checkpoints:
        """The same for phases whose state holds for one basis only."""
        return _BasedCheckpoints(self, basis)

    def _notify(self, text: str) -> None:
        if text not in self._notices:
            self._notices.append(text)

    def _read(self) -> dict[str, State]:
        try:
            content = self._path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            self.drop(f"cannot be read ({error.strerror})")
            return {}
        try:
            key, states = _unpack(content)
        except ValueError as error:
            self.drop(str(error))
            return {}
        if key != self._key:
            self.drop("is of another model, other options or another version")
            return {}
        return states

    def _write(self) -> None:
        _write_whole(self._path, _pack(self._key, self._states))


def open_checkpoints(path: Path | None, graph: Graph, options: Mapping[str, object]) -> Checkpoints:
    """Checkpoints of calibrating a graph with these options.

    They are of no use to another version of the software, or on another kind of machine, on which
    the float network may round otherwise.

    Args:
        path: the file; None keeps nothing.
        graph: the canonical Graph.
        options: by name, those that decide anything.
    """
    if path is None:
        return NoCheckpoints()
    basis = {
        "graph": graph.fingerprint,
        "nodes": [node.name for node in graph.nodes],
        "options": dict(options),
        "versions": [__version__, np.__version__, runtime_version()],
        "machine": [platform.machine(), *isa_available()],
    }
    return CheckpointFile(path, hashlib.sha256(json.dumps(basis).encode()).hexdigest())


class _BasedCheckpoints:
    """Another's checkpoints, under names that tell the basis."""

    def __init__(self, whole: Checkpoints, basis: str) -> None:
        self._whole = whole
        self._basis = basis

    @property
    def notices(self) -> tuple[str, ...]:
        return self._whole.notices

    def load(self, phase: str, read: Callable[[State], T]) -> T | None:
        return self._whole.load(self._name(phase), read)

    def save(self, phase: str, state: Callable[[], State]) -> None:
        self._whole.save(self._name(phase), state)

    def publish(self, name: str, content: bytes) -> None:
        self._whole.publish(name, content)

    def drop(self, reason: str) -> None:
        self._whole.drop(reason)

    def of(self, basis: str) -> Checkpoints:
        return _BasedCheckpoints(self._whole, f"{self._basis} {basis}")

    def _name(self, phase: str) -> str:
        return f"{phase} {self._basis}"


def _write_whole(path: Path, parts: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def partial_path(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f"{path.name}.part")


def _pack(key: str, states: Mapping[str, State]) -> Iterator[bytes]:
    """The file's parts: magic, SHA-256 of the rest, header's length, header (JSON), blobs."""
    sizes = {phase: {n: len(b) for n, b in state.items()} for phase, state in states.items()}
    header = json.dumps({"key": key, "sizes": sizes}).encode()
    rest = [_HEADER_LENGTH.pack(len(header)), header]
    rest += [blob for state in states.values() for blob in state.values()]
    digest = hashlib.sha256()
    for part in rest:
        digest.update(part)
    yield from (_MAGIC, digest.digest(), *rest)


def _unpack(content: bytes) -> tuple[str, dict[str, State]]:
    """The key and the states.

    Raises:
        ValueError: What is wrong with the file, as the end of a sentence.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    if not content.startswith(_MAGIC):
        raise ValueError("is damaged or of another version")
    if hashlib.sha256(memoryview(content)[start:]).digest() != content[len(_MAGIC) : start]:
        raise ValueError("is damaged")
    try:
        (length,) = _HEADER_LENGTH.unpack_from(content, start)
        position = start + _HEADER_LENGTH.size + length
        header = json.loads(content[position - length : position])
        states: dict[str, State] = {}
        for phase, sizes in header["sizes"].items():
            blobs: dict[str, bytes] = {}
            for name, size in sizes.items():
                blobs[name] = content[position : position + size]
                position += size
            states[phase] = blobs
        return str(header["key"]), states
    except (struct.error, LookupError, TypeError, AttributeError, ValueError):
        raise ValueError("is damaged") from None
