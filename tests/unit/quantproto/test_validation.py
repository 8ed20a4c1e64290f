"""Validation tells everything at once, and where in a text it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidlq.quantproto import Findings, ProtoForm, validate_content, validate_quant_params
from tidlq.quantproto.text_places import Spot, map_text


def review(text: str) -> Findings:
    return validate_content(text.encode(), ProtoForm.TEXT, "the proto")


def test_all_that_cannot_be_parsed_is_told_with_line_and_column() -> None:
    text = """num_layer: 1
layers {
  layer_name: conv
  bit_depth: eight
  outputs { min: 0 max: 1 maxx: 2 }
  weights { scale: [1, one, 2] }
  weights: 3
  colour: "red"
}
layers { layer_name: "b" layer_name: "c" [tidlq.quantproto.no_such]: 1 }
}
"""
    first, *others = review(text).problems
    assert first.startswith("line 1, column 1: TIDLNetQuantParams has no field 'num_layer'.")
    assert "Did you mean 'num_layers'" in first
    assert others == [
        "line 3, column 15: Expected string but found: 'conv'.",
        "line 4, column 14: Couldn't parse integer: eight.",
        "line 5, column 27: TidlTensorQuantParams has no field 'maxx'. Did you mean 'max'?",
        "line 6, column 24: Couldn't parse float: one.",
        "line 7, column 3: expected '{' after weights, found '3'.",
        "line 8, column 3: TidlLayerQuantParams has no field 'colour'.",
        "line 10, column 26: layer_name stands twice.",
        "line 10, column 42: TidlLayerQuantParams has no extension [tidlq.quantproto.no_such].",
        "line 11, column 1: expected a field's name, found '}'.",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layers {", "line 1, column 9: a message begins here that no '}' ends."),
        ("layers { outputs { scale: [1, 2 } }", "the list of scale has no end."),
        ("num_layers 3", "expected ':' after num_layers."),
        ("num_layers { }", "num_layers is no message."),
        ("layers { " * 100 + "} " * 100, "has no field 'layers'"),
        ("layers <" * 1000, "has no field 'layers'"),
        ('num_layers: "one', "Couldn't parse integer"),
    ],
)
def test_broken_text_gives_a_sentence_about_its_first_fault(text: str, problem: str) -> None:
    assert problem in review(text).problems[0]


def test_faults_of_a_text_that_can_be_parsed_have_their_places() -> None:
    text = """# comment
num_layers: 3
layers: {
  layer_name: 'a', layer_type: "TIDL_DataLayer"
  outputs < min: 2
            max: 1 >
};
layers {
  layer_name: "b"
  layer_type: "TIDL_ReLULayer"
  outputs [{ min: 0 max: 1 }, { min: 0 }]
  [tidlq.quantproto.equalization]: [1, 0]
}
"""
    assert review(text).problems == (
        "line 2, column 1: num_layers is 3, but the file has 2 layers",
        "line 5, column 13: layer 'a', outputs[0]: min 2.0 is above max 1.0",
        "line 11, column 31: layer 'b', outputs[1]: the range is not known",
        "line 12, column 40: layer 'b': equalization[1] is 0.0; it must be finite and positive",
    )


def test_a_json_file_names_the_path_of_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text('{"num_layers": 1, "layers": [{"layer_nme": "a"}]}')
    (problem,) = validate_quant_params(path).problems
    assert "layers[0]: TidlLayerQuantParams has no field 'layer_nme'." in problem
    assert "Did you mean 'layer_name'" in problem
    path.write_text('{"num_layers": 1,\n "layers": [')
    (problem,) = validate_quant_params(path).problems
    assert "line 2" in problem


def test_places_of_list_elements_and_repeated_messages_have_an_index() -> None:
    found = map_text('layers { layer_name: "a" }\nlayers { outputs { scale: [1,\n 2] scale: 3 } }')
    assert found.problems == []
    assert found.places["layers", 1] == Spot(2, 1)
    scale = ("layers", 1, "outputs", 0, "scale")
    assert [found.places[(*scale, index)] for index in range(3)] == [
        Spot(2, 28), Spot(3, 2), Spot(3, 5),
    ]  # fmt: skip
    assert found.spot_of(("layers", 0, "bit_depth")) == Spot(1, 1)
    assert found.spot_of(("nothing",)) is None


ONE = 'num_layers: 1 layers {{ layer_name: "a" layer_type: "TIDL_ConvolutionLayer" {} }}'


@pytest.mark.parametrize(
    ("tensor", "remark"),
    [
        ("outputs { min: 0 max: 4 scale: 100 }", "spans 400 of 255 steps"),
        ("outputs { min: 0 max: 4 scale: 10 }", "spans only 40 of 255 steps"),
        ("outputs { min: -4 max: 4 scale: 64 }", "spans 256 of 128 steps"),
        ("bit_depth: 16 outputs { min: -4 max: 4 scale: 31 }", "spans only 124 of 32768 steps"),
        ("outputs { min: 0 max: 4 scale: 0 }", "the scale 0 is not positive"),
        ("outputs { min: -1 max: 3 scale: 128 zero_point: 64 }", "spans 512 of 255 steps"),
    ],
)
def test_a_scale_that_contradicts_its_range_is_a_remark(tensor: str, remark: str) -> None:
    found = review(ONE.format(tensor))
    assert found.problems == ()
    (told,) = found.remarks
    assert remark in told
    assert told.startswith("line 1, column ")
    assert "layer 'a', outputs[0]: " in told


@pytest.mark.parametrize(
    "tensor",
    [
        "outputs { min: 0 max: 4.0966 scale: 56.38 }",
        "outputs { min: -4 max: 4 scale: 32 }",
        "outputs { min: 0 max: 255 scale: 1 }",
        "outputs { min: -1 max: 3 scale: 63.75 zero_point: 64 }",
        "outputs { min: 0 max: 0 scale: 65536 }",
        "outputs { min: 0 max: 4 } weights { min: -1 max: 1 scale: 2 }",
    ],
)
def test_a_scale_that_leaves_room_is_none(tensor: str) -> None:
    assert review(ONE.format(tensor)) == Findings()
