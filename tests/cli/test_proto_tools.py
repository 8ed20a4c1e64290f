"""Quantization protos shown, compared, changed, merged, converted; pipes, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Command
from tidlq.quantproto import read_quant_params

TEXT = """num_layers: 3
layers {
  layer_name: "x" layer_type: "TIDL_DataLayer"
  outputs { min: -1 max: 1 scale: 128 [tidlq.quantproto.tensor_name]: "x" }
}
layers {
  layer_name: "conv1" layer_type: "TIDL_ConvolutionLayer"
  outputs { min: 0 max: 4 scale: 64 [tidlq.quantproto.tensor_name]: "y" }
  weights { min: -1 max: 1 size: 4 scale: 128 }
  bias { min: 0.5 max: 1.5 size: 2 value: [0.5, 1.5] }
}
layers {
  layer_name: "pool" layer_type: "TIDL_PoolingLayer"
  outputs { min: 0 max: 2 scale: 64 }
}
"""


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    path = tmp_path / "saved.prototxt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def changed(proto: Path) -> Path:
    path = proto.with_name("changed.prototxt")
    path.write_text(TEXT.replace("max: 4 ", "max: 4.5 "))
    return path


def test_diff_of_equal_files_exits_with_0(tidlq: Command, proto: Path) -> None:
    outcome = tidlq("proto", "diff", proto, proto)
    assert (outcome.exit_code, outcome.stdout) == (0, "no differences\n")
    document = tidlq("proto", "diff", proto, proto, "--json").document
    assert (document["equal"], document["differences"]) == (True, [])


def test_diff_exits_with_1_and_counts_steps(tidlq: Command, proto: Path, changed: Path) -> None:
    outcome = tidlq("proto", "diff", proto, changed)
    assert outcome.exit_code == 1
    assert "conv1" in outcome.stdout
    assert "1 difference" in outcome.stdout
    outcome = tidlq("proto", "diff", proto, changed, "--json")
    assert outcome.exit_code == 1
    (found,) = outcome.document["differences"]
    assert found == {
        "what": "range",
        "layer": "conv1",
        "role": "outputs",
        "tensor": "y",
        "a": [0.0, 4.0],
        "b": [0.0, 4.5],
        "steps": 32.0,
        "step_a": 1 / 64,
        "step_b": 1 / 64,
        "step_ratio": 1.0,
    }
    assert tidlq("proto", "diff", proto, changed, "--tolerance", 32).exit_code == 0


def test_diff_exits_with_2_when_it_cannot_compare(tidlq: Command, proto: Path) -> None:
    for arguments in ([proto, proto.with_name("none.txt")], ["-", "-"], [proto], [proto, "-"]):
        outcome = tidlq("proto", "diff", *arguments, stdin=b"{")
        assert outcome.exit_code == 2, outcome.stdout
        assert outcome.stderr.startswith("error: ")
        assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["text", "binary", "json"])
def test_every_form_goes_through_a_pipe_unchanged(tidlq: Command, proto: Path, form: str) -> None:
    piped = tidlq("proto", "convert", proto, "--form", form)
    assert piped.exit_code == 0, piped.stderr
    assert tidlq("proto", "diff", "-", proto, stdin=piped.content).exit_code == 0
    again = tidlq("proto", "convert", "-", stdin=piped.content)
    assert again.content == tidlq("proto", "convert", proto).content


def test_every_command_reads_standard_input(tidlq: Command) -> None:
    for arguments in (
        ["show", "-"],
        ["validate", "-"],
        ["convert", "-"],
        ["merge", "-"],
        ["set", "-", "conv1.outputs=0:6"],
    ):
        outcome = tidlq("proto", *arguments, stdin=TEXT.encode())
        assert outcome.exit_code == 0, outcome.stderr
        assert "conv1" in outcome.stdout or arguments[0] == "validate"


def test_every_command_prints_one_json_document(tidlq: Command) -> None:
    for arguments in (["show"], ["validate"], ["convert"], ["merge"], ["set", "y=0:6"]):
        outcome = tidlq("proto", arguments[0], "-", *arguments[1:], "--json", stdin=TEXT.encode())
        assert outcome.exit_code == 0, outcome.stderr
        assert isinstance(outcome.document, dict)


def test_with_json_the_proto_for_standard_output_is_part_of_the_document(
    tidlq: Command, proto: Path
) -> None:
    document = tidlq("proto", "set", proto, "y=0:6", "-o", "-", "--json").document
    assert document["changes"] == [{"layer": "conv1", "of": "y", "before": "0:4", "after": "0:6"}]
    content = json.dumps(document["proto"]).encode()
    shown = tidlq("proto", "show", "-", "--layer", "conv1", "--json", stdin=content).document
    assert shown["layers"][0]["outputs"][0]["max"] == 6.0


def test_set_changes_the_file_in_place(tidlq: Command, proto: Path) -> None:
    outcome = tidlq(
        "proto", "set", proto, "*.outputs=-2:2", "conv1.bits=16", "pool.outputs=unknown"
    )
    assert outcome.exit_code == 0, outcome.stderr
    for part in ("conv1", "pool", "unknown", "-2:2", "16"):
        assert part in outcome.stdout
    saved = read_quant_params(proto)
    x, conv, pool = saved.layers
    assert x.outputs[0].range is not None
    assert (x.outputs[0].range.min, conv.bit_depth, pool.outputs[0].range) == (-2.0, 16, None)


def test_set_writes_elsewhere_when_asked(tidlq: Command, proto: Path, tmp_path: Path) -> None:
    before = proto.read_bytes()
    target = tmp_path / "new.json"
    assert tidlq("proto", "set", proto, "y=0:6", "-o", target).exit_code == 0
    assert proto.read_bytes() == before
    assert read_quant_params(target).layers[1].outputs[0].range is not None


def test_an_assignment_that_names_nothing_leaves_the_file_alone(
    tidlq: Command, proto: Path
) -> None:
    before = proto.read_bytes()
    outcome = tidlq("proto", "set", proto, "y=0:6", "conv2.outputs=0:1")
    assert outcome.exit_code == 2
    assert "Did you mean 'conv1.outputs'" in outcome.stderr
    assert proto.read_bytes() == before


def test_merge_unites_files_and_tells_what_is_no_exact_union(
    tidlq: Command, proto: Path, tmp_path: Path
) -> None:
    other, target = tmp_path / "other.prototxt", tmp_path / "merged.pb"
    other.write_text(
        TEXT.replace("min: -1 max: 1 scale: 128 [", "min: -3 max: 0.5 [")
        + '[tidlq.quantproto.provenance] { accuracy_level: 0 frames: 5 scheme: "s" }'
    )
    outcome = tidlq("proto", "merge", proto, other, "-o", target)
    assert outcome.exit_code == 0, outcome.stderr
    assert "means over frames" in outcome.stderr
    known = read_quant_params(target).layers[0].outputs[0].range
    assert known is not None
    assert (known.min, known.max) == (-3.0, 1.0)


def test_merge_refuses_biases_that_differ_unless_they_are_dropped(
    tidlq: Command, proto: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.prototxt"
    other.write_text(TEXT.replace("value: [0.5, 1.5]", "value: [0.5, 1.25]"))
    outcome = tidlq("proto", "merge", proto, other)
    assert outcome.exit_code == 1
    assert "--drop-biases" in outcome.stderr
    assert outcome.stdout == ""
    outcome = tidlq("proto", "merge", proto, other, "--drop-biases")
    assert outcome.exit_code == 0
    assert "value" not in outcome.stdout


def test_strict_conversion_tells_what_it_leaves_out(
    tidlq: Command, proto: Path, tmp_path: Path
) -> None:
    target = tmp_path / "strict.prototxt"
    outcome = tidlq("proto", "convert", proto, "-o", target, "--tidl-strict")
    assert outcome.exit_code == 0, outcome.stderr
    assert "left out: the tensors' names" in outcome.stderr
    assert "tidlq" not in target.read_text()
    document = tidlq("proto", "convert", proto, "-o", target, "--tidl-strict", "--json").document
    assert len(document["left_out"]) == 1
    assert document["unsuitable"] == []


def test_show_filters_by_layer_and_sorts_by_range(tidlq: Command, proto: Path) -> None:
    shown = tidlq("proto", "show", proto, "--layer", "TIDL_Conv*", "--layer", "poo").stdout
    assert "conv1" in shown
    assert "pool" in shown
    assert "\nx " not in shown
    rows = tidlq("proto", "show", proto, "--sort", "range").stdout.splitlines()[2:]
    assert rows[0].split()[:3] == ["conv1", "Convolution", "output"]
    assert rows[1].split()[:3] == ["pool", "Pooling", "output"]
    document = tidlq("proto", "show", proto, "--sort", "range", "--json").document
    assert [layer["name"] for layer in document["layers"]] == ["conv1", "pool", "x"]
    outcome = tidlq("proto", "show", proto, "--layer", "conv2")
    assert outcome.exit_code == 2
    assert "Did you mean 'conv1'" in outcome.stderr


def test_the_published_sample_shows_the_documented_scales(
    tidlq: Command, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = repository / "tests" / "unit" / "quantproto" / "published_sample.prototxt"
    assert tidlq("proto", "validate", sample).exit_code == 0
    monkeypatch.setenv("COLUMNS", "160")
    lines = tidlq("proto", "show", sample).stdout.splitlines()
    for role, scale in (("weight", "14435.3"), ("output", "56.3878"), ("bias", "120.28")):
        assert any(role in line.split() and scale in line.split() for line in lines)
    document = tidlq("proto", "show", sample, "--json").document
    data, conv = document["layers"]
    assert data["outputs"][0]["scales"] == [1.0]
    assert conv["weights"][0]["scales"] == [14435.275390625]
    assert conv["outputs"][0]["scales"] == [56.387794494628906]
    assert conv["bias"][0]["scales"] == [120.27982330322266]


def test_show_marks_outliers_and_explains_them(tidlq: Command, tmp_path: Path) -> None:
    path = tmp_path / "many.prototxt"
    layer = (
        'layers {{ layer_name: "l{}" layer_type: "TIDL_ReLULayer" outputs {{ min: 0 max: {} }} }}\n'
    )
    path.write_text(
        "num_layers: 10\n" + "".join(layer.format(i, 2 if i else 64) for i in range(10))
    )
    outcome = tidlq("proto", "show", path)
    assert "x32" in outcome.stdout
    assert "Outliers are more than 3 octaves" in outcome.stderr
    only = tidlq("proto", "show", path, "--outliers", "--json").document["layers"]
    assert [(x["name"], x["outputs"][0]["outlier"]) for x in only] == [("l0", 32.0)]


def test_validate_tells_contradicting_scales_as_remarks(tidlq: Command, tmp_path: Path) -> None:
    path = tmp_path / "edited.prototxt"
    path.write_text(TEXT.replace("max: 4 ", "max: 16 "))
    outcome = tidlq("proto", "validate", path)
    assert outcome.exit_code == 0
    assert "line 8, column 28: layer 'conv1', outputs[0]: the scale 64 contra" in outcome.stderr
    document = tidlq("proto", "validate", path, "--json").document
    assert document["is_valid"] is True
    assert len(document["remarks"]) == 1


def test_a_form_is_for_standard_output(tidlq: Command, proto: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    outcome = tidlq("proto", "convert", proto, "-o", target, "--form", "binary")
    assert outcome.exit_code == 2
    assert not target.exists()


def test_artifacts_give_their_proto(tidlq: Command, artifacts: Path, tmp_path: Path) -> None:
    target = tmp_path / "from.json"
    assert tidlq("proto", "from-model", artifacts, "-o", target).exit_code == 0
    assert tidlq("proto", "diff", target, artifacts / "quant_params.prototxt").exit_code == 0
    piped = tidlq("proto", "from-model", artifacts, "--form", "binary")
    assert tidlq("proto", "diff", "-", target, stdin=piped.content).exit_code == 0
