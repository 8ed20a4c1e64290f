"""16 bits end to end: precise, saved and read again, and chosen layer by layer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tidlq
from oracle.real_models import REAL_MODELS
from tidlq import demo_data
from tidlq._core import ErrorStatistics
from tidlq.compilation import Compiled
from tidlq.lowering import network_pb2 as pb
from tidlq.lowering.network_file import unpack_network
from tidlq.quantproto import read_quant_params

PROTO = "advanced_options:quant_params_proto_path"
CONVOLUTION = "model/conv2d_2/Conv2D"

# A hundred layers with signed features, each on a scale that an accumulator allows, and depthwise
# weights with one scale for all channels: what equalization is for.
LEAST_SQNR_DB = {("nanodet", 0): 52.0, ("nanodet", 1): 52.0}


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if model.is_packaged else pytest.mark.slow)
        for name, model in REAL_MODELS.items()
    ],
)
def test_every_output_at_16_bits_has_an_sqnr_of_60_db(
    name: str, scale_type: int, request: pytest.FixtureRequest
) -> None:
    path, frames = REAL_MODELS[name].load(request)
    options = {"tensor_bits": 16, "quantization_scale_type": scale_type, "accuracy_level": 2}
    compiled = tidlq.compile(path, frames, options)
    quantized = tidlq.InferenceSession(compiled.artifacts)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    floating = onnxruntime.InferenceSession(path, quiet, providers=["CPUExecutionProvider"])
    errors = [ErrorStatistics() for _ in floating.get_outputs()]
    for frame in frames:
        for error, want, got in zip(
            errors, floating.run(None, frame), quantized.run(None, frame), strict=True
        ):
            error.update(want, got)
    least = LEAST_SQNR_DB.get((name, scale_type), 60.0)
    assert min(error.sqnr_db for error in errors) >= least


def compile_demo(calibrate: bool = True, **options: object) -> Compiled:
    frames = list(demo_data.calibration_frames())[:8] if calibrate else None
    return tidlq.compile(demo_data.model_path(), frames, {"quantization_scale_type": 4, **options})


@pytest.mark.parametrize("suffix", [".prototxt", ".pb"])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize(
    "width",
    [
        {"tensor_bits": 16},
        {"params_16bit_names_list": [CONVOLUTION, "model/dense/MatMul"]},
        {"tensor_bits": 16, "device": "AM68A"},
    ],
    ids=["16 bits", "16-bit parameters", "16 bits on a device"],
)
def test_the_saved_proto_decides_the_bits(
    tmp_path: Path, width: dict[str, object], scale_type: int, suffix: str
) -> None:
    options = {"quantization_scale_type": scale_type, PROTO: str(tmp_path / f"quant{suffix}")}
    first = compile_demo(**options, **width)
    options["device"] = width.get("device")
    again = compile_demo(False, **options)
    assert again.artifacts.stages == first.artifacts.stages
    assert again.artifacts.quant_params == first.artifacts.quant_params
    assert again.plan == first.plan


def weight_types(compiled: Compiled) -> dict[str, int]:
    network = unpack_network(compiled.artifacts.stages[0].content)
    types = {}
    for layer in network.layers:
        kind = layer.WhichOneof("op")
        if kind in ("convolution", "inner_product"):
            weight = getattr(layer, kind).weight
            types[layer.name] = network.tensors[weight].element_type
    return types


def test_named_layers_alone_have_16_bit_parameters(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    compiled = compile_demo(params_16bit_names_list=CONVOLUTION, **{PROTO: str(path)})
    wide = [name for name, type_ in weight_types(compiled).items() if type_ == pb.ELEMENT_TYPE_S16]
    assert wide == [CONVOLUTION]
    assert compiled.plan is not None
    assert {feature.type.bits for feature in compiled.plan.features.values()} == {8}
    depths = {
        layer.name: (layer.bit_depth, layer.parameter_bit_depth)
        for layer in read_quant_params(path).layers
    }
    assert depths.pop(CONVOLUTION) == (8, 16)
    assert set(depths.values()) == {(8, None)}


def test_a_layer_may_be_named_by_its_output() -> None:
    by_name = compile_demo(params_16bit_names_list=CONVOLUTION)
    (layer,) = [layer for layer in by_name.partition.layers if layer.name == CONVOLUTION]
    by_output = compile_demo(params_16bit_names_list=layer.output)
    assert by_output.artifacts.stages == by_name.artifacts.stages


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("model/conv2d_2/Conv2d", {}, r"does not have\. Did you mean '.*model/conv2d_2/Conv2D'"),
        ("model/add/add", {}, r"'model/add/add' \(Add\), which has no parameters"),
        (CONVOLUTION, {"deny_list:layer_name": CONVOLUTION}, r"Conv2D', which runs in float"),
    ],
)
def test_names_without_16_bit_parameters_are_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(tidlq.OptionError, match="params_16bit_names_list.*" + message):
        compile_demo(params_16bit_names_list=name, **options)


def test_everything_has_16_bits_and_the_report_says_so(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    compiled = compile_demo(tensor_bits=16, **{PROTO: str(path)})
    assert set(weight_types(compiled).values()) == {pb.ELEMENT_TYPE_S16}
    report = compiled.artifacts.report
    layers = [layer for stage in report["stages"] for layer in stage["layers"]]
    types = {layer["output"]["type"] for layer in layers} | {report["features"][0]["type"]}
    assert types == {"u16"}
    assert {layer["weight"]["type"] for layer in layers if "weight" in layer} == {"s16"}
    saved = read_quant_params(path).layers
    assert {layer.bit_depth for layer in saved} == {16}
    assert {layer.parameter_bit_depth for layer in saved} == {None}


def test_a_proto_that_gives_a_moving_layer_other_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    compiled = compile_demo(**{PROTO: str(path)})
    moving = next(layer for layer in compiled.partition.layers if layer.keeps_quantization)
    text = path.read_text()
    pattern = rf'(layer_name: "{re.escape(moving.name)}"[^{{]*bit_depth: )8'
    edited, count = re.subn(pattern, r"\g<1>16", text)
    assert count == 1
    path.write_text(edited)
    with pytest.raises(tidlq.QuantProtoError, match=f"Layer '{moving.name}' is to have 16 bits"):
        compile_demo(False, **{PROTO: str(path)})


def test_one_layer_of_a_proto_may_be_given_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    compile_demo(**{PROTO: str(path)})
    text = path.read_text()
    pattern = rf'(layer_name: "{re.escape(CONVOLUTION)}"[^{{]*bit_depth: )8'
    path.write_text(re.sub(pattern, r"\g<1>16", text))
    compiled = compile_demo(False, **{PROTO: str(path)})
    assert compiled.plan is not None
    wide = [name for name, feature in compiled.plan.features.items() if feature.type.bits == 16]
    (layer,) = [layer for layer in compiled.partition.layers if layer.name == CONVOLUTION]
    assert wide == [layer.output]
    quant = compiled.plan.layers[CONVOLUTION].weight
    assert quant is not None
    assert quant.type.bits == 16


def long_product() -> onnx.ModelProto:
    """70,000 products per output, all of one sign: beyond 32 bits with 8-bit operands."""
    value = helper.make_tensor_value_info
    weight = np.full((70_000, 2), 0.5, np.float32)
    weight[:, 1] = np.linspace(-0.5, 0.5, 70_000)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")
    graph = helper.make_graph(
        [node],
        "long",
        [value("x", TensorProto.FLOAT, [1, 70_000])],
        [value("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_layer_that_would_overflow_32_bits_stays_right(scale_type: int) -> None:
    model = long_product()
    x = np.ones((1, 70_000), np.float32)
    x[0, ::7] = 0.25
    options = {"quantization_scale_type": scale_type, "accuracy_level": 2}
    compiled = tidlq.compile(model, [{"x": x}], options)
    assert compiled.plan is not None
    quant = compiled.plan.layers["fc"]
    assert quant.weight is not None
    assert quant.weight.scales[0] > 0.5 / 127
    assert quant.headroom_bits is not None
    assert 0 <= quant.headroom_bits < 1.01
    (y,) = tidlq.InferenceSession(compiled.artifacts).run(None, {"x": x})
    want = x.astype(np.float64) @ numpy_helper.to_array(model.graph.initializer[0])
    assert abs(y - want).max() <= 0.01 * abs(want).max()
