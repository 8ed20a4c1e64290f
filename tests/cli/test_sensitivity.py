"""`tidlq sensitivity`, and the automatic choice through `tidlq compile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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


def test_layers_are_ranked_by_their_noise(tidlq: Command, model: Path, frames: Path) -> None:
    outcome = tidlq("sensitivity", model, "--calib", frames, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    document = outcome.document
    rows = document["sensitivity"]
    assert [row["noise"] for row in rows] == sorted((row["noise"] for row in rows), reverse=True)
    assert {row["group"] for row in rows} >= {"first", "x"}
    assert document["latency_8_ms"] <= document["latency_ms"] <= document["latency_16_ms"]
    assert document["latency_ms"] <= document["budget_ms"]
    assert [point["is_chosen"] for point in document["curve"]].count(True) == 1


def test_the_curve_is_shown_and_drawn(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curve.png"
    outcome = tidlq(
        "sensitivity", model, "--calib", frames, "--factor", "1.01", "--curve", "--plot", picture
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "x T_8" in outcome.stdout
    assert "T_MP" in outcome.stdout


def test_a_picture_of_another_kind_is_refused_before_any_work(
    tidlq: Command, model: Path, tmp_path: Path
) -> None:
    outcome = tidlq("sensitivity", model, "--calib", "nowhere", "--plot", tmp_path / "curve.txt")
    assert outcome.exit_code == 2
    assert "a file ending in .png" in outcome.stderr


def test_a_float_network_has_nothing_to_choose(tidlq: Command, model: Path, frames: Path) -> None:
    outcome = tidlq("sensitivity", model, "--calib", frames, "--option", "tensor_bits=32")
    assert outcome.exit_code == 1
    assert "has no precisions to choose" in outcome.stderr


def test_compile_prints_the_latencies_and_inspect_shows_the_bits(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    folder, picture = tmp_path / "artifacts", tmp_path / "curve.svg"
    outcome = tidlq(
        "compile", model, "--calib", frames, "-o", folder, "--plot", picture,
        "--option", "mixed_precision_factor=1.05",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    assert "<svg" in picture.read_text()
    for word in ("T_8", "T_16", "T_MP", "model of AM68A", "SQNR dB"):
        assert word in outcome.stdout
    document = tidlq("inspect", folder, "--json").document
    layers = [layer for stage in document["stages"] for layer in stage["layers"]]
    assert any("16" in str(layer) for layer in layers)
    outcome = tidlq("evaluate", folder, "--data", frames, "--model", model, "--json")
    assert outcome.exit_code == 0, outcome.stderr


def test_every_group_is_measured_by_all_measures_in_both_modes(
    tidlq: Command, model: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def largest(wanted, found):\n"
        "    return max(float(np.abs(wanted[k] - found[k]).max()) for k in wanted)\n"
    )
    monkeypatch.chdir(tmp_path)
    start = ("sensitivity", model, "--calib", frames, "--option", "quantization_scale_type=4")
    wider = tidlq(*start, "--errors", "from-8-bit", "--metric", "mine:largest", "--json")
    assert wider.exit_code == 0, wider.stderr
    alone = tidlq(*start, "--errors", "alone", "--json")
    assert alone.exit_code == 0, alone.stderr
    for document, states in (
        (wider.document, {"8/16", "16/16"}),
        (alone.document, {"8/8", "8/16"}),
    ):
        assert {row["state"] for row in document["groups"]} <= states
        assert {row["group"] for row in document["groups"]} >= {"first", "x"}
        for row in (document["base"], *document["groups"]):
            (output,) = row["outputs"].values()
            assert output["mse"] > 0
            assert output["sqnr_db"] > 10
            assert 0.9 < output["cosine"] <= 1.0001
            assert output["divergence"] >= 0
        assert all(row["local"] for row in document["groups"])
    gains = [abs(row["gain"]) for row in wider.document["groups"]]
    assert gains == sorted(gains, reverse=True)
    assert wider.document["base"]["metric"] > 0
    # With 16 bits elsewhere, the rest of the network adds next to nothing.
    (eight,) = wider.document["base"]["outputs"].values()
    (sixteen,) = alone.document["base"]["outputs"].values()
    assert sixteen["mse"] < eight["mse"]
    shown = tidlq(*start, "--errors", "alone").stdout
    assert "SQNR dB" in shown
    assert tidlq(*start, "--errors", "both").exit_code == 2
