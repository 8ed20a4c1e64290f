"""The virtual environments of the peers: made once, with pinned versions."""

from __future__ import annotations

import hashlib
import subprocess
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
TORCH_REQUIREMENTS = Path(__file__).with_name("torch_requirements.txt")
"""Of the peers that need torch, which takes several GB: installed only when they are asked for."""


def peers_python(folder: Path, requirements: Path = REQUIREMENTS) -> Path:
    """The interpreter of the environment in `folder`, which is made or renewed when needed."""
    python = folder / "bin" / "python"
    stamp = folder / "installed.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
        subprocess.run([str(part) for part in install], check=True)
        stamp.write_text(digest)
    return python
