"""What becomes of a layer whose output a pre-quantized model leaves in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import tidlq
from oracle.quantized_layers import QdqNetwork
from tidlq.cli import app
from tidlq.compilation import Compiled
from tidlq.graph.partition import StageKind
from tidlq.lowering import network_pb2 as pb

SHAPE = (1, 3, 6, 6)
_HEADER_BYTES = 24


def classifier(*, float_bias: bool = False, last: str | None = None) -> onnx.ModelProto:
    """Conv, ReLU, Flatten, Gemm; all is quantized but the output of the Gemm."""
    rng = np.random.default_rng(0)
    net = QdqNetwork()
    x_scale, c_scale = np.float32(0.03), np.float32(0.05)
    x = net.quantized("x", float(x_scale), np.uint8(120))
    scales = rng.uniform(0.005, 0.02, 4).astype(np.float32)
    weight = rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    bias = net.stored(rng.integers(-900, 900, 4).astype(np.int32), x_scale * scales)
    c = net.node("Relu", net.node("Conv", x, net.stored(weight, scales), bias))
    c = net.quantized(c, float(c_scale), np.uint8(0))
    flat = net.quantized(net.node("Flatten", c), float(c_scale), np.uint8(0))
    scales = rng.uniform(0.005, 0.02, 5).astype(np.float32)
    matrix = net.stored(rng.integers(-127, 128, (64, 5)).astype(np.int8), scales, axis=1)
    if float_bias:
        bias = net.constant(rng.normal(size=5).astype(np.float32))
    else:
        bias = net.stored(rng.integers(-900, 900, 5).astype(np.int32), c_scale * scales)
    scores = net.node("Gemm", flat, matrix, bias)
    return net.model(SHAPE, scores if last is None else net.node(last, scores))


def frames(count: int = 6) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=SHAPE).astype(np.float32)} for _ in range(count)]


def programs(compiled: Compiled) -> list[pb.Network]:
    found = [
        pb.Network.FromString(stage.content[_HEADER_BYTES:])
        for stage in compiled.artifacts.stages
        if stage.kind is StageKind.FIXED
    ]
    for network in found:
        network.ClearField("graph_fingerprint")
    return found


def output_of(network: pb.Network) -> pb.Tensor:
    return network.tensors[network.outputs[0]]


@pytest.mark.parametrize("float_bias", [False, True])
def test_the_layer_itself_writes_float32(float_bias: bool) -> None:
    (network,) = programs(tidlq.compile(classifier(float_bias=float_bias)))
    last = network.layers[-1]
    assert last.WhichOneof("op") == "inner_product"
    assert network.outputs[0] == last.output
    assert output_of(network).element_type == pb.ELEMENT_TYPE_F32
    assert len(last.inner_product.requantize.real_bias) == (5 if float_bias else 0)
    assert any(last.inner_product.bias) is not float_bias


@pytest.mark.parametrize("float_bias", [False, True])
def test_an_export_comes_back_as_it_was(float_bias: bool) -> None:
    compiled = tidlq.compile(classifier(float_bias=float_bias))
    exported = compiled.to_qdq()
    onnx.checker.check_model(exported, full_check=True)
    quantized = {node.input[0] for node in exported.graph.node if node.op_type == "QuantizeLinear"}
    assert not quantized & {value.name for value in exported.graph.output}
    assert programs(tidlq.compile(exported)) == programs(compiled)


@pytest.mark.parametrize("float_bias", [False, True])
def test_a_saved_proto_gives_the_same_network(tmp_path: Path, float_bias: bool) -> None:
    path, model = tmp_path / "ranges.prototxt", classifier(float_bias=float_bias)
    first = tidlq.compile(model, options={"quant_params_proto_path": str(path)})
    again = tidlq.compile(model, options={"quant_params_proto_path": str(path)})
    assert programs(again) == programs(first)
    source = tmp_path / "model.onnx"
    onnx.save(model, source)
    for extra in ([], ["--model", source]):
        outcome = CliRunner().invoke(app, ["proto", "validate", str(path), *map(str, extra)])
        assert outcome.exit_code == 0, outcome.output


def test_a_range_in_the_proto_quantizes_the_output(tmp_path: Path) -> None:
    path, model = tmp_path / "ranges.prototxt", classifier()
    options = {"quant_params_proto_path": str(path)}
    tidlq.compile(model, options=options)
    text = path.read_text()
    assert text.count("element_type: 6") == 1
    path.write_text(text.replace("element_type: 6", "element_type: 1 min: -9 max: 9"))
    (network,) = programs(tidlq.compile(model, options=options))
    assert [layer.WhichOneof("op") for layer in network.layers][-1] == "dequantize"


def test_another_scale_type_leaves_the_layer_to_the_island() -> None:
    compiled = tidlq.compile(classifier(), options={"quantization_scale_type": 1})
    assert [node.op_type for node in compiled.partition.float_nodes] == ["Gemm"]
    (gemm,) = (node.name for node in compiled.partition.float_nodes)
    assert any(f"in float: layer {gemm!r}" in notice for notice in compiled.notices)


def test_another_scale_type_calibrates_the_output_from_data() -> None:
    compiled = tidlq.compile(classifier(), frames(), {"quantization_scale_type": 1})
    assert not compiled.partition.float_nodes
    assert compiled.plan is not None
    assert compiled.partition.layers[-1].output in compiled.plan.features


def test_calibration_data_do_not_quantize_what_the_model_leaves_in_float() -> None:
    model = classifier()
    assert programs(tidlq.compile(model, frames())) == programs(tidlq.compile(model))


def test_a_float_node_reads_the_float32_output(tmp_path: Path) -> None:
    model = classifier(last="LpNormalization")
    compiled = tidlq.compile(model)
    assert [stage.kind for stage in compiled.partition.stages] == [StageKind.FIXED, StageKind.FLOAT]
    assert output_of(programs(compiled)[0]).element_type == pb.ELEMENT_TYPE_F32
    compiled.save(tmp_path / "artifacts")
    (y,) = tidlq.InferenceSession(tmp_path / "artifacts").run(None, frames(1)[0])
    assert y.shape == (1, 5)


def test_reports_show_float32(tmp_path: Path) -> None:
    compiled = tidlq.compile(classifier())
    entry = compiled.artifacts.report["stages"][0]["layers"][-1]
    assert entry["runs_in"] == "fixed"
    assert entry["output"]["type"] == "f32"
    assert entry["output"]["scale"] is None
    compiled.save(tmp_path / "artifacts")
    outcome = CliRunner().invoke(app, ["inspect", str(tmp_path / "artifacts")])
    assert outcome.exit_code == 0, outcome.output
    assert "f32" in outcome.output
