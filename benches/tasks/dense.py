"""Networks with an answer per place: detection (COCO AP) and segmentation (mIoU)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from data_folder import data_folder, evaluation
from network import Array, Network, Score, spread

SIDE = 416
SEGMENTATION_SIDE = 513
FRAMES = 50


def _task(name: str) -> ModuleType:
    return evaluation(data_folder() / name / "eval.py")


@functools.cache
def _detection() -> ModuleType:
    """The detector's eval.py; boxes are decoded and thinned out once per distinct answer."""
    task = _task("detection")
    decode, known = task.decode, {}

    def decode_once(arch: str, answers: list[Array], *place: Any) -> Any:
        digest = hashlib.blake2b(b"".join(answer.tobytes() for answer in answers)).digest()
        key = (arch, digest, place)
        if key not in known:
            known[key] = decode(arch, answers, *place)
        return known[key]

    task.decode = decode_once  # type: ignore[attr-defined]
    return task


def _training_pictures() -> list[Path]:
    files = sorted((data_folder() / "coco" / "images" / "train2017").glob("*.jpg"))
    return list(spread(files, FRAMES))


def _detector(name: str, arch: str) -> Network:
    def pictures() -> Iterator[Array]:
        task = _detection()
        for file in _training_pictures():
            yield task.preprocess(arch, task.cv2.imread(str(file)), SIDE, SIDE)[0][0]

    def score(model: Any) -> Score:
        task = _detection()
        task.Model = model  # type: ignore[attr-defined]
        precision, at_half, samples = task.evaluate("", arch)
        return Score(100 * precision, samples, {"AP50": 100 * at_half})

    path = data_folder() / "detection" / "models" / f"{name}.onnx"
    return Network(name, path, "AP", pictures, True, score, False, FRAMES)


def _segmenter(name: str) -> Network:
    def pictures() -> Iterator[Array]:
        cv2 = _task("segmentation").cv2
        for file in _training_pictures():
            image = cv2.imread(str(file))
            ratio = SEGMENTATION_SIDE / max(image.shape[:2])
            height, width = (round(size * ratio) for size in image.shape[:2])
            x = np.zeros((SEGMENTATION_SIDE, SEGMENTATION_SIDE, 3), np.float32)
            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            x[:height, :width] = resized[:, :, ::-1].astype(np.float32) / 127.5 - 1
            yield x

    def score(model: Any) -> Score:
        task = _task("segmentation")
        task.Model = model  # type: ignore[attr-defined]
        mean_iou, pixels, _, samples = task.evaluate("")
        return Score(100 * mean_iou, samples, {"pixels": 100 * pixels})

    path = data_folder() / "segmentation" / "models" / f"{name}.onnx"
    return Network(name, path, "mIoU", pictures, True, score, False, FRAMES)


def dense_networks() -> list[Network]:
    """Every float detector and segmenter of the data folder."""
    return [
        _segmenter("deeplabv3_mnv2_dm05_pascal_deqfloat"),
        _detector("nanodet_m_416_coco", "nanodet"),
        _detector("yolox_nano_416_coco", "yolox"),
    ]
