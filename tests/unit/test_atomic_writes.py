"""Files and folders that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tidlq.atomic_writes import check_folder, replace_file, replace_folder
from tidlq.errors import OutputError


def foreign(_folder: Path, entries: Sequence[str]) -> str | None:
    return next((entry for entry in entries if entry != "ours"), None)


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "made" / "here" / "file"
    for content in (b"first", b"second"):
        replace_file(target, content)
        assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_fails_half_way_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    replace_file(target, b"first")

    def fail(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match=r"^'.*file' cannot be written: No space left on device"):
        replace_file(target, b"second")
    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    replace_folder(target, {"a": b"1", "b": b"2"})
    replace_folder(target, {"a": b"3"})
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"a": b"3"}
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
    replace_folder(real, {"a": b"1"})
    link.symlink_to(real)
    replace_folder(link, {"a": b"2"})
    assert link.is_symlink()
    assert (real / "a").read_bytes() == b"2"
    assert list(real.parent.iterdir()) == [real]


def test_a_folder_has_the_permissions_of_the_users_mask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        replace_folder(tmp_path / "folder", {"a": b""})
    finally:
        os.umask(mask)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_folder_that_fails_half_way_leaves_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    replace_folder(target, {"a": b"1"})
    with pytest.raises(OutputError, match="cannot be written"):
        replace_folder(target, {"a": b"2", "no/such/place": b""})
    assert (target / "a").read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_file_in_the_way_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"is a file|cannot be written"):
        replace_folder(tmp_path / name, {"a": b""})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").is_file()


def test_what_may_not_be_replaced_is_named(tmp_path: Path) -> None:
    check_folder(tmp_path / "absent", "things", foreign)
    (tmp_path / "ours").write_bytes(b"")
    check_folder(tmp_path, "things", foreign)
    with pytest.raises(OutputError, match="is a file; name a folder"):
        check_folder(tmp_path / "ours", "things", foreign)
    (tmp_path / "theirs").write_bytes(b"")
    with pytest.raises(OutputError, match=r"holds something else than things \('theirs'\)"):
        check_folder(tmp_path, "things", foreign)
