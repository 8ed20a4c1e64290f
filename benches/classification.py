"""Real classification networks with their data, for the benches.

Models and pictures are not part of the project: the folder that TIDLQ_SHARED_DATA names (by default
`../shared/data` beside the checkout) holds them, one folder per task with an `eval.py`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[np.float32]


def data_folder() -> Path:
    """The folder of real networks and data."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("TIDLQ_SHARED_DATA", default))


def input_name(model: Path) -> str:
    """The name of a model's first input that is not a constant."""
    graph = onnx.load(model, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return next(value.name for value in graph.input if value.name not in constants)


def _task(name: str) -> ModuleType:
    path = data_folder() / name / "eval.py"
    spec = importlib.util.spec_from_file_location(f"{name}_eval", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Network:
    """A trained classifier with calibration pictures and a score.

    Attributes:
        name: the model's file name without extension.
        path: below the data folder.
        pictures: yields normalised calibration pictures, float32 [H, W, C].
        nchw: the model's input is (N, C, H, W).
        score: top-1 of a model file or artifacts folder, and the number of samples.
    """

    name: str
    path: str
    pictures: Callable[[], Iterator[Array]]
    nchw: bool
    score: Callable[[str], tuple[float, int]]

    @property
    def model(self) -> Path:
        """The model file."""
        return data_folder() / self.path

    def frames(self, input_name: str, limit: int) -> Iterator[dict[str, Array]]:
        """Calibration frames, batch 1."""
        for _, picture in zip(range(limit), self.pictures(), strict=False):
            x = picture.transpose(2, 0, 1) if self.nchw else picture
            yield {input_name: np.ascontiguousarray(x[None], np.float32)}


def _spread(items: Any, count: int) -> Any:
    """`count` items evenly over a sequence, so that classes are covered."""
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]


def _imagenet(name: str, pre: str, nchw: bool) -> Network:
    def pictures() -> Iterator[Array]:
        task = _task("imagenet")
        for file, _ in _spread(task.dataset("calib"), 100):
            yield task.PRE[pre](task.load(file, 224, 224, 0.875))

    def score(path: str) -> tuple[float, int]:
        top1, _, n = _task("imagenet").evaluate(path, pre=pre)
        return top1, n

    return Network(name, f"imagenet/models/{name}.onnx", pictures, nchw, score)


def _cifar(name: str, pre: str, which: str, folder: str = "cifar10/models") -> Network:
    def pictures() -> Iterator[Array]:
        task = _task("cifar10")
        x, _ = task.dataset("calib500")
        yield from _spread(task.PRE[pre](x), 100)

    def score(path: str) -> tuple[float, int]:
        return _task("cifar10").evaluate(path, pre=pre, which=which)  # type: ignore[no-any-return]

    return Network(name, f"{folder}/{name}.onnx", pictures, True, score)


def _kws(name: str) -> Network:
    def pictures() -> Iterator[Array]:
        yield from _task("kws").dataset()[0][::10]

    def score(path: str) -> tuple[float, int]:
        return _task("kws").evaluate(path, held_out=True)  # type: ignore[no-any-return]

    return Network(name, f"kws/models/{name}.onnx", pictures, False, score)


def _vww() -> Network:
    def pictures() -> Iterator[Array]:
        from PIL import Image

        task = _task("vww")
        for file, _ in task.dataset("train2017"):
            image = Image.open(file).convert("RGB").resize((96, 96), Image.Resampling.BILINEAR)
            yield np.asarray(image, np.float32) / 255

    def score(path: str) -> tuple[float, int]:
        accuracy, _, _, n = _task("vww").evaluate(path)
        return accuracy, n

    name = "mlperf_vww_96_float"
    return Network(name, f"vww/models/{name}.onnx", pictures, True, score)


def _fashion() -> Network:
    def pictures() -> Iterator[Array]:
        z = np.load(data_folder() / "fashion_mnist" / "fmnist_calib200.npz")
        yield from _spread(z["x"].astype(np.float32)[..., None] / 255, 100)

    def score(path: str) -> tuple[float, int]:
        return _task("fashion_mnist").evaluate(path)  # type: ignore[no-any-return]

    name = "fmnist_mbv2"
    return Network(name, f"fashion_mnist/models/{name}.onnx", pictures, True, score)


def networks() -> list[Network]:
    """Every float classification network of the data folder."""
    return [
        _fashion(),
        _kws("mlperf_kws_fp32"),
        _kws("mlperf_kws_float32"),
        _vww(),
        _cifar("mlperf_pretrainedResnet", "raw", "test10k"),
        _cifar("resnet20_cifar10", "torch", "test10k"),
        _cifar("clip_resnet20_pow2_float_ts13", "torch", "held2000", "qat/models"),
        _cifar("clip_resnet20_pow2_float_tsattr10", "torch", "held2000", "qat/models"),
        _imagenet("keras_mobilenet_v1_0.25_224", "tf", False),
        _imagenet("mobilenet_v2_1.0_224_deqfloat", "tf", True),
        _imagenet("efficientnet_lite0", "lite127", True),
    ]
