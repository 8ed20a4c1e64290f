"""`tidlq export`: artifacts and their model to a QDQ ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import tidlq as package
from cli import networks
from cli.conftest import Command
from tidlq import demo_data


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "exported" / "net.onnx"


def test_the_file_computes_what_the_artifacts_do(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path
) -> None:
    outcome = tidlq("export", artifacts, "--model", classifier, "--to", "qdq", "-o", target)
    assert outcome.exit_code == 0, outcome.stderr
    for part in ("net.onnx", "Nx1x8x8", "quantize", "ai.onnx 18"):
        assert part in outcome.stdout
    frames = networks.frames()
    (ours,) = package.load(artifacts).run(None, {"x": frames})
    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": frames})
    assert theirs.shape == ours.shape
    assert np.abs(ours - theirs).max() < 0.02 * np.abs(ours).max()


def test_the_document_describes_the_file(
    tidlq: Command, demo_artifacts: Path, target: Path
) -> None:
    arguments = ("--model", demo_data.model_path(), "--output", target, "--json")
    document = tidlq("export", demo_artifacts, *arguments).document
    assert set(document) == {
        "artifacts", "bytes", "dequantize_nodes", "form", "inputs", "nodes", "opset", "output",
        "outputs", "quantize_nodes", "scheme",
    }  # fmt: skip
    assert document["form"] == "qdq"
    assert document["bytes"] == target.stat().st_size
    assert document["scheme"].startswith("type 4")
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    assert document["nodes"] == len(model.graph.node)
    assert document["quantize_nodes"] == 24


def test_an_export_can_be_repeated_byte_for_byte(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path
) -> None:
    arguments = ("export", artifacts, "--model", classifier, "-o", target, "-q")
    assert tidlq(*arguments).exit_code == 0
    first = target.read_bytes()
    outcome = tidlq(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert target.read_bytes() == first


def test_an_export_can_be_compiled_again(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path, tmp_path: Path
) -> None:
    tidlq("export", artifacts, "--model", classifier, "-o", target)
    again = tmp_path / "again"
    outcome = tidlq("compile", target, "-o", again, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    frames = {"x": networks.frames()}
    ours, theirs = (package.load(folder).run(None, frames)[0] for folder in (artifacts, again))
    assert np.array_equal(ours, theirs)


def fails(outcome: object, target: Path, code: int, *parts: str) -> None:
    assert outcome.exit_code == code, outcome.stdout
    assert outcome.stderr.startswith("error: ")
    assert len(outcome.stderr.splitlines()) == 1
    for part in parts:
        assert part in outcome.stderr
    assert not target.parent.exists()


def test_another_model_is_refused(
    tidlq: Command, artifacts: Path, target: Path, tmp_path: Path
) -> None:
    other = networks.save_model(networks.classifier(3), tmp_path / "other.onnx")
    outcome = tidlq("export", artifacts, "--model", other, "-o", target)
    fails(outcome, target, 1, "other.onnx", "is not the model that the artifacts in")


def test_missing_artifacts_are_named(tidlq: Command, classifier: Path, target: Path) -> None:
    outcome = tidlq("export", "nowhere", "--model", classifier, "-o", target)
    fails(outcome, target, 1, "'nowhere' is not a folder of artifacts")


def test_a_missing_model_is_named(tidlq: Command, artifacts: Path, target: Path) -> None:
    outcome = tidlq("export", artifacts, "--model", "gone.onnx", "-o", target)
    fails(outcome, target, 1, "gone.onnx does not exist")


def test_a_place_that_cannot_be_written_is_named(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "net.onnx"
    outcome = tidlq("export", artifacts, "--model", classifier, "-o", path)
    fails(outcome, target, 1, "net.onnx", "cannot be written")


def test_another_extension_is_refused_before_any_work(
    tidlq: Command, target: Path, classifier: Path
) -> None:
    outcome = tidlq("export", "nowhere", "--model", classifier, "-o", target.with_suffix(".pb"))
    fails(outcome, target, 1, "extension '.pb'; allowed: .onnx")


def test_another_form_is_a_fault_of_the_call(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path
) -> None:
    arguments = ("--model", classifier, "-o", target, "--to", "tflite")
    fails(tidlq("export", artifacts, *arguments), target, 2, "--to", "qdq")


def test_a_network_in_float_is_refused(
    tidlq: Command, classifier: Path, target: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "float"
    tidlq("compile", classifier, "--option", "tensor_bits=32", "-o", folder)
    outcome = tidlq("export", folder, "--model", classifier, "-o", target)
    fails(outcome, target, 1, "run in float only")
