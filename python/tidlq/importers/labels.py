"""Labelled data: one folder per class, a CSV of file and label, or an `.npz` with labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from tidlq.errors import DataError, nearest_names
from tidlq.graph.model import TensorSignature
from tidlq.importers.arrays import LABEL_KEYS, frame_arrays
from tidlq.importers.frame_source import (
    Frame,
    FrameReader,
    FrameSource,
    SelectedFrames,
    evenly_spaced,
    quoted,
)
from tidlq.importers.images import ImageReader, is_image, list_files
from tidlq.importers.lazy_arrays import open_arrays
from tidlq.importers.preprocessing import Preprocessing

_HEADERS = frozenset(("file", "filename", "image", "path"))


@dataclass(frozen=True)
class LabelledFrames:
    """Frames with their class.

    Attributes:
        frames: the frames.
        labels: class index of each frame.
        class_names: names by class index, where the data has names.
    """

    frames: FrameSource
    labels: tuple[int, ...]
    class_names: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Frame, int]]:
        return zip(self.frames, self.labels, strict=True)


def open_labelled(
    data: str | os.PathLike[str],
    inputs: Sequence[TensorSignature],
    preprocessing: Preprocessing | None = None,
    classes: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> LabelledFrames:
    """Opens labelled data.

    Args:
        data: a folder of pictures with one subfolder per class; a `.csv` of file,label (files are
            relative to it); or an `.npz` with an array per input and one of labels ('y').
        inputs: the network's inputs.
        preprocessing: of pictures, and of 8-bit arrays that hold pictures.
        classes: a file of class names, see `read_classes`. Without it the subfolders, sorted, are
            classes 0, 1, ...; with it a picture belongs to the nearest folder above it that is in
            the file.
        limit: frames to take, at most, spread evenly over the data; None takes all.
        folder: what the files of a `.csv` are relative to, instead of its own folder.

    Raises:
        DataError: There is no data, it is damaged, has no labels, or does not fit the inputs.
        OptionError: The limit is below 1, or `preprocessing` does not fit the inputs.
    """
    path = Path(data)
    indices = None if classes is None else read_classes(Path(classes))
    names: dict[int, str] = {}
    if not path.exists():
        raise DataError(f"labelled data {str(path)!r} does not exist.")
    reader: FrameReader
    if path.suffix.lower() == ".npz":
        arrays = open_arrays(path)
        reader = frame_arrays(arrays, inputs, preprocessing, repr(str(path)))
        labels = _array_labels(path, len(reader))
    else:
        if path.is_dir():
            pictures, labels, names = _folder_labels(path, indices)
        elif path.suffix.lower() == ".csv":
            beside = path.parent if folder is None else Path(folder)
            pictures, labels, names = _table_labels(path, indices, beside)
        else:
            raise DataError(
                f"labelled data {str(path)!r} is neither a folder with one subfolder per class "
                "nor a .csv nor an .npz file."
            )
        reader = ImageReader.open(pictures, inputs, preprocessing)
    if not labels:
        raise DataError(f"labelled data {str(path)!r} holds no frame.")
    if indices is not None:
        names = {index: name for name, index in indices.items()}
    chosen = evenly_spaced(len(labels), limit)
    picked = tuple(labels[index] for index in chosen)
    return LabelledFrames(SelectedFrames(reader, chosen), picked, names)


def read_classes(path: Path) -> dict[str, int]:
    """Reads a file of class names.

    Lines hold a name each, the first one being class 0; or all of them hold a name and an index,
    separated by a comma or white space. `.json`, `.yaml` and `.yml` files hold a mapping of names
    to indices, or a list of names.

    Args:
        path: the file.

    Returns:
        Class index by name.

    Raises:
        DataError: The file cannot be read, or a name or an index is not allowed.
    """
    try:
        text = path.read_text("utf-8")
        if path.suffix.lower() in (".json", ".yaml", ".yml"):
            pairs = _document_classes(yaml.safe_load(text), path)
        else:
            pairs = _line_classes(text)
    except OSError as error:
        raise DataError(f"classes {str(path)!r} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise DataError(f"classes {str(path)!r} is not a text file of class names.") from None
    found: dict[str, int] = {}
    for name, index in pairs:
        if found.setdefault(name, index) != index:
            raise DataError(f"classes {str(path)!r} names {name!r} twice.")
        if index < 0:
            raise DataError(f"classes {str(path)!r}: {name!r} is {index}, allowed: 0 or more.")
    if not found:
        raise DataError(f"classes {str(path)!r} holds no class.")
    return found


def _document_classes(document: object, path: Path) -> list[tuple[str, int]]:
    if isinstance(document, list):
        return [(str(name), index) for index, name in enumerate(document)]
    if isinstance(document, Mapping) and all(type(v) is int for v in document.values()):
        return [(str(name), index) for name, index in document.items()]
    raise DataError(f"classes {str(path)!r} holds neither names with indices nor a list of names.")


def _line_classes(text: str) -> list[tuple[str, int]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    split = [line.rsplit("," if "," in line else None, 1) for line in lines]
    if all(len(parts) == 2 and parts[1].strip().isdecimal() for parts in split):
        return [(parts[0].strip(), int(parts[1])) for parts in split]
    return [(line, index) for index, line in enumerate(lines)]


def _folder_labels(
    folder: Path, indices: Mapping[str, int] | None
) -> tuple[list[Path], list[int], dict[int, str]]:
    pictures = [path for path in list_files(folder) if is_image(path)]
    above = [path.relative_to(folder).parts[:-1] for path in pictures]
    if not pictures:
        raise DataError(
            f"folder {str(folder)!r} holds no picture, expected a subfolder of them per class."
        )
    if () in above:
        raise DataError(
            f"picture {pictures[above.index(())].name!r} stands outside the class folders of "
            f"{str(folder)!r}, expected a subfolder of them per class."
        )
    if indices is None:
        classes = sorted({parts[0] for parts in above})
        index_of = {name: index for index, name in enumerate(classes)}
        return pictures, [index_of[parts[0]] for parts in above], dict(enumerate(classes))
    labels = []
    for path, parts in zip(pictures, above, strict=True):
        name = next((part for part in reversed(parts) if part in indices), None)
        if name is None:
            raise DataError(
                f"folder {parts[-1]!r} of picture {str(path)!r} is not in the file of classes."
                + nearest_names(parts[-1], indices)
            )
        labels.append(indices[name])
    return pictures, labels, {}


def _table_labels(
    path: Path, indices: Mapping[str, int] | None, folder: Path
) -> tuple[list[Path], list[int], dict[int, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read as a table: {error}.") from None
    if rows and rows[0][1][0].strip().lower() in _HEADERS:
        rows = rows[1:]
    for number, row in rows:
        if len(row) != 2 or not row[0].strip() or not row[1].strip():
            raise DataError(f"row {number} of {str(path)!r} is {row!r}, allowed: file,label.")
    pictures = [folder / row[0].strip() for _, row in rows]
    for (number, _), picture in zip(rows, pictures, strict=True):
        if not picture.is_file():
            raise DataError(f"row {number} of {str(path)!r}: file {str(picture)!r} does not exist.")
    texts = [row[1].strip() for _, row in rows]
    if indices is None:
        if all(text.isdecimal() for text in texts):
            return pictures, [int(text) for text in texts], {}
        classes = sorted(set(texts))
        index_of = {name: index for index, name in enumerate(classes)}
        return pictures, [index_of[text] for text in texts], dict(enumerate(classes))
    labels = []
    for (number, _), text in zip(rows, texts, strict=True):
        if text not in indices and not text.isdecimal():
            raise DataError(
                f"row {number} of {str(path)!r}: class {text!r} is not in the file of classes."
                + nearest_names(text, indices)
            )
        labels.append(indices[text] if text in indices else int(text))
    return pictures, labels, {}


def _array_labels(path: Path, count: int) -> list[int]:
    arrays = open_arrays(path)
    key = next((name for name in LABEL_KEYS if name in arrays), None)
    if key is None:
        raise DataError(
            f"{str(path)!r} holds {quoted(arrays)} and no labels, allowed: an array named "
            f"{quoted(LABEL_KEYS)}."
        )
    array = arrays[key]
    if array.dtype.kind not in "iu" or array.shape not in ((count,), (count, 1)):
        raise DataError(
            f"{str(path)!r}: labels {key!r} are {array.dtype} {list(array.shape)}, allowed: one "
            f"integer for each of the {count} frames."
        )
    (values,) = array.rows([(0, count)])
    if values.size and int(values.min()) < 0:
        raise DataError(
            f"{str(path)!r}: label {int(np.argmin(values.reshape(-1)))} is "
            f"{int(values.min())}, allowed: 0 or more."
        )
    return [int(value) for value in values.reshape(-1)]
