"""Quantized ONNX models, imported and executed by their statements, give ONNX Runtime's results."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from oracle.float_reference import random_feeds, run_float
from oracle.quantized_models import MODELS, Expected
from oracle.stated_reference import output_steps, run_stated
from tidlq.graph.model import Graph
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx


def count(graph: Graph) -> Expected:
    """The counts that an `Expected` speaks of."""
    assert graph.stated is not None
    layers = find_layers(graph).layers
    stated = graph.stated
    return Expected(
        len(stated.features),
        len(stated.parameters),
        len(stated.biases),
        sum(layer.output not in stated.features for layer in layers),
        sum(layer.weight is not None and layer.weight not in stated.parameters for layer in layers),
    )


def largest_step(path: Path, graph: Graph, seeds: int) -> float:
    """The largest difference of any output over some random inputs."""
    largest = 0.0
    for seed in range(seeds):
        feeds = random_feeds(graph, seed)
        expected, found = run_float(path, feeds), run_stated(graph, feeds)
        assert list(found) == list(expected)
        steps = output_steps(graph, found, expected)
        largest = max(largest, *(float(array.max()) for array in steps.values()))
    return largest


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_real_quantized_network_computes_the_same(name: str, shared_data: Path) -> None:
    expected = MODELS[name]
    graph = import_onnx(shared_data / name)
    assert {node.op_type for node in graph.nodes} & {"QuantizeLinear", "DequantizeLinear"} == set()
    assert not find_layers(graph).float_nodes
    found = count(graph)
    assert found == Expected(**{**vars(expected), "steps": 0.0})
    assert largest_step(shared_data / name, graph, 4) <= expected.steps + 1e-5


class Frames(CalibrationDataReader):
    """A few random frames; the quantizer asks for one after the other."""

    def __init__(self, path: Path) -> None:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        draw = np.random.default_rng(0)
        shapes = {
            item.name: [size if isinstance(size, int) else 1 for size in item.shape]
            for item in session.get_inputs()
        }
        self._frames = iter(
            [
                {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
                for _ in range(2)
            ]
        )

    def get_next(self) -> Mapping[str, NDArray[np.float32]] | None:
        """The next frame, or None after the last."""
        return next(self._frames, None)


@dataclass(frozen=True)
class Recipe:
    """How ONNX Runtime's quantizer is called."""

    form: QuantFormat
    features: QuantType
    weights: QuantType
    per_channel: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)


QDQ, QOPERATOR = QuantFormat.QDQ, QuantFormat.QOperator
S8, U8, S16, U16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16, QuantType.QUInt16
RECIPES = {
    "u8s8 per channel": Recipe(QDQ, U8, S8, True),
    "s8s8": Recipe(QDQ, S8, S8),
    "u8u8": Recipe(QDQ, U8, U8),
    "u16u8": Recipe(QDQ, U16, U8),
    "s16s16 per channel": Recipe(QDQ, S16, S16, True, {"ActivationSymmetric": True}),
    "weights as float": Recipe(
        QDQ, S8, S8, True, {"AddQDQPairToWeight": True, "ActivationSymmetric": True}
    ),
    "axes and a pair for each reader": Recipe(
        QDQ,
        U8,
        S8,
        True,
        {
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1, "Gemm": 1},
            "ForceQuantizeNoInputCheck": True,
            "DedicatedQDQPair": True,
        },
    ),
    "operators u8s8 per channel": Recipe(QOPERATOR, U8, S8, True),
    "operators u8u8": Recipe(QOPERATOR, U8, U8),
    "operators s8s8": Recipe(QOPERATOR, S8, S8, False, {"ForceQuantizeNoInputCheck": True}),
}


def quantize(source: Path, folder: Path, recipe: Recipe) -> Path:
    """Writes the network as ONNX Runtime's own quantizer quantizes it."""
    target = folder / "quantized.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            str(source),
            str(target),
            Frames(source),
            quant_format=recipe.form,
            activation_type=recipe.features,
            weight_type=recipe.weights,
            per_channel=recipe.per_channel,
            extra_options=dict(recipe.extra),
        )
    return target


def assert_everything_is_stated(path: Path, form: QuantFormat) -> None:
    graph = import_onnx(path)
    assert not find_layers(graph).float_nodes
    found = count(graph)
    assert (found.unstated, found.float_weights) == (0, 0)
    layers = find_layers(graph).layers
    assert graph.stated is not None
    assert {layer.bias for layer in layers} - {None} <= set(graph.stated.biases)
    assert largest_step(path, graph, 2) <= (1.0 if form is QOPERATOR else 0.0) + 1e-5


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_packaged_network_by_onnx_runtimes_quantizer(
    recipe: str, demo_folder: Path, tmp_path: Path
) -> None:
    path = quantize(demo_folder / "fmnist_mbv2.onnx", tmp_path, RECIPES[recipe])
    assert_everything_is_stated(path, RECIPES[recipe].form)


SOURCES = {
    "cifar10/models/resnet20_cifar10.onnx": tuple(RECIPES),
    "cifar10/models/mlperf_pretrainedResnet.onnx": tuple(RECIPES),
    "kws/models/mlperf_kws_fp32.onnx": tuple(RECIPES),
    "vww/models/mlperf_vww_96_float.onnx": ("u8s8 per channel", "weights as float"),
    "imagenet/models/mobilenet_v2_1.0_224_deqfloat.onnx": ("u8s8 per channel",),
    "imagenet/models/efficientnet_lite0.onnx": ("u16u8",),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "recipe"),
    [(source, recipe) for source, recipes in SOURCES.items() for recipe in recipes],
)
def test_a_real_network_by_onnx_runtimes_quantizer(
    source: str, recipe: str, shared_data: Path, tmp_path: Path
) -> None:
    path = quantize(shared_data / source, tmp_path, RECIPES[recipe])
    assert_everything_is_stated(path, RECIPES[recipe].form)


OPERATORS = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul")
# The newest operator set that ONNX Runtime runs.
RUNNABLE_OPSET = 21


def quantization_examples() -> dict[str, tuple[onnx.ModelProto, list[object], list[object]]]:
    """ONNX's own examples of one operator: the model, its inputs and its outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    return {
        case.name: (case.model, *case.data_sets[0])
        for case in cases
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in OPERATORS
    }


def as_tensor(array: object, name: str) -> onnx.TensorProto:
    """An input of an example, which is a message where numpy has no such type."""
    if not isinstance(array, onnx.TensorProto):
        return onnx.numpy_helper.from_array(np.asarray(array), name)
    tensor = onnx.TensorProto()
    tensor.CopyFrom(array)
    tensor.name = name
    return tensor


def with_constant_parameters(proto: onnx.ModelProto, inputs: list[object]) -> onnx.ModelProto:
    """The example with all but its features as constants, at an operator set that is run."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    node = changed.graph.node[0]
    kept = {node.input[0]} | ({node.input[3]} if node.op_type == "QLinearMatMul" else set())
    for info, array in zip(proto.graph.input, inputs, strict=True):
        if info.name not in kept:
            changed.graph.initializer.append(as_tensor(array, info.name))
    rest = [info for info in changed.graph.input if info.name in kept]
    del changed.graph.input[:]
    changed.graph.input.extend(rest)
    version = changed.opset_import[0].version
    changed.opset_import[0].version = min(version, RUNNABLE_OPSET)
    changed.ir_version = 10
    return changed


def test_onnx_examples_of_quantization_operators_are_imported() -> None:
    examples = quantization_examples()
    compared = []
    for name, (proto, inputs, outputs) in examples.items():
        assert import_onnx(proto).outputs[0].name == proto.graph.output[0].name, name
        graph = import_onnx(with_constant_parameters(proto, inputs))
        given = dict(zip((info.name for info in proto.graph.input), inputs, strict=True))
        feeds = {item.name: np.asarray(given[item.name]) for item in graph.inputs}
        wanted = np.asarray(outputs[0])
        if wanted.dtype.kind not in "fiu":
            continue
        try:
            found = run_stated(graph, feeds)[graph.outputs[0].name]
        except Exception:  # ONNX Runtime lacks the type
            continue
        np.testing.assert_allclose(
            found.astype(np.float64), wanted.astype(np.float64), rtol=1e-6, err_msg=name
        )
        compared.append(name)
    assert len(examples) >= 25
    assert {"test_qlinearconv", "test_quantizelinear", "test_dequantizelinear"} <= set(compared)
    assert "test_qlinearmatmul_2D_uint8_float32" in compared
