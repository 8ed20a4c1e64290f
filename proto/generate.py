"""Writes the Python modules (and stubs) of the protobuf schemas in this folder.

    python proto/generate.py [OUTPUT]

OUTPUT is the package source root, `python/` beside this folder by default. The modules are
committed; a test regenerates them into a temporary folder and compares.

The compiler must be protoc of the version below: its modules run with every protobuf runtime from
6.31.1 on, newer major versions included, which sets the package's lower bound. The stubs come from
mypy-protobuf, because protoc's own fall short of mypy's strict mode. The project's `test` group
installs both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PROTOC_VERSION = "31.1"
SOURCE = Path(__file__).resolve().parent
# Schema file -> package folder that holds its module. The folder is part of the file's name for
# protobuf, so generated imports are absolute and no other library's schema can collide.
PACKAGES = {
    "network.proto": "tidlq/lowering",
    "quant_params.proto": "tidlq/quantproto",
    "quant_params_tidlq.proto": "tidlq/quantproto",
}


def find_protoc() -> str:
    """Returns the path of a protoc of the right version, or exits with what to install."""
    for folder in (sysconfig.get_path("scripts"), None):
        path = shutil.which("protoc", path=folder)
        if path is None:
            continue
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        if answer.stdout.split()[-1] == PROTOC_VERSION:
            return path
    sys.exit(f"protoc {PROTOC_VERSION} not found: pip install --group test")


def find_stub_plugin() -> str:
    """Returns the path of mypy-protobuf's plugin, or exits with what to install."""
    for folder in (sysconfig.get_path("scripts"), None):
        path = shutil.which("protoc-gen-mypy", path=folder)
        if path is not None:
            return path
    sys.exit("protoc-gen-mypy not found: pip install --group test")


def generate(output: Path) -> list[Path]:
    """Compiles every schema; returns the files written, modules and stubs."""
    command = [
        find_protoc(),
        f"--plugin=protoc-gen-mypy={find_stub_plugin()}",
        *(f"--proto_path={folder}={SOURCE}" for folder in sorted(set(PACKAGES.values()))),
        f"--python_out={output}",
        f"--mypy_out=quiet:{output}",
    ]
    written = []
    for schema, package in PACKAGES.items():
        subprocess.run([*command, f"{package}/{schema}"], check=True)
        stem = output / package / schema.replace(".proto", "_pb2")
        written += [stem.with_suffix(".py"), stem.with_suffix(".pyi")]
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE.parent / "python"
    for written_path in generate(target):
        print(written_path)
