"""Labelled data: class folders, tables and archives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tidlq.errors import DataError, OptionError
from tidlq.graph.model import TensorSignature
from tidlq.importers.labels import open_labelled, read_classes
from tidlq.importers.preprocessing import Preprocessing

_INPUTS = (TensorSignature("image", np.dtype("float32"), (1, 1, 2, 2), (1, 1, 2, 2)),)


def _pictures(folder: Path, *names: str) -> None:
    for value, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), value).save(path)


def _pairs(labelled: object) -> list[tuple[float, int]]:
    return [(float(frame["image"].flat[0]), label) for frame, label in labelled]  # type: ignore[attr-defined]


def test_sorted_folders_are_the_classes(tmp_path: Path) -> None:
    _pictures(tmp_path, "dog/1.png", "cat/2.png", "cat/deep/1.png", "emu/1.png")
    labelled = open_labelled(tmp_path, _INPUTS)
    assert len(labelled) == 4
    assert _pairs(labelled) == [(1, 0), (2, 0), (0, 1), (3, 2)]
    assert _pairs(labelled) == _pairs(labelled)
    assert labelled.class_names == {0: "cat", 1: "dog", 2: "emu"}
    assert labelled.frames.frame_name(0).endswith("2.png'")


def test_file_of_classes_gives_the_indices_at_any_depth(tmp_path: Path) -> None:
    _pictures(tmp_path, "data/val/dog/1.png", "data/train/cat/more/2.png")
    (tmp_path / "names.txt").write_text("emu\n\ncat\ndog\n")
    labelled = open_labelled(tmp_path / "data", _INPUTS, classes=tmp_path / "names.txt")
    assert _pairs(labelled) == [(1, 1), (0, 2)]
    assert labelled.class_names == {0: "emu", 1: "cat", 2: "dog"}


def test_limit_keeps_every_class(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"{name}/{i}.png" for name in "abcd" for i in range(5)))
    labelled = open_labelled(tmp_path, _INPUTS, limit=4)
    assert labelled.labels == (0, 1, 2, 3)


@pytest.mark.parametrize("header", ["", "file,label\n"])
def test_table_lists_files_beside_it_with_labels(tmp_path: Path, header: str) -> None:
    _pictures(tmp_path, "a.png", "in/b.png")
    (tmp_path / "list.csv").write_text(f"{header}in/b.png, 7\n\na.png,2\n")
    labelled = open_labelled(tmp_path / "list.csv", _INPUTS)
    assert _pairs(labelled) == [(1, 7), (0, 2)]
    assert labelled.class_names == {}


def test_table_of_names_counts_sorted_names(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text("a.png,dog\nb.png,cat\n")
    labelled = open_labelled(tmp_path / "list.csv", _INPUTS)
    assert labelled.labels == (1, 0)
    assert labelled.class_names == {0: "cat", 1: "dog"}


def test_table_takes_names_from_the_file_of_classes(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text("a.png,dog\nb.png,4\n")
    (tmp_path / "names.json").write_text(json.dumps({"dog": 3, "cat": 4}))
    labelled = open_labelled(tmp_path / "list.csv", _INPUTS, classes=tmp_path / "names.json")
    assert labelled.labels == (3, 4)


@pytest.mark.parametrize("key", ["y", "label", "labels"])
@pytest.mark.parametrize("data_key", ["x", "image"])
def test_archive_holds_frames_and_labels(tmp_path: Path, key: str, data_key: str) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    labels = np.array([2, 0, 1], np.uint8)
    np.savez(tmp_path / "d.npz", **{data_key: pixels, key: labels})  # type: ignore[arg-type]
    labelled = open_labelled(tmp_path / "d.npz", _INPUTS, Preprocessing())
    assert _pairs(labelled) == [(0, 2), (4, 0), (8, 1)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("c.txt", "a\nb\n", {"a": 0, "b": 1}),
        ("c.txt", "tabby cat 5\ndog\t2\n", {"tabby cat": 5, "dog": 2}),
        ("c.txt", "crane, bird,5\ndog,2\n", {"crane, bird": 5, "dog": 2}),
        ("c.txt", "tabby cat\ndog 2\n", {"tabby cat": 0, "dog 2": 1}),
        ("c.json", '["a", "b"]', {"a": 0, "b": 1}),
        ("c.yaml", "a: 3\nb: 1\n", {"a": 3, "b": 1}),
    ],
)
def test_classes_are_read_from_lines_and_mappings(
    tmp_path: Path, name: str, text: str, expected: dict[str, int]
) -> None:
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", b"", "holds no class."),
        ("c.txt", b"a\na\n", "names 'a' twice."),
        ("c.txt", b"\xff\xfe\x00", "is not a text file of class names."),
        ("c.json", b'{"a": -1}', "'a' is -1, allowed: 0 or more."),
        ("c.json", b'{"a": "b"}', "holds neither names with indices nor a list of names."),
        ("c.yaml", b"a: [1", "is not a text file of class names."),
    ],
)
def test_wrong_file_of_classes_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_classes(tmp_path / name)
    assert str(caught.value).startswith(f"classes {str(tmp_path / name)!r}")
    assert str(caught.value).endswith(message)


def test_missing_file_of_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.txt' cannot be read: No such file or directory"):
        read_classes(tmp_path / "none.txt")


def test_folder_that_is_no_class_names_the_nearest(tmp_path: Path) -> None:
    _pictures(tmp_path, "data/dogs/1.png")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match=r"folder 'dogs' of picture .* Did you mean 'dog'"):
        open_labelled(tmp_path / "data", _INPUTS, classes=tmp_path / "names.txt")


def test_picture_outside_the_class_folders_is_named(tmp_path: Path) -> None:
    _pictures(tmp_path, "dog/1.png", "stray.png")
    with pytest.raises(DataError, match=r"picture 'stray.png' stands outside the class folders"):
        open_labelled(tmp_path, _INPUTS)


def test_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture, expected a subfolder of them per class"):
        open_labelled(tmp_path, _INPUTS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a.png\n", "row 1 of '{0}' is ['a.png'], allowed: file,label."),
        ("a.png,1\na.png,1,2\n", "row 2 of '{0}' is ['a.png', '1', '2'], allowed: file,label."),
        ("file,label\nb.png,1\n", "row 2 of '{0}': file '{1}' does not exist."),
        ("", "labelled data '{0}' holds no frame."),
    ],
)
def test_wrong_table_is_one_sentence(tmp_path: Path, table: str, message: str) -> None:
    _pictures(tmp_path, "a.png")
    path = tmp_path / "list.csv"
    path.write_text(table)
    with pytest.raises(DataError) as caught:
        open_labelled(path, _INPUTS)
    assert str(caught.value) == message.format(path, tmp_path / "b.png")
    assert caught.value.exit_code == 1


def test_table_with_an_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    (tmp_path / "list.csv").write_text("a.png,dgo\n")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    with pytest.raises(
        DataError, match=r"row 1 of .*: class 'dgo' is not in .* Did you mean 'dog'"
    ):
        open_labelled(tmp_path / "list.csv", _INPUTS, classes=tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "holds 'x' and no labels, allowed: an array named 'y', 'label', 'labels'."),
        (
            np.zeros(2, np.int64),
            "labels 'y' are int64 [2], allowed: one integer for each of the 3 frames.",
        ),
        (
            np.zeros(3),
            "labels 'y' are float64 [3], allowed: one integer for each of the 3 frames.",
        ),
        (np.array([0, -2, 1]), "label 1 is -2, allowed: 0 or more."),
        (np.int64(0), "labels 'y' are int64 [], allowed: one integer for each of the 3 frames."),
    ],
)
def test_wrong_labels_of_an_archive_are_one_sentence(
    tmp_path: Path, labels: object, message: str
) -> None:
    held = {"x": np.zeros((3, 1, 2, 2), np.float32)} | ({} if labels is None else {"y": labels})
    np.savez(tmp_path / "d.npz", **held)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        open_labelled(tmp_path / "d.npz", _INPUTS)
    assert str(caught.value).endswith(message)


def test_missing_data_and_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none' does not exist"):
        open_labelled(tmp_path / "none", _INPUTS)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="is neither a folder with one subfolder per class nor"):
        open_labelled(tmp_path / "a.txt", _INPUTS)


def test_limit_below_one_is_an_option_error(tmp_path: Path) -> None:
    _pictures(tmp_path, "dog/1.png")
    with pytest.raises(OptionError, match="number of frames is 0"):
        open_labelled(tmp_path, _INPUTS, limit=0)
