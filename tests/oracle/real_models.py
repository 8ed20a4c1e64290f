"""Trained networks with real frames, for comparing engine and oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Frames = list[dict[str, NDArray[np.float32]]]

CALIBRATION_FRAMES = 8
FRAMES = CALIBRATION_FRAMES + 2
EVERY_SCALE_TYPE = (0, 1, 4)


@dataclass(frozen=True)
class RealModel:
    """A model file and how its frames are read.

    Attributes:
        path: of the model, in its folder.
        frames: reads arrays of the model's input shape from that folder, those after the first
            CALIBRATION_FRAMES for comparing.
        input: name of the model's input.
        is_packaged: the folder is the package's demo data, else the shared data.
        scale_types: values of quantization_scale_type to compile with; fewer for a large network.
    """

    path: str
    frames: Callable[[Path], Iterator[NDArray[np.float32]]]
    input: str
    is_packaged: bool = False
    scale_types: tuple[int, ...] = EVERY_SCALE_TYPE

    def load(self, request: pytest.FixtureRequest) -> tuple[Path, Frames]:
        """The model's path and its frames; skips where the shared data are absent."""
        fixture = "demo_folder" if self.is_packaged else "shared_data"
        folder: Path = request.getfixturevalue(fixture)
        frames = [{self.input: frame[None]} for frame in self.frames(folder)]
        assert len(frames) > CALIBRATION_FRAMES
        return folder / self.path, frames


def _fashion_mnist(folder: Path) -> Iterator[NDArray[np.float32]]:
    pictures = np.load(folder / "fmnist_test1000.npz")["x"][:FRAMES]
    yield from pictures.reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)


def _keywords(folder: Path) -> Iterator[NDArray[np.float32]]:
    features = np.load(folder / "kws/data/kws01.npz")["q"][:FRAMES]
    yield from (features.reshape(-1, 49, 10, 1).astype(np.float32) - 83) * np.float32(0.5847029)


def _cifar10(folder: Path) -> Iterator[NDArray[np.float32]]:
    path = folder / "cifar10/data/cifar10_test_100.csv"
    rows = np.loadtxt(path, delimiter=",", max_rows=FRAMES, dtype=np.float32)
    yield from rows[:, 1:].reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def _normalised_cifar10(folder: Path) -> Iterator[NDArray[np.float32]]:
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    for picture in _cifar10(folder):
        yield (picture / 255 - mean) / deviation


def _people(folder: Path) -> Iterator[NDArray[np.float32]]:
    for path in sorted((folder / "coco/images/val2017").glob("*.jpg"))[:FRAMES]:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((96, 96), Image.Resampling.BILINEAR)
        yield np.asarray(small, np.float32).transpose(2, 0, 1) / np.float32(255)


def _detection(folder: Path) -> Iterator[NDArray[np.float32]]:
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    deviation = np.array([57.375, 57.12, 58.395], np.float32)
    for path in sorted((folder / "coco/images/val2017").glob("*.jpg"))[: CALIBRATION_FRAMES + 1]:
        with Image.open(path) as picture:
            resized = picture.convert("RGB").resize((416, 416), Image.Resampling.BILINEAR)
        blue_first = np.asarray(resized, np.float32)[:, :, ::-1]
        yield ((blue_first - mean) / deviation).transpose(2, 0, 1).astype(np.float32)


REAL_MODELS = {
    "fmnist": RealModel("fmnist_mbv2.onnx", _fashion_mnist, "input", is_packaged=True),
    "kws": RealModel("kws/models/mlperf_kws_fp32.onnx", _keywords, "input"),
    "resnet8": RealModel("cifar10/models/mlperf_pretrainedResnet.onnx", _cifar10, "input_1"),
    "resnet20": RealModel("cifar10/models/resnet20_cifar10.onnx", _normalised_cifar10, "input"),
    "nanodet": RealModel(
        "detection/models/nanodet_m_416_coco.onnx", _detection, "input.1", scale_types=(4,)
    ),
    "vww": RealModel("vww/models/mlperf_vww_96_float.onnx", _people, "input_1"),
}
