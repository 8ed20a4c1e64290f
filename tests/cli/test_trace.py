"""`tidlq trace`: integers and float features of every layer, and errors that follow from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli import networks
from cli.conftest import Command


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "frame.npy"
    np.save(path, networks.frames()[:1])
    return path


def test_a_trace_has_integers_float_and_errors_that_agree(
    tidlq: Command, artifacts: Path, classifier: Path, frame: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "trace"
    arguments = ["trace", artifacts, "--model", classifier, "--input", frame, "-o", folder]
    outcome = tidlq(*arguments, "--json")
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    layers = outcome.document["layers"]
    assert json.loads((folder / "trace.json").read_text())["layers"] == layers
    with (
        np.load(folder / "frame_0_fixed.npz") as fixed,
        np.load(folder / "frame_0_float.npz") as floats,
    ):
        assert set(fixed) == set(floats) == {layer["tensor"] for layer in layers}
        for layer in layers:
            reference = floats[layer["tensor"]].astype(np.float64)
            q = fixed[layer["tensor"]].astype(np.float64)
            assert q.shape == reference.shape
            error = (q - layer["zero_point"]) * layer["scale"] - reference
            assert np.abs(error).max() == pytest.approx(layer["max_abs_error"], rel=1e-4, abs=1e-7)
            if layer["sqnr_db"] is not None:
                sqnr = 10 * np.log10(np.sum(reference**2) / np.sum(error**2))
                assert sqnr == pytest.approx(layer["sqnr_db"], abs=0.01)
                assert sqnr > 15


def test_a_folder_that_exists_is_left_alone(
    tidlq: Command, artifacts: Path, classifier: Path, frame: Path, tmp_path: Path
) -> None:
    outcome = tidlq("trace", artifacts, "--model", classifier, "--input", frame, "-o", tmp_path)
    assert outcome.exit_code == 1
    assert "exists; name a new folder" in outcome.stderr


def test_another_model_is_refused_and_nothing_is_written(
    tidlq: Command, demo_artifacts: Path, classifier: Path, frame: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "trace"
    outcome = tidlq("trace", demo_artifacts, "--model", classifier, "--input", frame, "-o", folder)
    assert outcome.exit_code == 1
    assert "is not the model" in outcome.stderr
    assert not folder.exists()
