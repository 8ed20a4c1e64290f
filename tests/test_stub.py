"""The native module is what its stub says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# PyO3 fills in __all__ at run time; a stub of a private module has no use for it.
ALLOWED = "tidlq._core.__all__\n"


def test_native_module_matches_its_stub(repository: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(ALLOWED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--allowlist", str(allowed), "tidlq._core"],
        cwd=tmp_path,
        env=os.environ
        | {"MYPYPATH": str(repository / "python"), "MYPY_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
