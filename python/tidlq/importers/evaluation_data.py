"""Data for an evaluation: frames, and labels where there are any."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidlq.graph.model import TensorSignature
from tidlq.importers.arrays import LABEL_KEYS
from tidlq.importers.frame_source import FrameSource
from tidlq.importers.frames import open_frames
from tidlq.importers.images import is_image, list_files
from tidlq.importers.labels import open_labelled
from tidlq.importers.lazy_arrays import open_arrays
from tidlq.importers.preprocessing import Preprocessing


@dataclass(frozen=True)
class EvaluationData:
    """Frames, with their classes where the data tell them."""

    frames: FrameSource
    labels: tuple[int, ...] | None
    class_names: Mapping[int, str]


def open_evaluation_data(
    data: str,
    inputs: Sequence[TensorSignature],
    preprocessing: Preprocessing | None = None,
    *,
    labels: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    use_labels: bool = True,
) -> EvaluationData:
    """Opens data for an evaluation.

    Args:
        data: what `open_frames` or `open_labelled` take; labels are used where there are any: one
            folder per class, a `.csv` of file,label, or an array `y` in an `.npz` file.
        inputs: the network's inputs.
        preprocessing: of pictures.
        labels: a `.csv` of file,label whose files are in the folder `data`.
        classes: names of the classes, see `open_labelled`.
        limit: frames, at most.
        use_labels: False leaves labels aside.

    Raises:
        DataError: The data are missing, damaged, or do not fit the inputs.
        OptionError: The limit or the preprocessing is not allowed.
    """
    if labels is not None:
        found = open_labelled(labels, inputs, preprocessing, classes, limit, folder=data)
        return EvaluationData(found.frames, found.labels, found.class_names)
    if use_labels and (classes is not None or _has_labels(Path(data))):
        found = open_labelled(data, inputs, preprocessing, classes, limit)
        return EvaluationData(found.frames, found.labels, found.class_names)
    return EvaluationData(open_frames(data, inputs, preprocessing, limit), None, {})


def _has_labels(path: Path) -> bool:
    suffix = path.suffix.lower()
    if path.is_dir():
        pictures = [file for file in list_files(path) if is_image(file)]
        return bool(pictures) and all(file.parent != path for file in pictures)
    if suffix == ".npz" and path.exists():
        return any(key in LABEL_KEYS for key in open_arrays(path))
    return suffix == ".csv"
