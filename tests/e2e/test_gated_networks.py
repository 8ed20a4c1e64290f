"""Networks with SiLU and hard swish keep their channels apart where these differ in size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from small_networks import SmallNetwork, float_outputs, random_frame
from tidlq.graph.model import Graph

PROTO = "advanced_options:quant_params_proto_path"
EQUALIZATION = "tidlq:cross_layer_equalization"


def gated(kind: str) -> tuple[onnx.ModelProto, Graph]:
    """conv -> gate -> depthwise conv -> gate -> conv; channels differ by factors up to 1,000."""
    net = SmallNetwork(7)
    spread = np.geomspace(1, 1e-3, 8).reshape(-1, 1, 1, 1)
    x = net.input(1, 3, 12, 12)
    weight = net.constant(3 * spread * net.rng.normal(size=(8, 3, 3, 3)))
    x = gate(net, net.node("Conv", x, weight, pads=[1] * 4, name="first"), kind)
    weight = net.constant(net.rng.normal(size=(8, 1, 3, 3)) / spread)
    x = net.node("Conv", x, weight, pads=[1] * 4, group=8, name="second")
    x = gate(net, x, kind)
    last = net.conv(x, (4, 8, 1, 1), name="last")
    return net.model(last), net.graph(last)


def gate(net: SmallNetwork, x: str, kind: str) -> str:
    if kind == "silu":
        return net.node("Mul", x, net.node("Sigmoid", x))
    closed = net.clip(net.node("Add", x, net.constant(3.0)), 0, 6)
    return net.node("Add", net.node("Mul", x, closed), net.constant(0.0))


def frames_of(graph: Graph, count: int = 12) -> list[dict[str, np.ndarray]]:
    return [random_frame(graph, seed) for seed in range(count)]


def noise(graph: Graph, compiled: tidlq.Compiled) -> float:
    """Squared error of the outputs relative to their square, on frames not seen before."""
    session = tidlq.InferenceSession(compiled.artifacts)
    error, signal = 0.0, 0.0
    for seed in range(100, 108):
        frame = random_frame(graph, seed)
        (want,) = float_outputs(graph, frame).values()
        got = np.asarray(session.run(None, frame)[0])
        error, signal = error + float(((got - want) ** 2).sum()), signal + float((want**2).sum())
    return error / signal


@pytest.mark.parametrize("kind", ["silu", "hard swish"])
@pytest.mark.parametrize("scale_type", [1, 4])
def test_level_1_saves_small_channels_in_front_of_a_gate(scale_type: int, kind: str) -> None:
    model, graph = gated(kind)
    options = {"quantization_scale_type": scale_type}
    on = tidlq.compile(model, frames_of(graph), options)
    off = tidlq.compile(model, frames_of(graph), {**options, EQUALIZATION: "off"})
    assert "first" in on.ranges.equalization.factors
    assert noise(graph, on) < 0.1 * noise(graph, off)


@pytest.mark.parametrize("kind", ["silu", "hard swish"])
@pytest.mark.parametrize("scale_type", [1, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_saved_proto_gives_the_same_network(
    tmp_path: Path, scale_type: int, bits: int, kind: str
) -> None:
    model, graph = gated(kind)
    options = {"quantization_scale_type": scale_type, "tensor_bits": bits}
    options |= {PROTO: str(tmp_path / "ranges.txt")}
    first = tidlq.compile(model, frames_of(graph), options)
    again = tidlq.compile(model, None, options)
    assert first.ranges.equalization
    assert [s.content for s in again.artifacts.stages] == [
        s.content for s in first.artifacts.stages
    ]
