"""`tidlq compile` with a target of accuracy or of SQNR instead of a latency."""

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
def model(tmp_path: Path) -> Path:
    return networks.save_model(networks.classifier(), tmp_path / "classifier.onnx")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "frames.npy"
    np.save(path, networks.frames(12))
    return path


def labelled(model: Path, path: Path, *, are_right: bool = True) -> Path:
    """Frames with the float network's own answers as labels, or with the worst ones."""
    x = networks.frames(40, seed=5)
    session = ort.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    scores = np.stack([session.run(None, {"x": frame[np.newaxis]})[0].ravel() for frame in x])
    y = scores.argmax(1) if are_right else scores.argmin(1)
    np.savez(path, x=x, y=y)
    return path


def test_the_network_that_is_written_keeps_the_target(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path
) -> None:
    data, folder = labelled(model, tmp_path / "data.npz"), tmp_path / "artifacts"
    outcome = tidlq(
        "compile", model, "--calib", frames, "-o", folder, "--json",
        "--target-drop", 2.5, "--evaluation", data,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    found = outcome.document["target_drop"]
    assert found["drop_points"] <= 2.5
    assert found["factor"] >= 1
    outcome = tidlq("evaluate", folder, "--data", data, "--model", model, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    agreement = outcome.document["agreement"]["value"]
    assert 100 * (1 - agreement) == pytest.approx(found["drop_points"])


def test_a_target_that_8_bits_keep_takes_8_bits(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path
) -> None:
    data, folder = labelled(model, tmp_path / "data.npz", are_right=False), tmp_path / "artifacts"
    outcome = tidlq(
        "compile", model, "--calib", frames, "-o", folder,
        "--target-drop", 100, "--evaluation", data,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert "at 1.000 x T_8" in outcome.stdout


def test_targets_that_make_no_sense_are_refused(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path
) -> None:
    start = ("compile", model, "--calib", frames, "-o", tmp_path / "out")
    outcome = tidlq(*start, "--target-drop", 1)
    assert outcome.exit_code == 2
    assert "without --evaluation" in outcome.stderr
    outcome = tidlq(*start, "--target-drop", 1, "--evaluation", frames)
    assert outcome.exit_code == 1
    assert "needs labels" in outcome.stderr
    data = labelled(model, tmp_path / "data.npz")
    outcome = tidlq(*start, "--target-drop", -1, "--evaluation", data)
    assert outcome.exit_code == 2
    assert "allowed: 0 or more" in outcome.stderr
    outcome = tidlq(*start, "--target-sqnr", 190)
    assert outcome.exit_code == 3
    assert "the best one has" in outcome.stderr


def test_a_target_sqnr_is_reached(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path
) -> None:
    outcome = tidlq(
        "compile", model, "--calib", frames, "-o", tmp_path / "out", "--json", "--target-sqnr", 45
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["precision"]["mixed"]["sqnr_db"] >= 45
