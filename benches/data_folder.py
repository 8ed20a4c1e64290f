"""The folder of real networks and data, which is not part of the project.

TIDLQ_SHARED_DATA names it (by default `../shared/data` beside the checkout); every task in it has
an `eval.py` that scores a model.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# Functions of the eval.py files that read and decode; an evaluation per column would repeat them.
READERS = ("dataset", "load", "lines", "pages", "ground_truth", "charset")


def data_folder() -> Path:
    """The folder of real networks and data."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("TIDLQ_SHARED_DATA", default))


def cache_folder() -> Path:
    """Where the benches keep what they make, unless told otherwise."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(base) / "tidlq-benches"


class _Remembering:
    """A module in whose stead one function is called once per file."""

    def __init__(self, module: ModuleType, function: str) -> None:
        self._module = module
        setattr(self, function, functools.cache(getattr(module, function)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def load_module(path: Path) -> ModuleType:
    """Runs a Python file as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def evaluation(script: Path) -> ModuleType:
    """An eval.py whose pictures stay in memory once decoded."""
    module = load_module(script)
    for name in READERS:
        if hasattr(module, name):
            setattr(module, name, functools.cache(getattr(module, name)))
    for name, function in (("cv2", "imread"), ("Image", "open")):
        if hasattr(module, name):
            setattr(module, name, _Remembering(getattr(module, name), function))
    return module


@functools.cache
def runner() -> Any:
    """The class through which every eval.py runs a model."""
    folder = str(data_folder() / "common")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("runner").Model
