"""Ctrl-C, or a signal to end, ends a command with a message, and leaves nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.conftest import environment
from tidlq.artifacts import PROGRESS
from tidlq.cli.failures import UserInterruptError, describe_failure, naming_written

_SLOW_FRAMES = """
import pathlib, time
import numpy as np

def frames():
    yield {"x": np.zeros((1, 1, 8, 8), np.float32)}
    pathlib.Path("calibrating").touch()
    while True:
        time.sleep(0.01)
        yield {"x": np.ones((1, 1, 8, 8), np.float32)}
"""


def interrupt(
    folder: Path, *arguments: str, by: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    """Starts the command, interrupts it once it reads frames, and returns what it left."""
    (folder / "slow.py").write_text(_SLOW_FRAMES)
    # A runner in the background ignores these signals, and what it starts would as well.
    ours = signal.signal(by, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidlq", *arguments],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(by, ours)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "calibrating").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the command never read a frame"
            time.sleep(0.02)
        process.send_signal(by)
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("is_json", [False, True])
def test_ctrl_c_during_calibration_writes_nothing_but_its_progress(
    tmp_path: Path, classifier: Path, is_json: bool
) -> None:
    before = {*tmp_path.iterdir(), tmp_path / "slow.py", tmp_path / "calibrating"}
    code, stdout, stderr = interrupt(
        tmp_path, "compile", classifier.name, "--calib", "slow:frames", "-o", "artifacts",
        "--frames", "1000000", "--option", "quant_params_proto_path=saved.prototxt",
        *(["--json"] if is_json else []),
    )  # fmt: skip
    assert code == 130
    assert "Traceback" not in stderr
    if is_json:
        assert '"kind": "Interrupted"' in stdout
    else:
        assert stderr.startswith("error: interrupted, nothing was written")
        assert stdout == ""
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    left = {path for path in left if path.parent.name != "__pycache__" and path.name != PROGRESS}
    assert left == before


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_end_during_a_run_writes_nothing(
    tmp_path: Path, artifacts: Path, by: signal.Signals
) -> None:
    earlier = tmp_path / "outputs.npz"
    earlier.write_bytes(b"earlier outputs")
    code, _, stderr = interrupt(
        tmp_path, "run", artifacts.name, "--input", "slow:frames", "--output", "outputs.npz", by=by
    )
    assert code == 130
    assert stderr == "error: interrupted, nothing was written\n"
    assert earlier.read_bytes() == b"earlier outputs"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_interruption_names_what_was_written_before_it(tmp_path: Path) -> None:
    proto, folder = tmp_path / "saved.prototxt", tmp_path / "artifacts"

    def work(writes: bool) -> None:
        with naming_written(folder, proto, None):
            if writes:
                proto.write_text("ranges")
            raise KeyboardInterrupt

    with pytest.raises(UserInterruptError, match=r"already written: '.*saved.prototxt'$"):
        work(writes=True)
    with pytest.raises(UserInterruptError) as caught:
        work(writes=False)
    assert describe_failure(caught.value).message == "interrupted, nothing was written"
