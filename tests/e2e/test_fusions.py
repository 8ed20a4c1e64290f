"""Fused layers: their error, and the way back from a saved proto."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import tidlq
from small_networks import SmallNetwork, float_outputs
from tidlq.compilation import Compiled
from tidlq.importers.model import import_model

ALL = "silu,hard-swish,mish,gelu,scaled-activation,wide-pre-activation"
Array = NDArray[np.float32]


def gated(operator: str = "Sigmoid") -> onnx.ModelProto:
    """Three convolutions with gated activations between them."""
    net = SmallNetwork()
    x = net.input(1, 3, 12, 12)
    for index, channels in enumerate((8, 8)):
        x = net.conv(x, (channels, 3 if index == 0 else 8, 3, 3), name=f"conv{index}")
        x = net.node("Mul", x, net.node(operator, x))
    return net.model(net.conv(x, (5, 8, 1, 1), name="last"))


def frames(count: int, seed: int = 0) -> list[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    return [{"input0": rng.normal(size=(1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def compiled(model: onnx.ModelProto, **options: object) -> Compiled:
    base = {"quantization_scale_type": 4, "accuracy_level": 2, "bias_calibration": 0}
    return tidlq.compile(model, frames(4), {**base, **options})


def noise_to_signal(model: onnx.ModelProto, found: Compiled) -> float:
    graph = import_model(model, input_shapes={}, pre_batchnorm_fold=False)
    session = tidlq.InferenceSession(found.artifacts)
    noise = signal = 0.0
    for frame in frames(4):
        (expected,) = float_outputs(graph, frame).values()
        (answer,) = session.run(None, frame)
        noise += float(np.sum((answer - expected).astype(np.float64) ** 2))
        signal += float(np.sum(expected.astype(np.float64) ** 2))
    return noise / signal


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_fused_gate_loses_less_than_a_rounded_one(scale_type: int) -> None:
    model = gated()
    fused = compiled(model, quantization_scale_type=scale_type)
    apart = compiled(model, quantization_scale_type=scale_type, **{"tidlq:leave_out_fusions": ALL})
    assert len(fused.partition.layers) < len(apart.partition.layers)
    assert noise_to_signal(model, fused) < noise_to_signal(model, apart)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("operator", ["Sigmoid", "HardSigmoid"])
@pytest.mark.parametrize("left_out", ["", "wide-pre-activation", ALL])
def test_a_saved_proto_gives_the_same_network(
    operator: str, bits: int, left_out: str, tmp_path: Path
) -> None:
    model = gated(operator)
    path = str(tmp_path / "ranges.prototxt")
    options = {
        "tensor_bits": bits,
        "quant_params_proto_path": path,
        "tidlq:leave_out_fusions": left_out,
    }
    first = compiled(model, **options)
    again = tidlq.compile(model, None, {"quantization_scale_type": 4, **options})
    assert again.artifacts.stages[0].content == first.artifacts.stages[0].content


def test_a_proto_that_states_the_gates_keeps_them_apart(tmp_path: Path) -> None:
    model = gated()
    path = str(tmp_path / "ranges.prototxt")
    apart = compiled(model, quant_params_proto_path=path, **{"tidlq:leave_out_fusions": ALL})
    again = tidlq.compile(
        model, None, {"quantization_scale_type": 4, "quant_params_proto_path": path}
    )
    assert again.artifacts.stages[0].content == apart.artifacts.stages[0].content


def test_an_exported_network_comes_back_fused() -> None:
    first = compiled(gated())
    again = tidlq.compile(first.to_qdq())
    names = [layer.name for layer in first.partition.layers]
    assert [layer.name for layer in again.partition.layers] == names
    frame = frames(1, seed=5)[0]
    (expected,) = tidlq.InferenceSession(first.artifacts).run(None, frame)
    (answer,) = tidlq.InferenceSession(again.artifacts).run(None, frame)
    assert np.array_equal(answer, expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("function", ["silu", "hard swish", "mish", "gelu", "scaled relu"])
def test_a_table_is_within_a_decibel_of_ideal_rounding(function: str, bits: int) -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 12, 12)
    match function:
        case "silu":
            y = net.node("Mul", x, net.node("Sigmoid", x))
        case "hard swish":
            y = net.node("Mul", x, net.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))
        case "mish":
            y = net.node("Mul", x, net.node("Tanh", net.node("Softplus", x)))
        case "gelu":
            one = net.node("Erf", net.node("Mul", x, net.constant(0.5**0.5)))
            one = net.node("Add", one, net.constant(1.0))
            y = net.node("Mul", net.node("Mul", x, one), net.constant(0.5))
        case _:
            y = net.node("Mul", net.node("Relu", x), net.constant(0.3))
    model = net.model(y)
    found = compiled(model, tensor_bits=bits)
    assert [layer.kind.value for layer in found.partition.layers] == ["function"]
    assert found.plan is not None
    noise = noise_to_signal(model, found)
    assert noise < 10**0.1 * ideal_noise(model, found, x, y)


def ideal_noise(model: onnx.ModelProto, found: Compiled, x: str, y: str) -> float:
    """Of the float function between a rounded input and a rounded output."""
    assert found.plan is not None
    graph = import_model(model, input_shapes={}, pre_batchnorm_fold=False)

    def rounded(values: Array, name: str) -> Array:
        quant = found.plan.features[name]
        q = np.clip(
            np.rint(values / quant.scale) + quant.zero_point, quant.type.lowest, quant.type.highest
        )
        return ((q - quant.zero_point) * quant.scale).astype(np.float32)

    noise = signal = 0.0
    for frame in frames(4):
        (expected,) = float_outputs(graph, frame).values()
        fed = {"input0": rounded(frame["input0"], x)}
        (answer,) = float_outputs(graph, fed).values()
        noise += float(np.sum((rounded(answer, y) - expected).astype(np.float64) ** 2))
        signal += float(np.sum(expected.astype(np.float64) ** 2))
    return noise / signal


@pytest.mark.parametrize("activation", ["LeakyRelu", "PRelu"])
def test_what_an_activation_reads_from_a_convolution_has_16_bits(activation: str) -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 12, 12)
    convolved = net.conv(x, (4, 3, 3, 3))
    slopes = [net.random(4, 1, 1)] if activation == "PRelu" else []
    y = net.node(activation, convolved, *slopes)
    plan = compiled(net.model(y)).plan
    assert plan is not None
    assert plan.features[convolved].type.bits == 16
    assert plan.features[y].type.bits == 8
