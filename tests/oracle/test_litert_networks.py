"""Trained TFLite networks on real inputs: every tensor equals LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import tidlq
from oracle.litert_tensors import ReferenceInterpreter, unequal_elements
from tidlq.export.agreement import IntegerTrace

Array = NDArray[np.generic]

INPUTS = 2
FULLY_CONNECTED = "sequential/dense/MatMul;sequential/dense/Relu;sequential/dense/BiasAdd"
# File -> integer tensors of the model that are compared.
NETWORKS = {
    "cifar10/models/mlperf_pretrainedResnet_quant.tflite": 15,
    "fashion_mnist/models/fmnist_mbv2_int16x8.tflite": 22,
    "fashion_mnist/models/fmnist_mbv2_int8.tflite": 22,
    "fashion_mnist/models/fmnist_mbv2_int8_floatio.tflite": 22,
    "fashion_mnist/models/fmnist_mbv2_int8_pertensor.tflite": 22,
    "imagenet/models/mobilenet_v1_0.25_128_quant.tflite": 30,
    "imagenet/models/mobilenet_v2_1.0_224_quant.tflite": 65,
    "imagenet/models/tf2_mobilenet_v2_1.0_224_ptq.tflite": 67,
    "kws/models/mlperf_kws_int8.tflite": 12,
    "segmentation/models/deeplabv3_mnv2_dm05_pascal_quant.tflite": 70,
    "vww/models/mlperf_vww_96_int8.tflite": 30,
    "vww/models/tflm_person_detect_96gray_int8.tflite": 30,
}


def pictures(folder: Path, height: int, width: int, channels: int) -> Iterator[NDArray[np.uint8]]:
    for path in sorted((folder / "coco/images/val2017").glob("*.jpg"))[:INPUTS]:
        with Image.open(path) as picture:
            small = picture.convert("L" if channels == 1 else "RGB").resize((width, height))
        yield np.asarray(small, np.uint8).reshape(1, height, width, channels)


def real_inputs(name: str, folder: Path, shape: tuple[int, ...], dtype: Array) -> Iterator[Array]:
    """Inputs of the model's type: bytes of pictures by their place in the type's range."""
    if name.startswith("kws"):
        yield from np.load(folder / "kws/data/kws01.npz")["q"][:INPUTS, np.newaxis, ..., np.newaxis]
        return
    if name.startswith("fashion_mnist"):
        stored = np.load(folder / "fashion_mnist/fmnist_test1000.npz")["x"][:INPUTS]
        found = iter(stored.reshape(-1, 1, 28, 28, 1))
    else:
        found = pictures(folder, *shape[1:])
    for picture in found:
        if dtype == np.float32:
            yield picture.astype(np.float32) / np.float32(255)
        else:
            yield (picture.astype(np.int64) + np.iinfo(dtype).min).astype(dtype)


@pytest.mark.slow
def test_the_integer_part_of_a_partly_quantized_network_equals_the_reference_kernels(
    shared_data: Path,
) -> None:
    path = shared_data / "import_only/tflite_single_op/partly_quantized_mnist.tflite"
    compiled = tidlq.compile(path)
    assert compiled.plan is not None
    trace = IntegerTrace(
        compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages
    )
    reference = ReferenceInterpreter(path, keep=True)
    stored = np.load(shared_data / "fashion_mnist/fmnist_test1000.npz")["x"][:5]
    for picture in stored.reshape(-1, 1, 28, 28, 1).astype(np.float32) / np.float32(255):
        reference.run(picture)
        integers = trace.run({compiled.graph.inputs[0].name: picture})
        for name in ("sequential/flatten/Reshape_quantized", FULLY_CONNECTED):
            (expected,) = reference.tensors(name)
            assert expected.dtype == np.int8
            np.testing.assert_array_equal(integers[name], expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_equals_the_reference_kernels(name: str, shared_data: Path) -> None:
    path = shared_data / name
    compiled = tidlq.compile(path)
    assert compiled.plan is not None
    trace = IntegerTrace(
        compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages
    )
    session = tidlq.InferenceSession(compiled.artifacts)
    reference = ReferenceInterpreter(path, keep=True)
    shape, dtype = tuple(reference.input["shape"]), np.dtype(reference.input["dtype"])
    (signature,) = compiled.graph.inputs
    count = 0
    for x in real_inputs(name, shared_data, shape, dtype):
        expected = reference.run(x)
        for ours, theirs in zip(session.run(None, {signature.name: x}), expected, strict=True):
            np.testing.assert_array_equal(np.asarray(ours), theirs)
        differences = {
            tensor: unequal
            for tensor, ours in trace.run({signature.name: x}).items()
            for theirs in reference.tensors(tensor)
            if (unequal := unequal_elements(np.asarray(ours), theirs)) is not None
        }
        assert set(differences.values()) == {0}
        assert len(differences) == NETWORKS[name]
        count += 1
    assert count == INPUTS
