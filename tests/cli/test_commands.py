"""Every command on the network that ships with the package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Command
from tidlq import demo_data

_NETWORK = str(demo_data.model_path())
_CALIBRATION = str(demo_data.calibration_path())
_LABELLED = str(demo_data.labelled_test_path())
_NAMES = {"stage_0.tidlq", "manifest.json", "report.json", "quant_params.prototxt"}


def test_the_demo_shows_accuracy_speed_and_where_the_artifacts_are(
    tidlq: Command, tmp_path: Path
) -> None:
    outcome = tidlq("demo", "-o", tmp_path / "demo")
    assert outcome.exit_code == 0, outcome.stderr
    for part in ("top-1", "float", "fixed", "SQNR", "same class as float", "1000 frames"):
        assert part in outcome.stdout
    assert "byte-identical" in outcome.stdout
    assert str(tmp_path / "demo") in outcome.stdout.replace("\n", "").replace(" ", "")


def test_the_demo_can_be_repeated(tidlq: Command, tmp_path: Path) -> None:
    first = tidlq("demo", "-o", tmp_path / "demo", "--json").document
    files = {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()}
    second = tidlq("demo", "-o", tmp_path / "demo", "--json").document
    assert first["evaluation"] == second["evaluation"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()} == files
    assert set(files) == _NAMES


def test_the_demo_s_document_has_every_figure(tidlq: Command, tmp_path: Path) -> None:
    document = tidlq("demo", "-o", tmp_path / "demo", "--json").document
    evaluation = document["evaluation"]
    assert evaluation["frames"] == 1000
    assert evaluation["float"]["top1"]["count"] == 916
    fixed = evaluation["fixed"]["top1"]
    assert abs(fixed["value"] - 0.916) <= fixed["standard_error"]
    assert evaluation["agreement"]["value"] > 0.95
    assert evaluation["outputs"][0]["sqnr_db"] > 20
    assert document["recompilation"]["is_identical"] is True
    assert document["recompilation"]["seconds"] > 0
    assert document["compilation"]["calibration_frames"] == 200
    assert document["compilation"]["float_nodes"] == 0


def test_compile_says_what_calibration_did(tidlq: Command, tmp_path: Path) -> None:
    outcome = tidlq(
        "compile", _NETWORK, "--calib", _CALIBRATION, "--scale", "1/255", "--frames", "48",
        "--option", "quantization_scale_type=1", "-o", tmp_path / "artifacts",
        "--option", "tidlq:cross_layer_equalization=on",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert re.search(r"equalized +\d+ layers, \d+ with a bound per channel", outcome.stdout)
    assert re.search(r"biases +\d+ layers? corrected.*dB -> [\d.]+ dB", outcome.stdout)


def test_compile_writes_the_artifacts_and_describes_them(tidlq: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "artifacts"
    outcome = tidlq(
        "compile", _NETWORK, "--calib", _CALIBRATION, "--scale", "1/255", "--frames", "16",
        "--device", "AM68A", "--option", "quantization_scale_type=4", "-o", folder, "--json",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert {path.name for path in folder.iterdir()} == _NAMES
    document = outcome.document
    assert set(document) == {
        "artifacts", "bias_calibration", "calibration", "calibration_frames", "feature_bytes",
        "fixed_layers", "float_nodes", "island_bytes", "model", "network_bytes", "notices",
        "precision", "quant_params", "resumed_frames", "scheme", "seconds", "stages",
    }  # fmt: skip
    assert document["calibration_frames"] == 16
    assert document["network_bytes"] == (folder / "stage_0.tidlq").stat().st_size
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["options"]["device"] == "AM68A"
    assert manifest["preprocessing"]["scale"] == [1 / 255]


def test_compile_replaces_earlier_artifacts(tidlq: Command, artifacts: Path, frames: Path) -> None:
    before = (artifacts / "stage_0.tidlq").read_bytes()
    outcome = tidlq(
        "compile", artifacts.parent / "classifier.onnx", "--calib", frames, "-o", artifacts,
        "--option", "quantization_scale_type=4",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert (artifacts / "stage_0.tidlq").read_bytes() != before
    assert not [path for path in artifacts.parent.iterdir() if path.name.startswith(".")]


def test_compiling_twice_gives_the_same_bytes(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path
) -> None:
    for name, threads in (("one", 1), ("two", 2)):
        outcome = tidlq(
            "compile", classifier, "--calib", frames, "-o", tmp_path / name, "--threads", threads
        )
        assert outcome.exit_code == 0, outcome.stderr
    names = [path.name for path in (tmp_path / "one").iterdir()]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_quiet_commands_print_nothing(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", folder, "-q",
        "--option", "accuracy_level=1",
    )  # fmt: skip
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    outcome = tidlq("run", folder, "--input", frames, "--output", tmp_path / "y.npz", "-q")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")


def test_notices_are_warnings_on_standard_error(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path
) -> None:
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", tmp_path / "artifacts", "--json",
        "--option", "deny_list:layer_type=Conv,GlobalAveragePool,Gemm",
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert outcome.stderr.startswith("warning: No layer of the network runs in fixed point")
    assert outcome.document["notices"]


def test_run_writes_what_the_session_returns(
    tidlq: Command, demo_artifacts: Path, tmp_path: Path
) -> None:
    import tidlq as package

    path = tmp_path / "deep" / "y.npz"
    outcome = tidlq(
        "run", demo_artifacts, "--input", _CALIBRATION, "--output", path, "--json", "--threads", 1
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["frames"] == 200
    assert outcome.document["outputs"] == [
        {"name": "softmax", "dtype": "float32", "shape": [200, 10]}
    ]
    with np.load(_CALIBRATION) as pictures, np.load(path) as written:
        scaled = (pictures["x"].astype(np.float32) * np.float32(1 / 255))[:, np.newaxis]
        (expected,) = package.load(demo_artifacts).run(None, {"input": scaled})
        np.testing.assert_array_equal(written["softmax"], expected)


def test_run_replaces_an_earlier_file(
    tidlq: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    path = tmp_path / "y.npz"
    for _ in range(2):
        outcome = tidlq("run", artifacts, "--input", frames, "--output", path)
        assert outcome.exit_code == 0, outcome.stderr
    first = path.read_bytes()
    tidlq("run", artifacts, "--input", frames, "--output", path)
    assert path.read_bytes() == first


def test_evaluate_prints_float_and_fixed_side_by_side(tidlq: Command, demo_artifacts: Path) -> None:
    outcome = tidlq(
        "evaluate", demo_artifacts, "--data", _LABELLED, "--model", _NETWORK, "--limit", "100"
    )
    assert outcome.exit_code == 0, outcome.stderr
    for part in ("100 frames", "float", "fixed", "difference", "top-1", "top-5", "SQNR of softmax"):
        assert part in outcome.stdout
    assert "--model" not in outcome.stderr


def test_evaluate_without_a_model_shows_fixed_only_and_says_how_to_get_float(
    tidlq: Command, demo_artifacts: Path
) -> None:
    outcome = tidlq("evaluate", demo_artifacts, "--data", _LABELLED, "--limit", "100")
    assert outcome.exit_code == 0, outcome.stderr
    assert "float" not in outcome.stdout
    assert "SQNR" not in outcome.stdout
    assert "--model" in outcome.stderr


def test_evaluate_without_labels_compares_with_float(tidlq: Command, demo_artifacts: Path) -> None:
    outcome = tidlq(
        "evaluate", demo_artifacts, "--data", _CALIBRATION, "--no-labels", "--model", _NETWORK,
        "--json",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    document = outcome.document
    assert document["fixed"] is None
    assert document["float"] is None
    assert document["agreement"]["total"] == 200
    assert document["outputs"][0]["name"] == "softmax"


def test_evaluate_with_neither_labels_nor_model_is_refused(
    tidlq: Command, demo_artifacts: Path
) -> None:
    outcome = tidlq("evaluate", demo_artifacts, "--data", _LABELLED, "--no-labels")
    assert outcome.exit_code == 1
    assert "no labels" in outcome.stderr


@pytest.mark.parametrize(
    ("gate", "what"),
    [
        (["--min-top1", "99.9"], "top-1"),
        (["--min-agreement", "100.1"], "agreement"),
        (["--min-sqnr", "200"], "SQNR"),
    ],
)
def test_a_gate_that_is_not_met_exits_with_3(
    tidlq: Command, demo_artifacts: Path, gate: list[str], what: str
) -> None:
    arguments = [
        "evaluate", demo_artifacts, "--data", _LABELLED, "--limit", "50", "--model", _NETWORK,
    ]  # fmt: skip
    outcome = tidlq(*arguments, *gate)
    assert outcome.exit_code == 3
    assert what in outcome.stderr.splitlines()[-1]
    assert "top-1" in outcome.stdout
    document = tidlq(*arguments, *gate, "--json")
    assert document.exit_code == 3
    assert document.document["error"]["kind"] == "GateError"
    assert document.document["fixed"]["top1"]["total"] == 50


def test_gates_that_are_met_exit_with_0(tidlq: Command, demo_artifacts: Path) -> None:
    outcome = tidlq(
        "evaluate", demo_artifacts, "--data", _LABELLED, "--limit", "50", "--model", _NETWORK,
        "--min-top1", "50", "--min-agreement", "50", "--min-sqnr", "5",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr


def test_a_gate_on_what_is_not_measured_is_refused(tidlq: Command, demo_artifacts: Path) -> None:
    outcome = tidlq(
        "evaluate", demo_artifacts, "--data", _LABELLED, "--limit", "20", "--min-sqnr", "5"
    )
    assert outcome.exit_code == 2
    assert "--model" in outcome.stderr


def test_evaluate_against_another_model_is_refused(
    tidlq: Command, demo_artifacts: Path, classifier: Path
) -> None:
    outcome = tidlq(
        "evaluate", demo_artifacts, "--data", _LABELLED, "--limit", "20", "--model", classifier
    )
    assert outcome.exit_code == 1
    assert "classifier" in outcome.stderr


def test_labels_beyond_the_classes_are_refused(tidlq: Command, demo_artifacts: Path) -> None:
    outcome = tidlq("evaluate", demo_artifacts, "--data", _LABELLED, "--class-offset", "1")
    assert outcome.exit_code == 1
    assert "class offset 1" in outcome.stderr
    assert "0 to 9" in outcome.stderr


def test_inspect_shows_every_layer_of_artifacts(tidlq: Command, demo_artifacts: Path) -> None:
    document = tidlq("inspect", demo_artifacts, "--json").document
    layers = [layer for stage in document["stages"] for layer in stage["layers"]]
    assert len(layers) == document["fixed_layers"] + document["float_nodes"]
    assert document["feature_bytes"] > 0
    assert document["network_bytes"] > 0
    assert document["inputs"][0]["name"] == "input"
    first = layers[0]
    assert first["output"]["origin"] in ("stated", "measured")
    assert first["weight"]["scales"] > 1
    assert first["weight"]["type"] == "s8"
    headroom = [layer["headroom_bits"] for layer in layers if "weight" in layer]
    assert all(0 <= bits < 31 for bits in headroom)
    text = tidlq("inspect", demo_artifacts).stdout.replace("\n", "")
    assert "headroom" in text
    assert f"{headroom[0]:.1f}" in text
    assert "softmax" in text
    assert "fixed, 0 float" in text


def test_inspect_shows_only_layers_that_match(tidlq: Command, demo_artifacts: Path) -> None:
    document = tidlq("inspect", demo_artifacts, "--json", "--layer", "Softmax").document
    layers = [layer for stage in document["stages"] for layer in stage["layers"]]
    assert [layer["op_type"] for layer in layers] == ["Softmax"]
    document = tidlq("inspect", demo_artifacts, "--json", "--layer", "*add*").document
    layers = [layer for stage in document["stages"] for layer in stage["layers"]]
    assert {layer["op_type"] for layer in layers} == {"Add"}


def test_inspect_refuses_a_pattern_that_matches_nothing(
    tidlq: Command, demo_artifacts: Path
) -> None:
    outcome = tidlq("inspect", demo_artifacts, "--layer", "Sotfmax")
    assert outcome.exit_code == 2
    assert "'Softmax'" in outcome.stderr


def test_inspect_shows_where_a_model_would_run(tidlq: Command) -> None:
    arguments = ["inspect", _NETWORK, "--option", "deny_list:layer_type=Softmax"]
    document = tidlq(*arguments, "--json").document
    assert document["float_nodes"] == 1
    layers = [layer for stage in document["stages"] for layer in stage["layers"]]
    (denied,) = [layer for layer in layers if layer["runs_in"] == "float"]
    assert denied["op_type"] == "Softmax"
    assert "denied" in denied["reason"]
    text = tidlq(*arguments).stdout
    for part in ("stage 0  fixed", "stage 1  float  1 node", "operator Softmax is denied", "out: "):
        assert part in text
    text = tidlq(*arguments, "--layer", "Softmax").stdout
    assert "float because" in text
    assert "stage 1" not in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_tables_fit_the_terminal(
    tidlq: Command, demo_artifacts: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    commands = [
        ["inspect", demo_artifacts],
        ["inspect", _NETWORK],
        ["proto", "show", demo_artifacts / "quant_params.prototxt"],
    ]
    for command in commands:
        outcome = tidlq(*command)
        assert outcome.exit_code == 0, outcome.stderr
        assert max(map(len, outcome.stdout.splitlines())) <= max(width, 60)


def test_narrow_tables_name_the_columns_that_are_missing(
    tidlq: Command, demo_artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "weight scales" in tidlq("inspect", demo_artifacts).stderr
    monkeypatch.setenv("COLUMNS", "160")
    outcome = tidlq("inspect", demo_artifacts)
    assert outcome.stderr == ""
    assert "weight scales" in outcome.stdout


def test_the_module_is_the_command(tidlq_process: Command) -> None:
    outcome = tidlq_process("--version")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("tidlq ")
