"""A saved quantization proto replaces calibration, for the model it was written for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import networks
from cli.conftest import Command


def networks_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tidlq")}


@pytest.mark.parametrize("suffix", ["prototxt", "pb"])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("channel_wise", [0, 1])
def test_a_saved_proto_gives_the_same_network_without_data(
    tidlq: Command,
    classifier: Path,
    frames: Path,
    tmp_path: Path,
    suffix: str,
    scale_type: int,
    channel_wise: int,
) -> None:
    arguments = [
        "compile", classifier,
        "--option", f"quant_params_proto_path={tmp_path / f'saved.{suffix}'}",
        "--option", f"quantization_scale_type={scale_type}",
        "--option", f"channel_wise_quantization={channel_wise}",
    ]  # fmt: skip
    first = tidlq(*arguments, "--calib", frames, "-o", tmp_path / "first", "--json")
    assert first.exit_code == 0, first.stderr
    second = tidlq(*arguments, "-o", tmp_path / "second", "--json")
    assert second.exit_code == 0, second.stderr
    assert first.document["calibration_frames"] == 6
    assert second.document["calibration_frames"] == 0
    assert networks_of(tmp_path / "first") == networks_of(tmp_path / "second") != {}


def test_the_proto_in_the_artifacts_replaces_calibration_too(
    tidlq: Command, classifier: Path, artifacts: Path, tmp_path: Path
) -> None:
    outcome = tidlq(
        "compile", classifier, "-o", tmp_path / "again",
        "--option", f"quant_params_proto_path={artifacts / 'quant_params.prototxt'}",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert networks_of(artifacts) == networks_of(tmp_path / "again")


def test_a_proto_of_another_model_is_refused(
    tidlq: Command, artifacts: Path, tmp_path: Path
) -> None:
    other = networks.save_model(networks.classifier(channels=3), tmp_path / "other.onnx")
    proto = artifacts / "quant_params.prototxt"
    outcome = tidlq(
        "compile", other, "-o", tmp_path / "out", "--option", f"quant_params_proto_path={proto}"
    )
    assert outcome.exit_code == 1
    assert "another model" in outcome.stderr
    assert str(proto) in outcome.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def incomplete(artifacts: Path) -> Path:
    """The proto of the small network without its last layer, and without a range."""
    from tidlq.quantproto import read_quant_params, write_quant_params
    from tidlq.quantproto.model import SavedRanges

    path = artifacts / "quant_params.prototxt"
    saved = read_quant_params(path)
    broken = path.with_name("incomplete.prototxt")
    write_quant_params(
        broken,
        SavedRanges(saved.layers[:-1], saved.symmetric, saved.per_channel, saved.provenance),
    )
    return broken


def test_an_incomplete_proto_is_refused_with_what_it_lacks(
    tidlq: Command, classifier: Path, incomplete: Path, tmp_path: Path
) -> None:
    outcome = tidlq(
        "compile", classifier, "-o", tmp_path / "out",
        "--option", f"quant_params_proto_path={incomplete}",
    )  # fmt: skip
    assert outcome.exit_code == 1
    assert "'dense'" in outcome.stderr
    assert "incomplete.prototxt" in outcome.stderr


def test_validate_finds_nothing_in_a_whole_proto(
    tidlq: Command, artifacts: Path, classifier: Path
) -> None:
    proto = artifacts / "quant_params.prototxt"
    for arguments in ([proto], [proto, "--model", classifier]):
        outcome = tidlq("proto", "validate", *arguments, "--json")
        assert outcome.exit_code == 0, outcome.stdout
        assert outcome.document == {
            "file": str(proto),
            "is_valid": True,
            "problems": [],
            "remarks": [],
        }
        assert "no problems" in tidlq("proto", "validate", *arguments).stdout


def test_validate_lists_what_a_model_lacks_and_exits_with_1(
    tidlq: Command, incomplete: Path, classifier: Path
) -> None:
    outcome = tidlq("proto", "validate", incomplete, "--model", classifier, "--json")
    assert outcome.exit_code == 1
    assert outcome.document["is_valid"] is False
    assert any("'dense'" in problem for problem in outcome.document["problems"])


def test_validate_names_a_proto_of_another_model(
    tidlq: Command, artifacts: Path, tmp_path: Path
) -> None:
    other = networks.save_model(networks.classifier(channels=3), tmp_path / "other.onnx")
    outcome = tidlq(
        "proto", "validate", artifacts / "quant_params.prototxt", "--model", other, "--json"
    )
    assert outcome.exit_code == 1
    assert "another model" in outcome.document["problems"][0]


def test_validate_lists_all_problems_at_once(tidlq: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.prototxt"
    path.write_text(
        "num_layers: 5\n"
        'layers { layer_name: "a" layer_type: "TIDL_ConvolutionLayer" bit_depth: 3'
        " outputs { min: 2 max: 1 } }\n"
    )
    outcome = tidlq("proto", "validate", path)
    assert outcome.exit_code == 1
    for part in ("3 problems", "num_layers", "bit_depth", "min 2"):
        assert part in outcome.stdout


def test_validate_says_where_the_text_ends_to_make_sense(tidlq: Command, tmp_path: Path) -> None:
    path = tmp_path / "typo.prototxt"
    path.write_text('num_layers: 1\nlayers { layer_nme: "a" }\n')
    outcome = tidlq("proto", "validate", path)
    assert outcome.exit_code == 1
    assert "layer_nme" in outcome.stdout
    assert "layer_name" in outcome.stdout


@pytest.mark.parametrize("command", ["show", "validate"])
def test_a_proto_that_cannot_be_opened_is_an_error(
    tidlq: Command, tmp_path: Path, command: str
) -> None:
    outcome = tidlq("proto", command, tmp_path / "none.prototxt")
    assert outcome.exit_code == 1
    assert "none.prototxt" in outcome.stderr
    outcome = tidlq("proto", command, tmp_path / "ranges.csv")
    assert outcome.exit_code == 1
    assert ".prototxt" in outcome.stderr


def test_show_has_every_layer_and_its_provenance(tidlq: Command, artifacts: Path) -> None:
    path = artifacts / "quant_params.prototxt"
    document = tidlq("proto", "show", path, "--json").document
    names = [layer["name"] for layer in document["layers"]]
    assert names == ["x", "first", "pool", "flatten", "dense"]
    assert document["provenance"]["frames"] == 6
    (bias,) = document["layers"][1]["bias"]
    assert len(bias["values"]) == 4
    text = tidlq("proto", "show", path).stdout
    assert all(name in text for name in names)
    assert "level 1, 6 frames" in text


def test_data_give_what_an_incomplete_proto_lacks(
    tidlq: Command, classifier: Path, frames: Path, incomplete: Path, tmp_path: Path
) -> None:
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", tmp_path / "out",
        "--option", f"quant_params_proto_path={incomplete}",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert "incomplete.prototxt' is not complete: 3 of 4 ranges" in outcome.stderr
    compared = tidlq(
        "proto", "diff", incomplete, tmp_path / "out" / "quant_params.prototxt", "--json"
    )
    assert [x["layer"] for x in compared.document["differences"]] == ["dense"]


def test_a_stale_proto_is_used_when_asked_for(
    tidlq: Command, artifacts: Path, tmp_path: Path
) -> None:
    changed = networks.classifier()
    changed.graph.initializer[1].raw_data = b"\0" * 16
    other = networks.save_model(changed, tmp_path / "other.onnx")
    proto = artifacts / "quant_params.prototxt"
    arguments = ["compile", other, "--option", f"quant_params_proto_path={proto}"]
    refused = tidlq(*arguments, "-o", tmp_path / "out")
    assert refused.exit_code == 1
    assert "1 layer with other weights: first" in refused.stderr
    assert "--allow-stale" in refused.stderr
    outcome = tidlq(*arguments, "-o", tmp_path / "out", "--allow-stale")
    assert outcome.exit_code == 0, outcome.stderr
    assert "1 layer with other weights: first" in outcome.stderr


def test_a_strict_proto_is_written_when_asked_for(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path
) -> None:
    proto = tmp_path / "strict.prototxt"
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", tmp_path / "out", "--tidl-strict",
        "--option", f"quant_params_proto_path={proto}",
        "--option", "cross_layer_equalization=off",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert "leaves out: the tensors' names" in outcome.stderr
    assert "tidlq" not in proto.read_text()
    again = tidlq(
        "compile", classifier, "-o", tmp_path / "again",
        "--option", f"quant_params_proto_path={proto}",
    )  # fmt: skip
    assert again.exit_code == 0, again.stderr
    assert networks_of(tmp_path / "out") == networks_of(tmp_path / "again")


@pytest.mark.parametrize("flag", ["--allow-stale", "--tidl-strict"])
def test_options_about_a_proto_need_one(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path, flag: str
) -> None:
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", tmp_path / "out", flag)
    assert outcome.exit_code == 2
    assert "quant_params_proto_path" in outcome.stderr


def test_validate_tells_what_changed_since_a_stale_proto(
    tidlq: Command, artifacts: Path, tmp_path: Path
) -> None:
    other = networks.save_model(networks.classifier(channels=3), tmp_path / "other.onnx")
    proto = artifacts / "quant_params.prototxt"
    (problem,) = tidlq("proto", "validate", proto, "--model", other, "--json").document["problems"]
    assert "with other weights: first; 1 layer with outputs of another size: x" in problem
