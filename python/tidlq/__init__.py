"""tidlq: an open fixed-point quantizer for edge networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tidlq.errors import (
    ArtifactError,
    DataError,
    GateError,
    InternalError,
    ModelError,
    OptionError,
    OutputError,
    QuantProtoError,
    TidlqError,
)
from tidlq.version import __version__

if TYPE_CHECKING:
    from tidlq.compilation import Compiled, compile  # noqa: A004 - users write tidlq.compile
    from tidlq.linting import Finding, LintReport, lint
    from tidlq.ranges import RangeTable
    from tidlq.session import InferenceSession, load
    from tidlq.target.options import Options

__all__ = [
    "ArtifactError",
    "Compiled",
    "DataError",
    "Finding",
    "GateError",
    "InferenceSession",
    "InternalError",
    "LintReport",
    "ModelError",
    "OptionError",
    "Options",
    "OutputError",
    "QuantProtoError",
    "RangeTable",
    "TidlqError",
    "__version__",
    "compile",
    "lint",
    "load",
]

_ROOMS = {
    "Compiled": "tidlq.compilation",
    "Finding": "tidlq.linting",
    "InferenceSession": "tidlq.session",
    "LintReport": "tidlq.linting",
    "Options": "tidlq.target.options",
    "RangeTable": "tidlq.ranges",
    "compile": "tidlq.compilation",
    "lint": "tidlq.linting",
    "load": "tidlq.session",
}


def __getattr__(name: str) -> object:
    """Imports a public name on first use, so that `import tidlq` stays quick."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'tidlq' has no attribute {name!r}")
    value = getattr(importlib.import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
