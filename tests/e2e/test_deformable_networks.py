"""Deformable convolutions as exporters write them: offsets and mask come from one convolution."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from small_networks import SmallNetwork, float_outputs, random_frame
from tidlq.graph.layers import LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import StageKind
from tidlq.importers.model import import_model

PROTO = "advanced_options:quant_params_proto_path"
TAPS = 9


def deformed() -> onnx.ModelProto:
    net = SmallNetwork(5, opset=19)
    x = net.conv(net.input(1, 3, 14, 12), (8, 3, 3, 3), pads=[1] * 4)
    x = net.node("Relu", x)
    weight = net.constant(0.05 * net.rng.normal(size=(3 * TAPS, 8, 3, 3)))
    told = net.node("Conv", x, weight, pads=[1] * 4, name="told")
    lists = [net.integers([end]) for end in (0, TAPS, 2 * TAPS, 3 * TAPS)]
    axis = net.integers([1])
    parts = [net.node("Slice", told, a, b, axis) for a, b in pairwise(lists)]
    offsets = net.node("Concat", *parts[:2], axis=1, name="offsets")
    mask = net.node("Sigmoid", parts[2], name="mask")
    weight = net.random(16, 8, 3, 3)
    y = net.node("DeformConv", x, weight, offsets, "", mask, pads=[1] * 4, name="deformed")
    y = net.node("Relu", net.batch_norm(y, 16))
    return net.model(net.conv(y, (4, 16, 1, 1), name="last"))


def frames_of(graph: Graph, first: int, count: int) -> list[dict[str, np.ndarray]]:
    return [random_frame(graph, seed) for seed in range(first, first + count)]


def compiled_with(**options: object) -> tidlq.Compiled:
    model = deformed()
    return tidlq.compile(model, frames_of(import_model(model), 0, 8), options)


def test_batch_norm_and_relu_are_part_of_a_deformable_convolution() -> None:
    compiled = compiled_with(accuracy_level=0)
    assert [stage.kind for stage in compiled.partition.stages] == [StageKind.FIXED]
    kinds = [layer.kind for layer in compiled.partition.layers]
    assert kinds[-2:] == [LayerKind.DEFORMABLE_CONVOLUTION, LayerKind.CONVOLUTION]
    assert LayerKind.BATCH_NORM not in kinds


def test_offsets_and_mask_have_16_bits_down_to_the_convolution_that_they_come_from() -> None:
    compiled = compiled_with(accuracy_level=0)
    assert compiled.plan is not None
    bits = {name: quant.type.bits for name, quant in compiled.plan.features.items()}
    wide = {name for name, width in bits.items() if width == 16}
    assert {"told_out", "offsets_out", "mask_out"} <= wide
    assert bits["relu1_out"] == 8
    named = compiled_with(accuracy_level=0, **{"tidlq:device": "AM68A"})
    assert named.plan is not None
    assert {quant.type.bits for quant in named.plan.features.values()} == {8}


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize(("bits", "least"), [(8, 22.0), (16, 65.0)])
def test_the_network_follows_the_float_one(scale_type: int, bits: int, least: float) -> None:
    compiled = compiled_with(quantization_scale_type=scale_type, tensor_bits=bits)
    graph = import_model(deformed())
    session = tidlq.InferenceSession(compiled.artifacts)
    error, signal = 0.0, 0.0
    for frame in frames_of(graph, 100, 4):
        (want,) = float_outputs(graph, frame).values()
        (got,) = session.run(None, frame)
        error, signal = error + float(((got - want) ** 2).sum()), signal + float((want**2).sum())
    assert 10 * np.log10(signal / error) > least


def test_the_bias_is_calibrated_and_saved(tmp_path: Path) -> None:
    path = tmp_path / "ranges.txt"
    compiled = compiled_with(accuracy_level=1, **{PROTO: str(path)})
    assert compiled.plan is not None
    quant = compiled.plan.layers["deformed"]
    plain = compiled_with(accuracy_level=0).plan
    assert plain is not None
    assert quant.bias != plain.layers["deformed"].bias
    assert "deformed.bias" in path.read_text() or "deformed:bias" in path.read_text()


def test_the_saved_proto_gives_the_same_network(tmp_path: Path) -> None:
    options = {"quantization_scale_type": 4, PROTO: str(tmp_path / "ranges.txt")}
    first = compiled_with(**options)
    again = tidlq.compile(deformed(), None, options)
    contents = [[stage.content for stage in x.artifacts.stages] for x in (first, again)]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("device", ["", "AM68A"])
def test_a_bundle_for_ti_gives_the_same_network(device: str) -> None:
    options = {"tidlq:device": device} if device else {}
    bundle = compiled_with(**options).to_tidl()
    assert "16bit" not in str(bundle.options)


def test_a_mask_of_ones_counts_for_nothing() -> None:
    net = SmallNetwork(opset=19)
    x = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    told = net.conv(x, (2, 4, 1, 1))
    ones = net.constant(np.ones((1, 1, 4, 4)))
    model = net.model(net.node("DeformConv", x, net.random(4, 4, 1, 1), told, "", ones))
    compiled = tidlq.compile(model, frames_of(import_model(model), 0, 2), {"accuracy_level": 0})
    assert not compiled.partition.float_nodes
    assert compiled.partition.layers[-1].inputs == (x, told)


def test_offsets_that_are_constant_stay_in_float() -> None:
    net = SmallNetwork(opset=19)
    x = net.node("Relu", net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3)))
    y = net.node("DeformConv", x, net.random(4, 4, 1, 1), net.random(1, 2, 4, 4))
    model = net.model(y)
    compiled = tidlq.compile(model, frames_of(import_model(model), 0, 2), {"accuracy_level": 0})
    (node,) = compiled.partition.float_nodes
    assert (node.op_type, node.reason) == ("DeformConv", "input 2 is constant")
