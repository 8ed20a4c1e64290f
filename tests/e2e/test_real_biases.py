"""Biases that a pre-quantized model adds in float32, between a layer and its QuantizeLinear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import tidlq
from oracle.quantized_layers import QdqNetwork
from tidlq.compilation import Compiled
from tidlq.graph.partition import StageKind
from tidlq.lowering import network_pb2 as pb

SHAPE = (1, 3, 8, 8)
CHANNELS = 6
_HEADER_BYTES = 24
KINDS = ("batch-norm", "sum", "inner product")


def network(kind: str, *, relu: bool = True) -> onnx.ModelProto:
    """A layer without a bias, something per channel behind it, a ReLU; stated at both ends."""
    rng = np.random.default_rng(0)
    net = QdqNetwork()
    x = net.quantized("x", 0.03, np.uint8(120))
    scales = rng.uniform(0.002, 0.01, CHANNELS).astype(np.float32)
    reals = rng.normal(size=(4, CHANNELS)).astype(np.float32)
    if kind == "inner product":
        x = net.quantized(net.node("Flatten", x), 0.03, np.uint8(120))
        weight = rng.integers(-127, 128, (192, CHANNELS)).astype(np.int8)
        y = net.node("Gemm", x, net.stored(weight, scales, axis=1))
        y = net.node("Add", y, net.constant(reals[0]))
    else:
        weight = rng.integers(-127, 128, (CHANNELS, 3, 3, 3)).astype(np.int8)
        y = net.node("Conv", x, net.stored(weight, scales), pads=[1, 1, 1, 1])
        if kind == "sum":
            y = net.node("Add", y, net.constant(reals[0].reshape(-1, 1, 1)))
        else:
            numbers = (reals[0], reals[1], reals[2], np.abs(reals[3]) + np.float32(0.1))
            y = net.node("BatchNormalization", y, *map(net.constant, numbers))
    y = net.node("Relu", y) if relu else y
    return net.model(SHAPE, net.quantized(y, 0.07, np.uint8(0 if relu else 131)))


def program(compiled: Compiled) -> pb.Network:
    (stage,) = (s for s in compiled.artifacts.stages if s.kind is StageKind.FIXED)
    found = pb.Network.FromString(stage.content[_HEADER_BYTES:])
    found.ClearField("graph_fingerprint")
    return found


def requantize_of(found: pb.Network) -> pb.Requantize:
    (layer,) = (
        getattr(layer, layer.WhichOneof("op") or "")
        for layer in found.layers
        if layer.WhichOneof("op") in ("convolution", "inner_product")
    )
    result: pb.Requantize = layer.requantize
    assert not any(layer.bias)
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_the_bias_stays_real_in_steps_of_the_output(kind: str) -> None:
    requantize = requantize_of(program(tidlq.compile(network(kind))))
    assert requantize.mode == pb.Requantize.MODE_FLOAT
    assert len(requantize.real_bias) == CHANNELS
    rng = np.random.default_rng(0)
    rng.uniform(0.002, 0.01, CHANNELS)
    reals = rng.normal(size=(4, CHANNELS)).astype(np.float32).astype(np.float64)
    expected = reals[0]
    if kind == "batch-norm":
        variance = np.abs(reals[3]) + np.float32(0.1)
        expected = reals[1] - reals[2] * reals[0] / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(requantize.real_bias, expected / np.float32(0.07), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relu", [True, False])
def test_the_integers_are_onnx_runtimes(kind: str, relu: bool) -> None:
    model = network(kind, relu=relu)
    ours = tidlq.InferenceSession(tidlq.compile(model).artifacts)
    theirs = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    steps, count = 0, 0
    for _ in range(40):
        x = rng.normal(size=SHAPE).astype(np.float32)
        found = ours.run(None, {"x": x})[0]
        expected = theirs.run(None, {"x": x})[0]
        difference = np.abs(np.rint((found - expected) / np.float32(0.07)))
        assert difference.max() <= 1
        steps, count = steps + int(difference.sum()), count + difference.size
    # float32 sums put about one value in a million on the other side of a border.
    assert steps <= 1 + count // 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_comes_back_as_it_was(kind: str) -> None:
    compiled = tidlq.compile(network(kind))
    exported = compiled.to_qdq()
    onnx.checker.check_model(exported, full_check=True)
    assert program(tidlq.compile(exported)) == program(compiled)


def test_a_saved_proto_gives_the_same_network(tmp_path: Path) -> None:
    model, options = network("batch-norm"), {"quant_params_proto_path": str(tmp_path / "p.txt")}
    first, again = tidlq.compile(model, options=options), tidlq.compile(model, options=options)
    assert program(first) == program(again)


def test_a_bias_inside_the_layer_is_rounded_as_onnx_runtime_does() -> None:
    rng = np.random.default_rng(2)
    net = QdqNetwork()
    x = net.quantized("x", 0.03, np.uint8(120))
    weight = rng.integers(-127, 128, (CHANNELS, 3, 3, 3)).astype(np.int8)
    stored = net.stored(weight, np.full(CHANNELS, 0.01, np.float32))
    y = net.node("Conv", x, stored, net.constant(rng.normal(size=CHANNELS).astype(np.float32)))
    found = program(tidlq.compile(net.model(SHAPE, net.quantized(y, 0.07, np.uint8(131)))))
    (layer,) = (one for one in found.layers if one.WhichOneof("op") == "convolution")
    assert any(layer.convolution.bias)
    assert not layer.convolution.requantize.real_bias
