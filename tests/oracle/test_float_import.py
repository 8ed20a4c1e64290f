"""Imported networks compute what the originals compute in ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from numpy.typing import NDArray

from oracle.float_reference import RELATIVE, assert_close, random_feeds, run_float, run_ir
from oracle.quantized_models import MODELS as QUANTIZED
from oracle.stated_reference import run_stated
from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx
from tidlq.passes.infer_shapes import has_open_shapes

# Every float ONNX file of the shared data -> number of nodes after import.
MODELS = {
    "cifar10/models/mlperf_pretrainedResnet.onnx": 23,
    "cifar10/models/resnet20_cifar10.onnx": 54,
    "detection/models/nanodet_m_416_coco.onnx": 225,
    "detection/models/yolox_nano_416_coco.onnx": 369,
    "fashion_mnist/models/fmnist_mbv2.onnx": 36,
    "imagenet/models/efficientnet_lite0.onnx": 94,
    "imagenet/models/keras_mobilenet_v1_0.25_224.onnx": 63,
    "imagenet/models/mobilenet_v2_1.0_224_deqfloat.onnx": 101,
    "kws/models/mlperf_kws_float32.onnx": 23,
    "kws/models/mlperf_kws_fp32.onnx": 23,
    "qat/models/clip_resnet20_pow2_float_ts13.onnx": 87,
    "qat/models/clip_resnet20_pow2_float_tsattr10.onnx": 87,
    "segmentation/models/deeplabv3_mnv2_dm05_pascal_deqfloat.onnx": 107,
    "vww/models/mlperf_vww_96_float.onnx": 58,
}


def assert_same_network(path: Path, graph: Graph) -> None:
    """Outputs, names and order are the original's."""
    feeds = random_feeds(graph)
    original = onnx.load(path)
    constants = {tensor.name for tensor in original.graph.initializer}
    fed = [info.name for info in original.graph.input if info.name not in constants]
    assert [signature.name for signature in graph.inputs] == fed
    # An index of the largest value tells little; what it is taken of tells all.
    argued = [node.input[0] for node in original.graph.node if node.op_type == "ArgMax"]
    shown = {info.name for info in original.graph.output}
    for name in set(argued) - shown:
        original.graph.output.append(onnx.ValueInfoProto(name=name))
        graph.model.graph.outputs.append(graph.values[name])
    assert_close(run_ir(graph.model, feeds), run_float(original, feeds))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_real_network_computes_the_same(name: str, shared_data: Path) -> None:
    graph = import_onnx(shared_data / name)
    nodes = list(graph.nodes)
    assert len(nodes) == MODELS[name]
    assert len({node.name for node in nodes}) == len(nodes)
    assert not has_open_shapes(graph.model.graph)
    assert_same_network(shared_data / name, graph)


def test_no_network_of_the_shared_data_is_left_out(shared_data: Path) -> None:
    found = {path.relative_to(shared_data).as_posix() for path in shared_data.rglob("*.onnx")}
    assert found == set(MODELS) | set(QUANTIZED)


def test_the_packaged_network_computes_the_same(demo_folder: Path) -> None:
    path = demo_folder / "fmnist_mbv2.onnx"
    graph = import_onnx(path)
    assert graph.free_batch
    assert_same_network(path, graph)


LIGHT = sorted((Path(onnx.backend.test.__file__).parent / "data" / "light").glob("light_*.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_a_large_network_with_made_up_weights_computes_the_same(path: Path) -> None:
    assert_same_network(path, import_onnx(path))


def test_there_are_large_networks_with_made_up_weights() -> None:
    assert len(LIGHT) >= 8


# Computed in float32 here and in half precision there.
HALF = {"float16": 2.0**-8, "bfloat16": 2.0**-5}


@pytest.mark.slow
def test_every_operator_example_of_onnx_computes_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    compared = 0
    for case in cases:
        try:
            graph = import_onnx(case.model)
        except ModelError:
            continue
        inputs = [np.asarray(array) for array in case.data_sets[0][0]] if case.data_sets else []
        compared += _compare(case.name, case.model, graph, inputs)
    assert compared > 1000


def _compare(
    name: str, proto: onnx.ModelProto, graph: Graph, inputs: Sequence[NDArray[np.generic]]
) -> bool:
    shapes = [signature.shape for signature in graph.inputs]
    if [array.shape for array in inputs] != shapes:  # an example with an empty tensor
        return False
    feeds = {info.name: array for info, array in zip(proto.graph.input, inputs, strict=True)}
    try:
        expected = run_float(proto, feeds)
    except Exception:  # ONNX Runtime lacks the operator or the type
        return False
    found = run_stated(graph, feeds)
    dtypes = {
        str(array.dtype) for array in (*inputs, *expected.values()) if isinstance(array, np.ndarray)
    }
    relative = max([RELATIVE, *(bound for kind, bound in HALF.items() if kind in dtypes)])
    numeric = {
        key: array
        for key, array in expected.items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
    }
    assert list(found) == list(expected), name
    try:
        assert_close({key: found[key] for key in numeric}, numeric, relative=relative)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
    return True
