"""An exported model on disk."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from tidlq.atomic_writes import replace_file
from tidlq.errors import OutputError

_SUFFIX = ".onnx"


def check_export_file(path: str | os.PathLike[str]) -> None:
    """Refuses a file that could not be written, before any work is done.

    Raises:
        OutputError: The name does not end in `.onnx`, or is a folder's.
    """
    target = Path(path)
    if target.suffix.lower() != _SUFFIX:
        raise OutputError(
            f"export {str(target)!r} has the extension {target.suffix!r}; allowed: {_SUFFIX}."
        )
    if target.is_dir():
        raise OutputError(f"export {str(target)!r} is a folder; name an {_SUFFIX} file.")


def write_export(model: onnx.ModelProto, path: str | os.PathLike[str]) -> int:
    """Writes a model: the whole file, or nothing; folders are created.

    Returns:
        The file's size in bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    check_export_file(path)
    content = model.SerializeToString(deterministic=True)
    replace_file(Path(path), content, "export")
    return len(content)
