"""An interrupted choice of 16-bit layers: the best so far is on disk, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from small_networks import SmallNetwork
from tidlq.artifacts import BEST_LAYERS
from tidlq.calibration import BiasSweeps, PlanTrials, checkpoints
from tidlq.decision import mixed_precision
from tidlq.decision.trials import PrecisionTrials
from tidlq.importers.zoo_config import read_zoo_config

OPTIONS = {"mixed_precision_factor": 1.002, "quantization_scale_type": 4}


def network() -> onnx.ModelProto:
    """Enough layers that not all choices are measured."""
    net = SmallNetwork(5)
    x = net.input(1, 3, 10, 10)
    for index in range(5):
        channels = 3 if index == 0 else 4
        x = net.node("Relu", net.conv(x, (4, channels, 3, 3), name=f"c{index}", pads=[1] * 4))
    flat = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model(net.node("Gemm", flat, net.random(4, 5), name="dense"))


def frames(count: int = 16) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"input0": rng.normal(size=(1, 3, 10, 10)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (PrecisionTrials, "errors_near", 3),
        (PlanTrials, "typical_error", 9),
        (PlanTrials, "typical_error", 30),
        (BiasSweeps, "best_outputs", 40),
    ],
)
def test_wherever_it_stops_it_goes_on_to_the_same_bytes(
    owner: type, name: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "RANKED_AT_A_TIME", 4)
    whole = tidlq.compile(network(), frames(), OPTIONS)
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", 1.0)
    calls: list[int] = []
    original = getattr(owner, name)

    def stopping(self: object, *arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(self, *arguments, **named)

    monkeypatch.setattr(owner, name, stopping)
    with pytest.raises(KeyboardInterrupt):
        tidlq.compile(network(), frames(), OPTIONS, progress_folder=tmp_path)
    before = len(calls)
    again = tidlq.compile(network(), frames(), OPTIONS, progress_folder=tmp_path)
    assert again.artifacts.stages == whole.artifacts.stages
    assert again.artifacts.report["precision"] != {}
    assert again.artifacts.quant_params == whole.artifacts.quant_params
    repeated = len(calls) - before
    calls.clear()
    calls += [1] * call
    tidlq.compile(network(), frames(), OPTIONS)
    assert repeated < len(calls) - call
    again.save(tmp_path)
    assert not (tmp_path / BEST_LAYERS).exists()


def test_the_best_so_far_is_a_file_of_options_that_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = PlanTrials.typical_error
    seen: list[str] = []

    def stopping(self: PlanTrials, plan: object) -> float:
        best = tmp_path / BEST_LAYERS
        seen.append(best.read_text() if best.exists() else "")
        if len(seen) == 25:
            raise KeyboardInterrupt
        return error(self, plan)

    monkeypatch.setattr(PlanTrials, "typical_error", stopping)
    with pytest.raises(KeyboardInterrupt):
        tidlq.compile(network(), frames(), OPTIONS, progress_folder=tmp_path)
    monkeypatch.undo()
    assert len(set(seen)) >= 3
    assert "typical SQNR" in seen[-1]
    options = read_zoo_config(tmp_path / BEST_LAYERS).options
    compiled = tidlq.compile(network(), frames(), options)
    assert compiled.plan is not None
    assert 16 in {quant.type.bits for quant in compiled.plan.features.values()} or any(
        quant.weight is not None and quant.weight.type.bits == 16
        for quant in compiled.plan.layers.values()
    )


def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    np.savez(tmp_path / "frames.npz", input0=np.concatenate([f["input0"] for f in frames()]))

    def command(folder: str) -> list[str]:
        settings = [f"{name}={value}" for name, value in OPTIONS.items()]
        options = [part for text in settings for part in ("--option", text)]
        data = ["--calib", str(tmp_path / "frames.npz"), "-o", str(tmp_path / folder)]
        model = str(tmp_path / "net.onnx")
        return [sys.executable, "-m", "tidlq", "compile", model, *data, *options, "--quiet"]

    subprocess.run(command("whole"), check=True, capture_output=True)
    process = subprocess.Popen(command("killed"), stdout=-3, stderr=-3)
    while process.poll() is None and not (tmp_path / "killed" / BEST_LAYERS).exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command("killed"), check=True, capture_output=True)
    whole, killed = (
        {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}
        for folder in ("whole", "killed")
    )
    assert whole.keys() == killed.keys()
    for name in whole.keys() - {"report.json"}:
        assert whole[name] == killed[name], name
