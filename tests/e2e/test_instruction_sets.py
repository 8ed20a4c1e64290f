"""Artifacts are the same bytes, and outputs the same integers, on every instruction set."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidlq._core import isa_available

COMPILATIONS: dict[str, dict[str, int]] = {
    "8 bits, powers of two": {"quantization_scale_type": 1},
    "8 bits per channel": {"quantization_scale_type": 4},
    "16 bits": {"quantization_scale_type": 0, "tensor_bits": 16},
    "16 bits with zero points": {"quantization_scale_type": 4, "tensor_bits": 16},
}

#: Compiles, saves and runs; prints the instruction set in use and a digest of the outputs.
PROGRAM = """
import hashlib, json, sys
import tidlq
from tidlq import demo_data
options, folder = sys.argv[1:]
frames = list(demo_data.calibration_frames())[:12]
tidlq.compile(demo_data.model_path(), frames, json.loads(options)).save(folder)
session, digest = tidlq.InferenceSession(folder), hashlib.sha256()
for frame in frames:
    for output in session.run(None, frame):
        digest.update(output.tobytes())
print(tidlq._core.isa_active(), digest.hexdigest())
"""


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.mark.parametrize("options", COMPILATIONS.values(), ids=COMPILATIONS)
def test_artifacts_and_outputs_do_not_depend_on_the_instruction_set(
    options: dict[str, int], tmp_path: Path
) -> None:
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for isa in isa_available():
        command = [sys.executable, "-c", PROGRAM, json.dumps(options), str(tmp_path / isa)]
        done = subprocess.run(
            command,
            env={**os.environ, "TIDLQ_ISA": isa},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        active, outputs = done.stdout.split()
        assert active == isa
        found[isa] = (outputs, digests(tmp_path / isa))
    assert len(found["scalar"][1]) > 1
    for isa, got in found.items():
        assert got == found["scalar"], isa
