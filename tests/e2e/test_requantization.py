"""Pre-quantized models on other terms: scale types, devices, 16 bits, edited and saved ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tidlq
from oracle.real_models import REAL_MODELS
from runtime_quantizer import quantize
from tidlq.compilation import Compiled
from tidlq.graph.layers import LayerKind
from tidlq.graph.partition import StageKind
from tidlq.inspection import stated_ranges
from tidlq.quantproto import read_quant_params, write_quant_params
from tidlq.spec import FeatureQuant, Range
from tidlq.target import Options

PICTURES = 200
PROTO = "advanced_options:quant_params_proto_path"
TYPE = "advanced_options:quantization_scale_type"
FEATURES_16 = "advanced_options:output_feature_16bit_names_list"
PARAMETERS_16 = "advanced_options:params_16bit_names_list"


@dataclass(frozen=True)
class Source:
    """A pre-quantized network of one task.

    Attributes:
        path: of the model.
        nchw: its input has channels first.
        is_float: its input is; else int8 with zero point -128.
        layer: a convolution with a ReLU.
    """

    path: Path
    nchw: bool
    is_float: bool
    layer: str


@pytest.fixture(scope="module")
def qdq(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Source:
    model, frames = REAL_MODELS["fmnist"].load(request)
    target = tmp_path_factory.mktemp("qdq") / "fmnist.onnx"
    quantize(model, target, frames[:8], "u8s8 per channel")
    return Source(target, nchw=True, is_float=True, layer="model/conv2d_2/Conv2D")


@pytest.fixture(scope="module")
def tflite(shared_data: Path) -> Source:
    path = shared_data / "fashion_mnist/models/fmnist_mbv2_int8.tflite"
    compiled = tidlq.compile(path)
    convolutions = [x for x in compiled.partition.layers if x.kind is LayerKind.CONVOLUTION]
    return Source(path, nchw=False, is_float=False, layer=convolutions[4].name)


@pytest.fixture(params=["QDQ", "TFLite"])
def source(request: pytest.FixtureRequest) -> Source:
    found: Source = request.getfixturevalue("qdq" if request.param == "QDQ" else "tflite")
    return found


@pytest.fixture(scope="module")
def labelled(demo_folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    stored = np.load(demo_folder / "fmnist_test1000.npz")
    return stored["x"][:PICTURES], stored["y"][:PICTURES]


def predictions(
    source: Source, compiled: Compiled, pictures: NDArray[np.uint8]
) -> NDArray[np.intp]:
    shape = (-1, 1, 28, 28) if source.nchw else (-1, 28, 28, 1)
    x = pictures.reshape(shape)
    if source.is_float:
        feed: NDArray[np.generic] = x.astype(np.float32) / np.float32(255)
    else:
        feed = (x.astype(np.int16) - 128).astype(np.int8)
    (signature,) = compiled.graph.inputs
    outputs = tidlq.InferenceSession(compiled.artifacts).run(None, {signature.name: feed})
    return np.asarray(outputs[0]).argmax(axis=1)


def features_of(compiled: Compiled) -> Mapping[str, FeatureQuant]:
    assert compiled.plan is not None
    return compiled.plan.features


def fixed_files(compiled: Compiled) -> list[bytes]:
    stages = compiled.artifacts.stages
    return [stage.content for stage in stages if stage.kind is StageKind.FIXED]


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_another_scale_type_needs_no_data_and_loses_little(
    source: Source, scale_type: int, labelled: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    pictures, labels = labelled
    own = predictions(source, tidlq.compile(source.path), pictures)
    compiled = tidlq.compile(source.path, options={TYPE: scale_type})
    features = features_of(compiled)
    if scale_type != 4:
        assert all(quant.zero_point == 0 for quant in features.values())
    if scale_type == 1:
        assert all(math.log2(quant.scale).is_integer() for quant in features.values())
    found = predictions(source, compiled, pictures)
    assert (found == labels).mean() >= (own == labels).mean() - 0.03


def test_tda4vm_refuses_the_models_own_scales_and_offers_the_conversion(tflite: Source) -> None:
    for options in ({"tidlq:device": "TDA4VM"}, {"tidlq:device": "TDA4VM", TYPE: 3}):
        with pytest.raises(tidlq.OptionError, match=f"TDA4VM does not .* {TYPE} 0 or 1 turns"):
            tidlq.compile(tflite.path, options=options)


@pytest.mark.parametrize("scale_type", [0, 1])
def test_tda4vm_takes_a_converted_model(
    source: Source, scale_type: int, labelled: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    pictures, labels = labelled
    options = {"tidlq:device": "TDA4VM", TYPE: scale_type}
    compiled = tidlq.compile(source.path, options=options)
    assert all(quant.zero_point == 0 for quant in features_of(compiled).values())
    found = predictions(source, compiled, pictures)
    assert (found == labels).mean() >= 0.87


def test_a_lifted_layer_has_16_bits_and_the_rest_its_own_scales(
    source: Source, labelled: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    pictures, labels = labelled
    before = tidlq.compile(source.path)
    after = tidlq.compile(source.path, options={FEATURES_16: source.layer})
    old, new = features_of(before), features_of(after)
    wide = {name for name in new if new[name].type.bits == 16}
    (output,) = {x.output for x in after.partition.layers if x.name == source.layer}
    assert output in wide
    assert {name: quant for name, quant in new.items() if name not in wide} == {
        name: quant for name, quant in old.items() if name not in wide
    }
    assert after.plan is not None
    weight = after.plan.layers[source.layer].weight
    assert weight is not None
    assert weight.type.bits == 16
    for name in wide:
        assert new[name].scale < old[name].scale / 64
        # An unsigned type of 16 bits reaches as far; a signed one may end one step earlier.
        assert new[name].range.max == pytest.approx(old[name].range.max, rel=0.01)
    found = predictions(source, after, pictures)
    own = predictions(source, before, pictures)
    assert (found == labels).mean() >= (own == labels).mean() - 0.02


def test_lifted_parameters_leave_every_feature_map_as_it_is(source: Source) -> None:
    before = tidlq.compile(source.path)
    after = tidlq.compile(source.path, options={PARAMETERS_16: source.layer})
    assert features_of(after) == features_of(before)
    assert before.plan is not None
    assert after.plan is not None
    weights = {
        name: (before.plan.layers[name].weight, quant.weight)
        for name, quant in after.plan.layers.items()
        if quant.weight != before.plan.layers[name].weight
    }
    assert set(weights) == {source.layer}
    (old, new) = weights[source.layer]
    assert old is not None
    assert new is not None
    assert (old.type.bits, new.type.bits) == (8, 16)


def test_a_range_in_the_proto_overrides_that_tensor_alone(source: Source, tmp_path: Path) -> None:
    before = tidlq.compile(source.path)
    (output,) = {x.output for x in before.partition.layers if x.name == source.layer}
    file = tmp_path / "ranges.prototxt"
    saved = stated_ranges(source.path, Options(), {}).saved
    own = features_of(before)[output].range
    wider = Range(own.min, 2 * own.max)
    layers = [
        replace(
            layer,
            outputs=tuple(
                replace(tensor, range=wider) if tensor.name == output else tensor
                for tensor in layer.outputs
            ),
        )
        for layer in saved.layers
    ]
    write_quant_params(file, replace(saved, layers=tuple(layers)))
    after = tidlq.compile(source.path, options={PROTO: str(file)})
    old, new = features_of(before), features_of(after)
    assert new[output].range.max == pytest.approx(wider.max, rel=0.01)
    moved = {name for name in new if new[name] != old[name]}
    # What only hands the feature map on shares its scale.
    keepers = {x.output for x in after.partition.layers if x.keeps_quantization}
    assert output in moved
    assert moved - {output} <= keepers


@pytest.mark.parametrize("scale_type", [None, 0, 1, 4])
def test_a_proto_from_the_model_gives_the_same_network_byte_for_byte(
    source: Source, scale_type: int | None, tmp_path: Path
) -> None:
    options = {} if scale_type is None else {TYPE: scale_type}
    direct = tidlq.compile(source.path, options=options)
    file = tmp_path / "ranges.prototxt"
    write_quant_params(file, stated_ranges(source.path, Options.parse(options), {}).saved)
    assert read_quant_params(file).layers
    again = tidlq.compile(source.path, options={**options, PROTO: str(file)})
    assert fixed_files(again) == fixed_files(direct)
    # A proto that a compilation writes is the same.
    written = tmp_path / "written.prototxt"
    tidlq.compile(source.path, options={**options, PROTO: str(written)})
    assert written.read_bytes() == file.read_bytes()
