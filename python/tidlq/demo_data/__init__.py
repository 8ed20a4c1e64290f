"""A small trained network and labelled pictures, for the demo; origin and licences in README.md.

The network takes float32 [n, 1, 28, 28] pixels in 0..1 and returns float32 [n, 10] probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_INPUT = "input"

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Names of the classes 0 to 9."""

PIXEL_SCALE = 1.0 / 255.0
"""What the 8-bit pixels in the `.npz` files are multiplied with."""


def model_path() -> Path:
    """Returns the path of the float ONNX network."""
    return _path("fmnist_mbv2.onnx")


def calibration_path() -> Path:
    """Returns the path of 200 pictures for calibration: `x`, uint8 [200, 28, 28]."""
    return _path("fmnist_calib200.npz")


def labelled_test_path() -> Path:
    """Returns the path of 1,000 other pictures: `x`, uint8 [1000, 28, 28], and classes `y`."""
    return _path("fmnist_test1000.npz")


def calibration_frames() -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yields the calibration pictures as frames: {"input": float32 [1, 1, 28, 28]}."""
    with np.load(calibration_path()) as archive:
        pixels = archive["x"]
    for picture in pixels:
        yield _frame(picture)


def labelled_test() -> Iterator[tuple[dict[str, NDArray[np.float32]], int]]:
    """Yields the test pictures as frames, each with its class."""
    with np.load(labelled_test_path()) as archive:
        pixels, classes = archive["x"], archive["y"]
    for picture, label in zip(pixels, classes, strict=True):
        yield _frame(picture), int(label)


def _path(name: str) -> Path:
    return Path(str(resources.files(__name__) / name))


def _frame(picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    scaled = picture.astype(np.float32) * np.float32(PIXEL_SCALE)
    return {_INPUT: scaled[np.newaxis, np.newaxis]}
