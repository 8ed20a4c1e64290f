"""What a pre-quantized model's statements are used for, and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stated_networks import output_of, stated_chain, without
from tidlq.decision import Prepared, Statements, prepare
from tidlq.decision.road import decide
from tidlq.errors import OptionError
from tidlq.graph.model import Graph
from tidlq.importers.frames import FrameSource
from tidlq.spec import Requantization
from tidlq.target import Options

TYPE = "quantization_scale_type"
TFLITE = Requantization.TWICE_ROUNDED
NONE, KEPT, CONVERTED = Statements.NONE, Statements.KEPT, Statements.CONVERTED


def prepared(graph: Graph, **options: object) -> Prepared:
    return prepare(graph, Options.parse(options))


def qdq(**changes: int) -> Graph:
    return stated_chain(**changes)


def tflite(**changes: int) -> Graph:
    return stated_chain(requantization=TFLITE, **changes)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, KEPT),
        ({"prequantized_model": 1}, KEPT),
        ({"prequantized_model": 0}, NONE),
        ({TYPE: 0}, CONVERTED),
        ({TYPE: 1}, CONVERTED),
        ({TYPE: 4}, KEPT),
        ({TYPE: 1, "prequantized_model": 1}, CONVERTED),
        ({TYPE: 1, "prequantized_model": 0}, NONE),
        ({"tensor_bits": 16}, KEPT),
        ({"tensor_bits": 16, TYPE: 0}, CONVERTED),
        ({"tensor_bits": 32}, NONE),
    ],
)
def test_options_decide_what_an_onnx_models_scales_are_used_for(
    options: dict[str, object], expected: Statements
) -> None:
    found = prepared(qdq(), **options)
    assert found.statements is expected
    assert (found.graph.stated is None) == (expected is NONE)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, KEPT),
        ({TYPE: 3}, KEPT),
        ({TYPE: 3, "prequantized_model": 1}, KEPT),
        ({TYPE: 0}, CONVERTED),
        ({TYPE: 1}, CONVERTED),
        ({TYPE: 4}, CONVERTED),
        ({"prequantized_model": 0}, NONE),
    ],
)
def test_options_decide_what_a_tflite_models_scales_are_used_for(
    options: dict[str, object], expected: Statements
) -> None:
    assert prepared(tflite(), **options).statements is expected


def test_weights_with_zero_points_are_not_of_type_4() -> None:
    assert prepared(qdq(weight_zero_point=128), **{TYPE: 4}).statements is CONVERTED


def test_a_model_without_statements_is_calibrated() -> None:
    found = prepared(replace(qdq(), stated=None))
    assert found.statements is NONE
    assert found.notices == ()


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (replace(qdq(), stated=None), {"prequantized_model": 1}, "the model states no scales"),
        (replace(qdq(), stated=None), {TYPE: 3}, "is not a fully quantized TFLite model"),
        (qdq(), {TYPE: 3}, "the model is pre-quantized ONNX, not TFLite; allowed: 0, 1, 4"),
        (tflite(), {TYPE: 3, "prequantized_model": 0}, "is 3, which .*prequantized_model' 0 forb"),
    ],
)
def test_options_that_the_model_cannot_meet_are_refused(
    graph: Graph, options: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        prepared(graph, **options)


@pytest.mark.parametrize(
    ("graph", "options", "expected"),
    [
        (qdq(), {}, ["its own scales and zero points are used"]),
        (qdq(), {"prequantized_model": 1}, []),
        (tflite(), {TYPE: 3}, []),
        (qdq(), {TYPE: 1}, ["from which scale type 1 takes its own"]),
        (qdq(), {TYPE: 1, "prequantized_model": 1}, ["from which scale type 1 takes its own"]),
        (qdq(), {"prequantized_model": 0}, []),
    ],
)
def test_notices_say_what_was_not_asked_for(
    graph: Graph, options: dict[str, object], expected: list[str]
) -> None:
    notices = prepared(graph, **options).notices
    assert len(notices) == len(expected)
    assert all(text in notice for text, notice in zip(expected, notices, strict=True))


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        (tflite(), {}, "device TDA4VM does not run TFLite's arithmetic .*_type 0 or 1 turns"),
        (tflite(), {TYPE: 3}, "device TDA4VM does not run TFLite's arithmetic"),
        (qdq(), {}, "device TDA4VM has no zero points, which the model states; .* 0 or 1 turns"),
    ],
)
def test_a_device_refuses_scales_that_it_does_not_have_and_offers_the_conversion(
    graph: Graph, options: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        prepared(graph, device="TDA4VM", **options)


@pytest.mark.parametrize(
    ("graph", "options", "expected"),
    [
        (qdq(zero_point=0), {"device": "TDA4VM"}, KEPT),
        (qdq(), {"device": "TDA4VM", TYPE: 0}, CONVERTED),
        (tflite(), {"device": "TDA4VM", TYPE: 1}, CONVERTED),
        (qdq(), {"device": "AM68A"}, KEPT),
        (tflite(), {"device": "AM62A", TYPE: 3}, KEPT),
    ],
)
def test_a_device_takes_what_it_has(
    graph: Graph, options: dict[str, object], expected: Statements
) -> None:
    assert prepared(graph, **options).statements is expected


def test_a_layer_without_a_stated_weight_runs_in_float_and_is_named() -> None:
    found = prepared(without(qdq(), "w1"), prequantized_model=1)
    assert [node.name for node in found.partition.float_nodes] == ["conv1"]
    (notice,) = found.notices
    assert "in float: layer 'conv1' (calibration data would" in notice


def test_a_layer_writes_real_values_to_a_reader_in_float() -> None:
    graph = stated_chain(4)
    found = prepared(without(graph, output_of(graph, "conv1")), prequantized_model=1)
    assert [node.name for node in found.partition.float_nodes] == ["conv2"]
    assert "in float: layer 'conv2'" in found.notices[0]


def test_a_converted_layer_cannot_write_real_values() -> None:
    graph = stated_chain(4)
    found = prepared(without(graph, output_of(graph, "conv1")), **{TYPE: 1})
    assert [node.name for node in found.partition.float_nodes] == ["conv1", "conv2"]
    assert "in float: layers 'conv1', 'conv2'" in found.notices[-1]


def test_with_data_the_same_layers_are_calibrated() -> None:
    graph = without(qdq(), "w1")
    found = prepare(graph, Options.parse({"prequantized_model": 1}), has_data=True)
    assert found.partition.float_nodes == ()
    assert found.notices == ("Not fully quantized by the model, so calibrated: layer 'conv1'.",)


def test_a_long_list_of_layers_is_cut_short() -> None:
    graph = stated_chain(12)
    found = prepared(without(graph, *(f"w{index}" for index in range(1, 11))), prequantized_model=1)
    assert "'conv8' and 2 more (" in found.notices[0]
    assert "'conv9'" not in found.notices[0]


def test_a_saved_proto_with_the_layers_replaces_the_data(tmp_path: Path) -> None:
    file = tmp_path / "ranges.prototxt"
    graph = without(qdq(), "w1")
    options = Options.parse({"prequantized_model": 1, "quant_params_proto_path": str(file)})
    assert prepare(graph, options).partition.float_nodes
    with_data = prepare(graph, options, has_data=True)
    # Every feature map is stated, so nothing has to be measured.
    decided = decide(with_data, options, _no_frames, 1, lambda *_: None, None, has_data=True)
    file.write_bytes(decided.quant_params)
    found = prepare(graph, options)
    assert found.partition.float_nodes == ()
    assert "so calibrated: layer 'conv1'" in found.notices[-1]


def _no_frames() -> FrameSource:
    raise AssertionError("data were asked for")
