"""What users import: the names, their documentation, and that importing is quick and quiet."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from importlib import metadata

import pytest

import tidlq
from tidlq import _core

PUBLIC = [
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
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(tidlq.__path__, "tidlq.")
    if not module.name.endswith("_pb2") and not module.name.endswith("__main__")
)


def test_the_front_door_exports_exactly_these_names() -> None:
    assert sorted(tidlq.__all__) == PUBLIC
    assert sorted(dir(tidlq)) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(tidlq, name)
    if not isinstance(value, str):
        assert inspect.getdoc(value), f"tidlq.{name} has no docstring"


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if not name.startswith("__") and not name.endswith("Error")]
)
def test_public_callables_are_typed(name: str) -> None:
    value = getattr(tidlq, name)
    functions = [value] if inspect.isfunction(value) else vars(value).values()
    for function in filter(inspect.isfunction, functions):
        signature = inspect.signature(function)
        untyped = [
            parameter.name
            for parameter in list(signature.parameters.values())
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        if not function.__name__.startswith("__"):
            assert signature.return_annotation is not signature.empty, function.__qualname__
            assert untyped == [], function.__qualname__


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(importlib.import_module(name)), f"{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = tidlq.quantise  # type: ignore[attr-defined]


def test_versions_agree() -> None:
    assert tidlq.__version__ == _core.__version__ == metadata.version("tidlq")


def test_importing_the_package_prints_nothing_and_loads_no_heavy_library() -> None:
    code = "import sys, tidlq; print(sorted({'onnx', 'onnxruntime', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
