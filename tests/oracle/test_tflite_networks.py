"""Whole TFLite networks: what they compute in float, and what they state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from oracle.float_reference import assert_close, run_ir
from tidlq.graph.model import Graph
from tidlq.importers.tflite.model import import_tflite
from tidlq.passes.infer_shapes import has_open_shapes
from tidlq.spec import Requantization

Array = NDArray[np.generic]

# Float files of the shared data -> number of nodes after import.
FLOAT_MODELS = {
    "cifar10/models/mlperf_pretrainedResnet.tflite": 24,
    "fashion_mnist/models/fmnist_mbv2_float.tflite": 36,
    "fashion_mnist/models/fmnist_mbv2_fp16.tflite": 36,
    "imagenet/models/keras_mobilenet_v1_0.25_224.tflite": 63,
    "kws/models/mlperf_kws_fp32.tflite": 23,
    "vww/models/mlperf_vww_96_float.tflite": 59,
}
# Weights of 8 bits, features in float: LiteRT rounds the features as it goes, the Graph does not.
HYBRID_MODELS = {
    "fashion_mnist/models/fmnist_mbv2_dynamic.tflite": 0.05,
    "kws/models/mlperf_kws_float32.tflite": 0.02,
}
# Fully quantized files.
INTEGER_MODELS = (
    "cifar10/models/mlperf_pretrainedResnet_quant.tflite",
    "fashion_mnist/models/fmnist_mbv2_int16x8.tflite",
    "fashion_mnist/models/fmnist_mbv2_int8.tflite",
    "fashion_mnist/models/fmnist_mbv2_int8_floatio.tflite",
    "fashion_mnist/models/fmnist_mbv2_int8_pertensor.tflite",
    "imagenet/models/mobilenet_v1_0.25_128_quant.tflite",
    "imagenet/models/mobilenet_v2_1.0_224_quant.tflite",
    "imagenet/models/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "kws/models/mlperf_kws_int8.tflite",
    "segmentation/models/deeplabv3_mnv2_dm05_pascal_quant.tflite",
    "vww/models/mlperf_vww_96_int8.tflite",
    "vww/models/tflm_person_detect_96gray_int8.tflite",
)
# Free sizes of the single-operator files.
INPUT_SHAPES = {
    "single_slice": {
        "slice_begin:0": (3,),
        "slice_size:0": (3,),
        "slice_input_tensor:0": (4, 5, 6),
    }
}


def open_reference(path: Path, feeds: dict[str, Array]) -> Interpreter:
    """LiteRT's reference kernels after they ran."""
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    for detail in interpreter.get_input_details():
        if tuple(detail["shape"]) != feeds[detail["name"]].shape:
            interpreter.resize_tensor_input(detail["index"], feeds[detail["name"]].shape)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feeds[detail["name"]])
    interpreter.invoke()
    return interpreter


def feeds_of(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Values between 0.1 and 1 for float inputs, small numbers for others."""
    draw = np.random.default_rng(seed)
    return {
        s.name: draw.uniform(0.1, 1, s.shape).astype(s.dtype)
        if s.dtype.kind == "f"
        else draw.integers(0, 2, s.shape).astype(s.dtype)
        for s in graph.inputs
    }


def outputs_of(interpreter: Interpreter) -> dict[str, Array]:
    return {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_output_details()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOAT_MODELS)
def test_a_float_network_computes_what_the_reference_does(name: str, shared_data: Path) -> None:
    graph = import_tflite(shared_data / name)
    assert len(list(graph.nodes)) == FLOAT_MODELS[name]
    assert not has_open_shapes(graph.model.graph)
    assert graph.stated is None
    feeds = feeds_of(graph)
    assert_close(run_ir(graph.model, feeds), outputs_of(open_reference(shared_data / name, feeds)))


@pytest.mark.slow
def test_pictures_give_what_the_reference_gives(shared_data: Path, demo_folder: Path) -> None:
    path = shared_data / "fashion_mnist/models/fmnist_mbv2_float.tflite"
    graph = import_tflite(path)
    pictures = np.load(demo_folder / "fmnist_test1000.npz")
    images = next(pictures[key] for key in pictures.files if pictures[key].ndim > 2)[:100]
    for image in images:
        frame = np.asarray(image, np.float32).reshape(graph.inputs[0].shape)
        feeds: dict[str, Array] = {graph.inputs[0].name: frame}
        assert_close(run_ir(graph.model, feeds), outputs_of(open_reference(path, feeds)))


@pytest.mark.slow
@pytest.mark.parametrize("name", HYBRID_MODELS)
def test_a_network_with_integer_weights_comes_close(name: str, shared_data: Path) -> None:
    graph = import_tflite(shared_data / name)
    assert graph.stated is None
    feeds = feeds_of(graph)
    found, expected = run_ir(graph.model, feeds), open_reference(shared_data / name, feeds)
    for output, array in outputs_of(expected).items():
        assert np.abs(found[output] - array).max() < HYBRID_MODELS[name]


def single_operator_files(folder: Path) -> Sequence[Path]:
    return sorted((folder / "import_only" / "tflite_single_op").glob("*.tflite"))


@pytest.mark.slow
def test_the_single_operator_files_compute_what_the_reference_does(shared_data: Path) -> None:
    files = single_operator_files(shared_data)
    assert len(files) == 52
    for path in files:
        shapes = INPUT_SHAPES.get(path.stem, {})
        graph = import_tflite(path, input_shapes=shapes)
        if path.stem in ("insert_dequant_test", "partly_quantized_mnist"):
            assert graph.stated is not None
            continue
        feeds = feeds_of(graph)
        if path.stem == "single_slice":
            feeds["slice_begin:0"] = np.array([1, 0, 2], np.int32)
            feeds["slice_size:0"] = np.array([2, -1, 3], np.int32)
        expected = outputs_of(open_reference(path, feeds))
        assert_close(run_ir(graph.model, feeds), expected, relative=2.0**-20)


@pytest.mark.slow
@pytest.mark.parametrize("name", INTEGER_MODELS)
def test_an_integer_network_states_exactly_what_the_file_says(name: str, shared_data: Path) -> None:
    path = shared_data / name
    graph = import_tflite(path)
    assert graph.stated is not None
    assert graph.stated.requantization is Requantization.TWICE_ROUNDED
    interpreter = open_reference(path, feeds_of(graph))
    details = {d["name"]: d for d in interpreter.get_tensor_details() if d["name"]}
    compared: Counter[str] = Counter()
    for tensor, detail in details.items():
        parameters = detail["quantization_parameters"]
        scales = tuple(map(float, parameters["scales"]))
        if not scales or tensor not in graph.values:
            continue
        if (feature := graph.stated.features.get(tensor)) is not None:
            assert (feature.scale,) == scales
            assert (feature.zero_point,) == tuple(parameters["zero_points"])
            assert feature.type.dtype == detail["dtype"]
            compared["features"] += 1
        elif (parameter := graph.stated.parameters.get(tensor)) is not None:
            assert parameter.scales == scales
            assert parameter.zero_points == tuple(parameters["zero_points"])
            assert_integers(graph, tensor, interpreter.get_tensor(detail["index"]))
            compared["biases" if parameter.type.bits > 16 else "parameters"] += 1
        elif (bias := graph.stated.biases.get(tensor)) is not None:
            assert bias == tuple(interpreter.get_tensor(detail["index"]).tolist())
            compared["biases"] += 1
    layers = [node for node in graph.nodes if node.op_type in ("Conv", "Gemm")]
    assert compared["parameters"] == compared["biases"] == len(layers)
    assert compared["features"] >= len(layers) - 1


def assert_integers(graph: Graph, name: str, stored: Array) -> None:
    """The constant's real numbers are those of the stored integers, in some order of axes."""
    assert graph.stated is not None
    parameter = graph.stated.parameters[name]
    if parameter.type.bits > 16:
        # More bits than float32 has: the integers themselves are stated.
        assert sorted(graph.stated.biases[name]) == sorted(stored.reshape(-1).tolist())
        return
    values = graph.constant(name)
    assert values is not None
    along = [1] * values.ndim
    along[parameter.axis] = -1
    scales = np.array(parameter.scales, np.float64).reshape(along)
    zero_points = np.array(parameter.zero_points).reshape(along)
    integers = np.rint(values / scales) + zero_points
    # Rounded once from float64.
    real = (integers - zero_points) * scales
    np.testing.assert_array_equal(values, real.astype(np.float32))
    assert sorted(integers.reshape(-1).tolist()) == sorted(stored.reshape(-1).tolist())
