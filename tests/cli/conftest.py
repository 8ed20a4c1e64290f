"""Fixtures for tests of the command: a way to call it, and small files to call it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import networks
from tidlq.cli import app


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code and the two streams."""

    exit_code: int
    stdout: str
    stderr: str
    content: bytes = b""

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found


Command = Callable[..., Outcome]


@pytest.fixture(scope="session")
def tidlq() -> Command:
    """Calls the command in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        text = result.stdout_bytes.decode(errors="replace")
        return Outcome(result.exit_code, text, result.stderr, result.stdout_bytes)

    return call


@pytest.fixture(scope="session")
def tidlq_process() -> Command:
    """Calls the command in a process of its own; keywords go to subprocess.run."""

    def call(*arguments: object, **keywords: Any) -> Outcome:
        keywords = {"stdout": subprocess.PIPE, **keywords}
        done = subprocess.run(
            [sys.executable, "-m", "tidlq", *map(str, arguments)],
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=300,
            check=False,
            **keywords,
        )
        stdout = done.stdout.decode() if done.stdout is not None else ""
        return Outcome(done.returncode, stdout, done.stderr.decode())

    return call


def environment() -> dict[str, str]:
    """This process's environment; the package is found where this process finds it."""
    import tidlq

    source = str(Path(tidlq.__file__).parent.parent)
    return {
        **{
            key: value for key, value in os.environ.items() if key not in ("COLUMNS", "TIDLQ_DEBUG")
        },
        "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture(scope="session")
def demo_artifacts(tidlq: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network that ships with the package, compiled by `tidlq demo`."""
    folder = tmp_path_factory.mktemp("demo") / "artifacts"
    outcome = tidlq("demo", "-o", folder)
    assert outcome.exit_code == 0, outcome.stderr
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A small network with class scores."""
    return networks.save_model(networks.classifier(), tmp_path / "classifier.onnx")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Frames for the small networks."""
    path = tmp_path / "frames.npy"
    np.save(path, networks.frames())
    return path


@pytest.fixture
def artifacts(tidlq: Command, classifier: Path, frames: Path, tmp_path: Path) -> Path:
    """The small network, compiled."""
    folder = tmp_path / "artifacts"
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", folder)
    assert outcome.exit_code == 0, outcome.stderr
    return folder
