"""`tidlq export --to tidl`: artifacts and their model to a bundle for TI's tools."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli import networks
from cli.conftest import Command, Outcome
from tidlq import demo_data

FILES = ["model.onnx", "model_config.yaml", "quant_params.prototxt", "runtime_options.py"]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "exported" / "bundle"


def export(tidlq: Command, artifacts: Path, model: Path, target: Path, *more: str) -> Outcome:
    return tidlq("export", artifacts, "--model", model, "--to", "tidl", "-o", target, *more)


def test_the_bundle_compiles_to_the_artifacts_networks(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path, tmp_path: Path
) -> None:
    outcome = export(tidlq, artifacts, classifier, target)
    assert outcome.exit_code == 0, outcome.stderr
    for name in FILES:
        assert name in outcome.stdout
    assert sorted(path.name for path in target.iterdir()) == FILES
    again = tmp_path / "again"
    outcome = tidlq("compile", "--config", target / "model_config.yaml", "-o", again, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["calibration_frames"] == 0
    assert (again / "stage_0.tidlq").read_bytes() == (artifacts / "stage_0.tidlq").read_bytes()
    assert tidlq("proto", "validate", target / "quant_params.prototxt").exit_code == 0


def test_the_document_describes_the_bundle(
    tidlq: Command, demo_artifacts: Path, target: Path
) -> None:
    outcome = export(tidlq, demo_artifacts, demo_data.model_path(), target, "--json")
    document = outcome.document
    assert set(document) == {
        "artifacts", "bounds_per_channel", "files", "form", "inputs", "notices", "output",
        "outputs", "rescaled_layers", "runtime_options", "scheme",
    }  # fmt: skip
    assert document["form"] == "tidl"
    assert document["files"] == {name: (target / name).stat().st_size for name in FILES}
    assert document["inputs"][0]["shape"] == [1, 1, 28, 28]
    assert document["runtime_options"]["advanced_options:quantization_scale_type"] == 4
    # The demo is of scale type 4, which TI's reader does not take.
    assert "asymmetric" in document["notices"][0]


def test_pictures_are_prepared_as_the_artifacts_say(
    tidlq: Command, tmp_path: Path, target: Path
) -> None:
    model = networks.save_model(networks.classifier(), tmp_path / "net.onnx")
    frames = tmp_path / "pictures"
    frames.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12), np.uint8)
    Image.fromarray(pixels).save(frames / "one.png")
    folder = tmp_path / "artifacts"
    preparation = ("--resize", "9", "--crop", "8x8", "--mean", "127.5", "--scale", "1/128",
                   "--interpolation", "lanczos", "--resize-with-pad", "corner")  # fmt: skip
    outcome = tidlq("compile", model, "--calib", frames, "-o", folder, *preparation)
    assert outcome.exit_code == 0, outcome.stderr
    outcome = export(tidlq, folder, model, target)
    assert outcome.exit_code == 0, outcome.stderr
    again = tmp_path / "again"
    tidlq("compile", "--config", target / "model_config.yaml", "-o", again)
    first, second = (
        json.loads((path / "manifest.json").read_text())["preprocessing"]
        for path in (folder, again)
    )
    assert first == second
    assert first["mean"] == [127.5]


def test_an_export_can_be_repeated_byte_for_byte(
    tidlq: Command, artifacts: Path, classifier: Path, target: Path
) -> None:
    assert export(tidlq, artifacts, classifier, target, "-q").stdout == ""
    first = {path.name: path.read_bytes() for path in target.iterdir()}
    assert export(tidlq, artifacts, classifier, target, "-q").exit_code == 0
    assert {path.name: path.read_bytes() for path in target.iterdir()} == first
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]


def test_a_folder_with_something_else_is_refused_before_any_work(
    tidlq: Command, artifacts: Path, classifier: Path
) -> None:
    before = sorted(path.name for path in artifacts.iterdir())
    outcome = export(tidlq, artifacts, classifier, artifacts)
    assert outcome.exit_code == 1
    assert "holds something else than a TI bundle ('manifest.json')" in outcome.stderr
    assert sorted(path.name for path in artifacts.iterdir()) == before


def test_a_file_in_the_way_is_named(
    tidlq: Command, artifacts: Path, classifier: Path, tmp_path: Path
) -> None:
    for path in (classifier, classifier / "inside"):
        outcome = export(tidlq, artifacts, classifier, path)
        assert outcome.exit_code == 1
        assert outcome.stderr.startswith(f"error: '{path}' ")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "artifacts", "classifier.onnx", "frames.npy",
    ]  # fmt: skip


def test_another_model_leaves_nothing(
    tidlq: Command, artifacts: Path, target: Path, tmp_path: Path
) -> None:
    other = networks.save_model(networks.classifier(3), tmp_path / "other.onnx")
    outcome = export(tidlq, artifacts, other, target)
    assert outcome.exit_code == 1
    assert "is not the model that the artifacts in" in outcome.stderr
    assert not target.parent.exists()


def test_a_name_beyond_ascii_is_kept(
    tidlq: Command, artifacts: Path, classifier: Path, tmp_path: Path
) -> None:
    target = tmp_path / "Größe 网络"
    assert export(tidlq, artifacts, classifier, target).exit_code == 0
    outcome = tidlq("compile", "--config", target / "model_config.yaml", "-o", tmp_path / "again")
    assert outcome.exit_code == 0, outcome.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(
    tidlq: Command, artifacts: Path, classifier: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    outcome = export(tidlq, artifacts, classifier, closed / "bundle")
    assert outcome.exit_code == 1
    assert "Permission denied" in outcome.stderr
