"""TFLite files of the data folder with the evaluation that each is made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_folder import data_folder, evaluation
from network import Array, Network, Score


@dataclass(frozen=True)
class _File:
    """A file: its task's folder, what eval.py calls its data, and where the samples stand."""

    path: str
    samples_at: int
    options: tuple[tuple[str, Any], ...] = ()
    metric: str = "top-1"


_IMAGENET, _RAW = (("pre", "tf"),), (("pre", "raw"),)
INTEGER_FILES = (
    _File("fashion_mnist/models/fmnist_mbv2_int8.tflite", 1),
    _File("fashion_mnist/models/fmnist_mbv2_int8_floatio.tflite", 1),
    _File("fashion_mnist/models/fmnist_mbv2_int8_pertensor.tflite", 1),
    _File("fashion_mnist/models/fmnist_mbv2_int16x8.tflite", 1),
    _File("kws/models/mlperf_kws_int8.tflite", 1),
    _File("cifar10/models/mlperf_pretrainedResnet_quant.tflite", 1, _RAW),
    _File("vww/models/mlperf_vww_96_int8.tflite", 3),
    _File("vww/models/tflm_person_detect_96gray_int8.tflite", 3, (("pre", "tf"), ("fit", "crop"))),
    _File("imagenet/models/mobilenet_v1_0.25_128_quant.tflite", 2, _IMAGENET),
    _File("imagenet/models/mobilenet_v2_1.0_224_quant.tflite", 2, _IMAGENET),
    _File("imagenet/models/tf2_mobilenet_v2_1.0_224_ptq.tflite", 2, _IMAGENET),
    _File("segmentation/models/deeplabv3_mnv2_dm05_pascal_quant.tflite", 3, metric="mIoU"),
)
FLOAT_FILES = (
    _File("fashion_mnist/models/fmnist_mbv2_float.tflite", 1),
    _File("fashion_mnist/models/fmnist_mbv2_fp16.tflite", 1),
    _File("fashion_mnist/models/fmnist_mbv2_dynamic.tflite", 1),
    _File("kws/models/mlperf_kws_fp32.tflite", 1),
    _File("kws/models/mlperf_kws_float32.tflite", 1),
    _File("cifar10/models/mlperf_pretrainedResnet.tflite", 1, _RAW),
    _File("vww/models/mlperf_vww_96_float.tflite", 3),
    _File("imagenet/models/keras_mobilenet_v1_0.25_224.tflite", 2, _IMAGENET),
)


def _scorer(file: _File) -> Callable[[Any], Score]:
    def score(model: Any) -> Score:
        module = evaluation(data_folder() / Path(file.path).parts[0] / "eval.py")
        module.Model = model  # type: ignore[attr-defined]
        result = module.evaluate("", **dict(file.options))
        return Score(100 * result[0], result[file.samples_at])

    return score


def _no_pictures() -> Iterator[Array]:
    return iter(())


def tflite_networks(files: tuple[_File, ...]) -> list[Network]:
    """Networks without calibration pictures: what they need they state."""
    return [
        Network(
            Path(file.path).stem,
            data_folder() / file.path,
            file.metric,
            _no_pictures,
            False,
            _scorer(file),
        )
        for file in files
    ]
