"""Compiled real networks: the engine equals the big-integer evaluation on every tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import tidlq
from oracle.bigint import evaluate, unpack_file
from oracle.bigint.tensors import Array
from oracle.comparison import find_difference, first_difference, ordered_inputs
from oracle.real_models import CALIBRATION_FRAMES, EVERY_SCALE_TYPE, REAL_MODELS, Frames
from tidlq._core import Engine
from tidlq.artifacts import StageFile
from tidlq.decision import prepare
from tidlq.graph.partition import StageKind
from tidlq.importers.onnx_model import import_onnx
from tidlq.target import Options

CompiledModel = tuple[tuple[StageFile, ...], Frames]

EIGHT, SIXTEEN, MIXED = "8 bits", "16 bits", "16-bit parameters"
CASES = [
    pytest.param(
        name,
        scale_type,
        width,
        marks=() if model.is_packaged else pytest.mark.slow,
    )
    for width in (EIGHT, SIXTEEN, MIXED)
    for name, model in REAL_MODELS.items()
    for scale_type in model.scale_types
]
SMALL_MODELS = [
    pytest.param(name, marks=() if model.is_packaged else pytest.mark.slow)
    for name, model in REAL_MODELS.items()
    if model.scale_types == EVERY_SCALE_TYPE
]


@pytest.fixture(scope="module")
def compile_model(request: pytest.FixtureRequest) -> Callable[[str, int, str], CompiledModel]:
    """Compiles a real model once per scale type and width: its stages, and unseen frames."""
    done: dict[tuple[str, int, str], CompiledModel] = {}

    def compile_once(name: str, scale_type: int, width: str) -> CompiledModel:
        key = (name, scale_type, width)
        if key not in done:
            path, frames = REAL_MODELS[name].load(request)
            options: dict[str, object] = {
                "advanced_options:quantization_scale_type": scale_type,
                "accuracy_level": 0,
                "tensor_bits": 16 if width == SIXTEEN else 8,
            }
            if width == MIXED:
                options["params_16bit_names_list"] = weighted_layers(path)
            compiled = tidlq.compile(path, frames[:CALIBRATION_FRAMES], options)
            done[key] = compiled.artifacts.stages, frames[CALIBRATION_FRAMES:]
        return done[key]

    return compile_once


def weighted_layers(path: Path) -> list[str]:
    """Names of the layers of a model that have a weight, every other one."""
    graph = import_onnx(path)
    layers = prepare(graph, Options()).partition.layers
    return [layer.name for layer in layers if layer.kind.has_weight][::2]


def _compare_stage(stage: StageFile, tensors: dict[str, Array]) -> dict[str, Array]:
    """Compares a Network tensor by tensor and returns its outputs by their Graph names."""
    network = unpack_file(stage.content)
    names = [network.tensors[index].name for index in network.inputs]
    inputs = {n: tensors[graph] for n, graph in zip(names, stage.inputs, strict=True)}
    engine = Engine(stage.content)
    assert first_difference(network, inputs, engine) is None
    outputs = engine.trace(
        ordered_inputs(network, inputs), [network.tensors[index].name for index in network.outputs]
    )
    return dict(zip(stage.outputs, outputs, strict=True))


def _run_island(stage: StageFile, tensors: dict[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(stage.content, providers=["CPUExecutionProvider"])
    feeds = {name: tensors[name] for name in stage.inputs}
    return dict(zip(stage.outputs, session.run(list(stage.outputs), feeds), strict=True))


@pytest.mark.parametrize(("name", "scale_type", "width"), CASES)
def test_every_tensor_of_a_real_network_equals_the_oracle(
    name: str,
    scale_type: int,
    width: str,
    compile_model: Callable[[str, int, str], CompiledModel],
) -> None:
    stages, frames = compile_model(name, scale_type, width)
    assert stages[0].kind is StageKind.FIXED
    for frame in frames:
        tensors: dict[str, Array] = dict(frame)
        for stage in stages:
            step = _compare_stage if stage.kind is StageKind.FIXED else _run_island
            tensors |= step(stage, tensors)


@pytest.mark.parametrize("width", [EIGHT, SIXTEEN])
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_frames_and_threads_do_not_change_a_real_network(
    name: str, width: str, compile_model: Callable[[str, int, str], CompiledModel]
) -> None:
    stages, frames = compile_model(name, 4, width)
    first = stages[0]
    assert first.kind is StageKind.FIXED
    network = unpack_file(first.content)
    names = [network.tensors[index].name for index in network.inputs]
    each = [{n: frame[g] for n, g in zip(names, first.inputs, strict=True)} for frame in frames]
    stacked = [np.stack(a) for a in zip(*(ordered_inputs(network, f) for f in each), strict=True)]
    expected = [evaluate(network, arrays) for arrays in each]
    for threads in (1, 2, 5):
        found = Engine(first.content, threads).run(stacked)
        for index, array in zip(network.outputs, found, strict=True):
            output = network.tensors[index].name
            wanted = np.stack([tensors[output] for tensors in expected])
            assert find_difference(output, array, wanted) is None
