"""Networks of which only parts run in fixed point, through the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

from cli import networks
from cli.conftest import Command, Outcome
from tidlq.cli import app


@pytest.fixture(scope="module")
def tidlq() -> Command:
    def call(*arguments: object) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "frames.npy"
    np.save(path, networks.frames(8))
    return path


def float_outputs(model: Path, frames: Path) -> np.ndarray:
    session = ort.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    results = [session.run(None, {"x": frame[np.newaxis]})[0] for frame in np.load(frames)]
    return np.stack(results)


@pytest.mark.parametrize("operator", ["LpNormalization"])
def test_an_operator_without_kernel_runs_as_a_float_island(
    tidlq: Command, frames: Path, tmp_path: Path, operator: str
) -> None:
    model = networks.save_model(networks.with_island(operator), tmp_path / "island.onnx")
    folder = tmp_path / "artifacts"
    outcome = tidlq(
        "compile", model, "--calib", frames, "-o", folder, "--json",
        "--option", "quantization_scale_type=4", "--option", "accuracy_level=2",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert [stage["kind"] for stage in outcome.document["stages"]] == ["fixed", "float", "fixed"]
    assert outcome.document["float_nodes"] == 1
    assert {path.name for path in folder.glob("stage_*")} == {
        "stage_0.tidlq", "stage_1.onnx", "stage_2.tidlq",
    }  # fmt: skip
    assert tidlq("run", folder, "--input", frames, "-o", tmp_path / "y.npz").exit_code == 0
    expected = float_outputs(model, frames)
    with np.load(tmp_path / "y.npz") as written:
        error = written["y"] - expected
    assert 10 * np.log10(np.sum(expected**2) / np.sum(error**2)) > 30
    text = tidlq("inspect", folder).stdout
    assert "no integer kernel" in text
    assert "strange" in text


def test_the_evaluation_of_a_dense_output_has_sqnr_only(
    tidlq: Command, frames: Path, tmp_path: Path
) -> None:
    model = networks.save_model(networks.with_island(), tmp_path / "island.onnx")
    folder = tmp_path / "artifacts"
    tidlq("compile", model, "--calib", frames, "-o", folder)
    outcome = tidlq("evaluate", folder, "--data", frames, "--model", model, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    document = outcome.document
    assert document["scores"] is None
    assert document["agreement"] is None
    assert document["outputs"][0]["sqnr_db"] > 15


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("deny_list:layer_name=first", {"first", "rectify"}),
        ("deny_list:layer_type=Conv", {"first", "rectify"}),
        ("deny_list=Gemm", {"dense"}),
        ("allow_list:layer_name=first,rectify", {"pool", "flatten", "dense"}),
    ],
)
def test_lists_steer_what_runs_in_float(
    tidlq: Command, frames: Path, tmp_path: Path, option: str, expected: set[str]
) -> None:
    model = networks.save_model(networks.classifier(), tmp_path / "classifier.onnx")
    folder = tmp_path / "artifacts"
    outcome = tidlq("compile", model, "--calib", frames, "-o", folder, "--option", option)
    assert outcome.exit_code == 0, outcome.stderr
    document = tidlq("inspect", folder, "--json").document
    layers = [layer for stage in document["stages"] for layer in stage["layers"]]
    floats = {layer["name"] for layer in layers if layer["runs_in"] == "float"}
    assert expected - {"rectify"} <= floats <= expected
    assert tidlq("run", folder, "--input", frames, "-o", tmp_path / "y.npz").exit_code == 0
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_allclose(
            written["scores"], float_outputs(model, frames).reshape(8, 3), atol=0.1
        )


def test_the_float_network_goes_the_same_road(tidlq: Command, frames: Path, tmp_path: Path) -> None:
    model = networks.save_model(networks.classifier(), tmp_path / "classifier.onnx")
    folder = tmp_path / "artifacts"
    outcome = tidlq("compile", model, "-o", folder, "--option", "tensor_bits=32", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["fixed_layers"] == 0
    assert outcome.document["quant_params"] is None
    tidlq("run", folder, "--input", frames, "-o", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_allclose(
            written["scores"], float_outputs(model, frames).reshape(8, 3), rtol=1e-5, atol=1e-6
        )
    outcome = tidlq("inspect", folder)
    assert outcome.exit_code == 0, outcome.stderr
    assert "tensor_bits is 32" in outcome.stdout
    outcome = tidlq("evaluate", folder, "--data", frames, "--model", model, "--json")
    assert outcome.document["agreement"]["value"] == 1.0
    assert outcome.document["outputs"][0]["is_identical"] is True
    assert outcome.document["outputs"][0]["sqnr_db"] is None


def test_a_network_without_integer_work_compiles_with_a_warning(
    tidlq: Command, frames: Path, tmp_path: Path
) -> None:
    from onnx import helper

    nodes = [helper.make_node("LpNormalization", ["x"], ["y"], "only")]
    proto = networks.model(nodes, [], [1, 1, 8, 8], {"y": [1, 1, 8, 8]})
    model = networks.save_model(proto, tmp_path / "erf.onnx")
    outcome = tidlq("compile", model, "--calib", frames, "-o", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.stderr
    assert "warning: No layer" in outcome.stderr
    assert (
        tidlq("run", tmp_path / "out", "--input", frames, "-o", tmp_path / "y.npz").exit_code == 0
    )
