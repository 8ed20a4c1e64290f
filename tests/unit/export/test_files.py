"""Exports on disk: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from tidlq.errors import OutputError
from tidlq.export.files import check_export_file, write_export


def tiny_model() -> onnx.ModelProto:
    return helper.make_model(helper.make_graph([], "empty", [], []))


def test_an_export_replaces_what_is_there_and_makes_folders(tmp_path: Path) -> None:
    target = tmp_path / "new" / "net.onnx"
    size = write_export(tiny_model(), target)
    assert target.stat().st_size == size
    target.write_bytes(b"old")
    write_export(tiny_model(), target)
    assert onnx.load(target) == tiny_model()
    assert [path.name for path in target.parent.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("name", ["net", "net.txt", "net.onnx.gz"])
def test_other_extensions_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"extension .*; allowed: \.onnx"):
        check_export_file(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_export_file(tmp_path / "net.onnx")


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_export(tiny_model(), tmp_path / "file" / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
