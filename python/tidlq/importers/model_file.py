"""Reading a model's file; faults of the file itself."""

from __future__ import annotations

from pathlib import Path

from tidlq.errors import ModelError, nearest_names

TFLITE_IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every TFLite file."""

# Offsets in flatbuffers and lengths in protobuf messages end there.
LARGEST_FILE = (1 << 31) - 1


def read_model_file(path: Path, remedy: str) -> bytes:
    """The bytes of a file.

    Args:
        path: of the file.
        remedy: what to do about a file that is too large.

    Raises:
        ModelError: There is no such file, or it cannot be read or is too large.
    """
    if path.is_dir():
        raise ModelError(f"{path} is a folder; a model file is needed.")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(
                f"{path} has {path.stat().st_size} bytes, and model files end at 2 GiB; {remedy}."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist.{_neighbours(path)}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not a path: {error}.") from error


def begins_like_tflite(path: Path) -> bool:
    """Whether a file can be opened and bears TFLite's identifier."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == TFLITE_IDENTIFIER
    except (OSError, ValueError):
        return False


def _neighbours(path: Path) -> str:
    try:
        return nearest_names(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
