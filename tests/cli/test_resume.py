"""A calibration that was cut off, at whatever moment, is continued and ends in the same bytes."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from cli import networks
from cli.conftest import Command, Outcome, environment
from tidlq.artifacts import MANIFEST, PARTIAL_PROGRESS, PROGRESS, REPORT, load_artifacts
from tidlq.calibration import checkpoints

SCRIPT = Path(__file__).parent / "killed_compile.py"
FRAMES = 12

_INTERRUPTED_FRAMES = """
import numpy as np

def frames():
    yield from np.load("frames.npy")[:, np.newaxis][:{after}]
    raise KeyboardInterrupt
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_until(moment: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(moment), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)


@dataclass(frozen=True)
class Uninterrupted:
    """A compilation, what it wrote, and how many moments it has."""

    arguments: tuple[object, ...]
    written: dict[str, bytes]
    moments: int


@pytest.fixture(scope="module")
def uninterrupted(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """The demo's network, with advanced calibration in all its parts."""
    folder = tmp_path_factory.mktemp("whole") / "artifacts"
    arguments = (
        "compile", demo_folder / "fmnist_mbv2.onnx",
        "--calib", "tidlq.demo_data:calibration_frames", "--frames", FRAMES,
        "--option", "quantization_scale_type=1",
    )  # fmt: skip
    done = run_until(0, *arguments, "-o", folder)
    assert done.returncode == 0, done.stderr
    found = re.search(r"moments: (\d+)", done.stderr)
    assert found, done.stderr
    return Uninterrupted(arguments, contents(folder), int(found[1]))


@pytest.mark.parametrize("tenth", range(1, 11))
def test_killed_at_any_moment_and_continued_the_artifacts_are_the_same(
    tidlq: Command, uninterrupted: Uninterrupted, tmp_path: Path, tenth: int
) -> None:
    folder = tmp_path / "artifacts"
    moment = max(1, uninterrupted.moments * tenth // 10 - tenth % 3)
    killed = run_until(moment, *uninterrupted.arguments, "-o", folder)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder / MANIFEST).exists()

    outcome = tidlq(*uninterrupted.arguments, "-o", folder, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr == ""
    assert contents(folder) == uninterrupted.written
    if tenth > 1:
        assert outcome.document["resumed_frames"] > 0
    if tenth > 5:
        assert outcome.document["resumed_frames"] == FRAMES


def test_killed_again_and_again_it_still_comes_to_the_same_end(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    step = uninterrupted.moments // 4
    for run in range(20):
        done = run_until(step + run, *uninterrupted.arguments, "-o", folder)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.returncode == 0
    assert run > 1
    assert contents(folder) == uninterrupted.written


@pytest.mark.parametrize("before_the_end", [0, 1])
def test_killed_around_the_writing_of_the_saved_proto_the_artifacts_are_the_same(
    tidlq: Command, uninterrupted: Uninterrupted, tmp_path: Path, before_the_end: int
) -> None:
    option = ("--option", f"quant_params_proto_path={tmp_path / 'saved.prototxt'}")
    arguments = (*uninterrupted.arguments, *option, "-o", tmp_path / "artifacts")
    # The proto is moved to its place, then the artifacts are written.
    killed = run_until(uninterrupted.moments + 1 - before_the_end, *arguments)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "saved.prototxt").exists() is (before_the_end == 0)
    outcome = tidlq(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    found, wanted = contents(tmp_path / "artifacts"), dict(uninterrupted.written)
    if before_the_end == 0:
        # From here on the proto decides, and the report has nothing to tell of a calibration.
        del found[REPORT], wanted[REPORT]
    assert found == wanted


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is written at every save."""
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", math.inf)


@dataclass(frozen=True)
class Journey:
    """Compilations of a small network in a folder of their own."""

    command: Command
    folder: Path
    model: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def interrupt(self, after: int, *options: str) -> Outcome:
        """Ctrl-C at a frame; the frames are those of frames.npy."""
        module = f"interrupted_{len(list(self.folder.glob('*.py')))}_{self.folder.name}"
        code = _INTERRUPTED_FRAMES.format(after=after)
        (self.folder / f"{module}.py").write_text(code)
        return self.compile(*options, data=f"{module}:frames")

    def compile(self, *options: str, data: str = "frames.npy", into: str = "artifacts") -> Outcome:
        given = [word for option in options for word in ("--option", option)]
        return self.command(
            "compile", self.model, "--calib", data, "-o", self.folder / into, *given, "--json"
        )

    def check_same(self, *options: str) -> None:
        """What stands in the folder is what a compilation without interruption writes."""
        assert self.compile(*options, into="whole").exit_code == 0
        assert contents(self.artifacts) == contents(self.folder / "whole")


@pytest.fixture
def journey(
    tidlq: Command,
    tmp_path: Path,
    classifier: Path,
    frames: Path,
    eager: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Journey]:
    """A small network, and frames in the working directory."""
    assert frames.name == "frames.npy"
    monkeypatch.chdir(tmp_path)
    yield Journey(tidlq, tmp_path, classifier)
    for name in [name for name in sys.modules if name.startswith("interrupted_")]:
        del sys.modules[name]


def test_an_interruption_says_that_the_same_command_continues(journey: Journey) -> None:
    outcome = journey.interrupt(4)
    assert outcome.exit_code == 130
    assert (
        "interrupted, nothing was written; the same command continues the calibration where it was"
        in outcome.stdout
    )
    assert [path.name for path in journey.artifacts.iterdir()] == [PROGRESS]
    refused = journey.command("inspect", journey.artifacts)
    assert refused.exit_code == 1
    assert "holds no artifacts yet" in refused.stderr

    continued = journey.compile()
    assert continued.exit_code == 0
    assert continued.stderr == ""
    assert continued.document["resumed_frames"] == 4
    assert continued.document["notices"] == []
    journey.check_same()


def test_earlier_artifacts_stay_until_the_new_ones_are_there(journey: Journey) -> None:
    assert journey.compile("accuracy_level=0").exit_code == 0
    earlier = load_artifacts(journey.artifacts)
    assert journey.interrupt(3).exit_code == 130
    assert (journey.artifacts / PROGRESS).exists()
    assert load_artifacts(journey.artifacts) == earlier
    assert journey.compile().document["resumed_frames"] == 3
    journey.check_same()


def test_a_compilation_that_starts_anew_has_resumed_nothing(journey: Journey) -> None:
    assert journey.compile().document["resumed_frames"] == 0
    assert PROGRESS not in contents(journey.artifacts)


def test_progress_with_other_options_is_dropped(journey: Journey) -> None:
    journey.interrupt(4)
    outcome = journey.compile("quantization_scale_type=4")
    assert outcome.document["resumed_frames"] == 0
    assert "other options" in outcome.document["notices"][0]
    assert "warning: " in outcome.stderr
    journey.check_same("quantization_scale_type=4")


def test_progress_with_other_data_is_dropped(journey: Journey) -> None:
    journey.interrupt(4)
    changed = networks.frames()
    changed[2, 0, 0, 0] += np.float32(0.25)
    np.save("frames.npy", changed)
    outcome = journey.compile()
    assert outcome.document["resumed_frames"] == 0
    assert "is of other calibration data" in outcome.document["notices"][0]
    journey.check_same()


def test_progress_with_another_model_is_dropped(journey: Journey) -> None:
    journey.interrupt(4)
    changed = onnx.load(journey.model)
    changed.graph.initializer[1].CopyFrom(networks.weight("b1", 4, seed=7))
    networks.save_model(changed, journey.model)
    outcome = journey.compile()
    assert outcome.document["resumed_frames"] == 0
    assert "another model" in outcome.document["notices"][0]
    journey.check_same()


def test_progress_with_renamed_layers_is_dropped(journey: Journey) -> None:
    journey.interrupt(4)
    changed = onnx.load(journey.model)
    changed.graph.node[0].name = "renamed"
    networks.save_model(changed, journey.model)
    assert journey.compile().document["resumed_frames"] == 0
    journey.check_same()


@pytest.mark.parametrize("size", [0, 10, 200, -1])
def test_progress_that_was_cut_short_is_dropped(journey: Journey, size: int) -> None:
    journey.interrupt(4)
    progress = journey.artifacts / PROGRESS
    progress.write_bytes(progress.read_bytes()[:size])
    outcome = journey.compile()
    assert outcome.document["resumed_frames"] == 0
    assert "damaged" in outcome.document["notices"][0]
    journey.check_same()


def test_a_write_that_was_cut_off_leaves_the_folder_ours(journey: Journey) -> None:
    journey.interrupt(4)
    (journey.artifacts / PARTIAL_PROGRESS).write_bytes(b"half a fi")
    assert journey.compile().document["resumed_frames"] == 4
    journey.check_same()


def test_a_strangers_file_beside_the_progress_is_not_deleted(journey: Journey) -> None:
    journey.interrupt(4)
    (journey.artifacts / "thesis.tex").write_text("years of work")
    outcome = journey.compile()
    assert outcome.exit_code == 1
    assert (journey.artifacts / "thesis.tex").exists()


def test_other_threads_may_continue(tidlq: Command, journey: Journey) -> None:
    journey.interrupt(4)
    outcome = tidlq(
        "compile", journey.model, "--calib", "frames.npy", "-o", journey.artifacts,
        "--threads", "3", "--json",
    )  # fmt: skip
    assert outcome.document["resumed_frames"] == 4
    journey.check_same()
