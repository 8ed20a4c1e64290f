"""Classifiers: ImageNet, CIFAR-10, keywords, visual wake words, Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from data_folder import data_folder, evaluation
from network import Array, Network, Score, spread


def _task(name: str) -> ModuleType:
    return evaluation(data_folder() / name / "eval.py")


def _scorer(task: str, samples_at: int, **options: Any) -> Callable[[Any], Score]:
    def score(model: Any) -> Score:
        module = _task(task)
        module.Model = model  # type: ignore[attr-defined]
        result = module.evaluate("", **options)
        return Score(100 * result[0], result[samples_at])

    return score


def _network(
    name: str,
    folder: str,
    pictures: Callable[[], Iterator[Array]],
    nchw: bool,
    score: Callable[[Any], Score],
) -> Network:
    model = data_folder() / folder / "models" / f"{name}.onnx"
    return Network(name, model, "top-1", pictures, nchw, score)


def _imagenet(name: str, pre: str, nchw: bool) -> Network:
    def pictures() -> Iterator[Array]:
        task = _task("imagenet")
        for file, _ in spread(task.dataset("calib"), 100):
            yield task.PRE[pre](task.load(file, 224, 224, 0.875))

    return _network(name, "imagenet", pictures, nchw, _scorer("imagenet", 2, pre=pre))


def cifar_network(name: str, pre: str, which: str, folder: str = "cifar10") -> Network:
    """A classifier of CIFAR-10, scored on one of the sets of its eval.py."""

    def pictures() -> Iterator[Array]:
        task = _task("cifar10")
        x, _ = task.dataset("calib500")
        yield from spread(task.PRE[pre](x), 100)

    return _network(name, folder, pictures, True, _scorer("cifar10", 1, pre=pre, which=which))


def keyword_network(name: str) -> Network:
    """A keyword spotter."""

    def pictures() -> Iterator[Array]:
        yield from _task("kws").dataset()[0][::10]

    return _network(name, "kws", pictures, False, _scorer("kws", 1, held_out=True))


def _vww() -> Network:
    def pictures() -> Iterator[Array]:
        from PIL import Image

        for file, _ in _task("vww").dataset("train2017"):
            image = Image.open(file).convert("RGB").resize((96, 96), Image.Resampling.BILINEAR)
            yield np.asarray(image, np.float32) / np.float32(255)

    return _network("mlperf_vww_96_float", "vww", pictures, True, _scorer("vww", 3))


def _fashion() -> Network:
    def pictures() -> Iterator[Array]:
        z = np.load(data_folder() / "fashion_mnist" / "fmnist_calib200.npz")
        yield from spread(z["x"].astype(np.float32)[..., None] / 255, 100)

    return _network("fmnist_mbv2", "fashion_mnist", pictures, True, _scorer("fashion_mnist", 1))


def classifiers() -> list[Network]:
    """Every float classification network of the data folder."""
    return [
        _fashion(),
        keyword_network("mlperf_kws_fp32"),
        keyword_network("mlperf_kws_float32"),
        _vww(),
        cifar_network("mlperf_pretrainedResnet", "raw", "test10k"),
        cifar_network("resnet20_cifar10", "torch", "test10k"),
        cifar_network("clip_resnet20_pow2_float_ts13", "torch", "held2000", "qat"),
        cifar_network("clip_resnet20_pow2_float_tsattr10", "torch", "held2000", "qat"),
        _imagenet("keras_mobilenet_v1_0.25_224", "tf", False),
        _imagenet("mobilenet_v2_1.0_224_deqfloat", "tf", True),
        _imagenet("efficientnet_lite0", "lite127", True),
    ]
