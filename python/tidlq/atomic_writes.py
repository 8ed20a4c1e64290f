"""Files and folders on disk that are whole or absent: written beside their place and renamed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidlq.errors import OutputError

FindForeign = Callable[[Path, Sequence[str]], str | None]
"""The name of something in a folder, among its sorted entries, that may not be replaced."""


def replace_file(path: Path, content: bytes, what: str = "") -> None:
    """Writes a file beside its target and renames it; folders are created.

    Args:
        path: of the file.
        content: all of it.
        what: names the file's role in messages.

    Raises:
        OutputError: The file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error, what) from None


def check_folder(folder: Path, what: str, find_foreign: FindForeign) -> None:
    """Refuses a folder that `replace_folder` should not replace, before any work is done.

    Args:
        folder: need not exist.
        what: that it is to hold, for messages.
        find_foreign: finds something else in it.

    Raises:
        OutputError: The place is a file, or holds something else.
    """
    try:
        found = folder.stat()
        is_folder = stat.S_ISDIR(found.st_mode)
        entries = sorted(entry.name for entry in folder.iterdir()) if is_folder else []
        foreign = find_foreign(folder, entries)
        is_same = os.path.samestat(found, folder.stat())
    except OSError:
        # Nothing is there, or writing will say what is wrong.
        return
    if not is_folder:
        raise _not_a_folder(folder)
    if foreign is not None and not is_same:
        # Another process has replaced the folder while it was read.
        check_folder(folder, what, find_foreign)
    elif foreign is not None:
        raise OutputError(
            f"{str(folder)!r} holds something else than {what} ({foreign!r}); "
            "name a new or empty folder."
        )


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder beside its place and renames it; what stood there is gone afterwards.

    Of several processes that write one folder the last one stays.

    Args:
        folder: its parents are created.
        files: contents by file name.

    Raises:
        OutputError: The folder cannot be written, or a file is there; what stood there stays.
    """
    target = folder.resolve() if folder.is_symlink() else folder
    if target.is_file():
        raise _not_a_folder(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        for name, content in files.items():
            (partial / name).write_bytes(content)
        partial.chmod(0o777 & ~_umask())
        _put_in_place(partial, target)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unwritable(path: Path, error: OSError, what: str = "") -> OutputError:
    role = f"{what} " if what else ""
    return OutputError(f"{role}{str(path)!r} cannot be written: {error.strerror or error}.")


def _not_a_folder(path: Path) -> OutputError:
    return OutputError(f"{str(path)!r} is a file; name a folder.")


def _put_in_place(partial: Path, target: Path) -> None:
    """Renames; what stood there before is kept until the new folder is in place."""
    while True:
        backup = _set_aside(target, partial.with_name(partial.name + ".old"))
        try:
            partial.rename(target)
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                # Another process has put its folder there in the meantime.
                _remove(backup)
                continue
            if backup is not None:
                backup.rename(target)
            raise
        _remove(backup)
        return


def _set_aside(target: Path, backup: Path) -> Path | None:
    """Moves what stands at the target away, if anything does."""
    try:
        return target.rename(backup)
    except FileNotFoundError:
        return None


def _remove(backup: Path | None) -> None:
    if backup is not None:
        shutil.rmtree(backup, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
