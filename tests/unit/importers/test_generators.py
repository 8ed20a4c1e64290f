"""Frames from `package.module:function`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tidlq.errors import DataError
from tidlq.graph.model import TensorSignature
from tidlq.importers.frames import open_frames
from tidlq.importers.generators import is_function_spec

_INPUTS = (TensorSignature("a", np.dtype("float32"), (1, 2), (1, 2)),)

_MODULE = """
import numpy as np

NOT_A_FUNCTION = 3

def good():
    for i in range(3):
        yield {"a": np.float32([[i, i]])}

def as_list():
    return [np.float32([[1, 2]])]

def fails():
    yield {"a": np.float32([[1, 2]])}
    raise KeyError("lost")

def nothing():
    return []

def wrong_shape():
    yield {"a": np.float32([[1, 2, 3]])}

def no_iterable():
    return 5

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "calibration_module_for_tests"
    (tmp_path / f"{name}.py").write_text(_MODULE)
    (tmp_path / "broken_module_for_tests.py").write_text("raise RuntimeError('half\\nwritten')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_function_in_the_working_directory_yields_frames(module: str) -> None:
    before = list(sys.path)
    source = open_frames(f"{module}:good", _INPUTS)
    assert [frame["a"][0, 0] for frame in source] == [0, 1, 2]
    assert [frame["a"][0, 0] for frame in source] == [0, 1, 2]
    assert source.length is None
    assert source.frame_name(1) == f"frame 1 of data function '{module}:good'"
    assert sys.path == before


def test_limit_takes_the_first_frames(module: str) -> None:
    assert len(list(open_frames(f"{module}:good", _INPUTS, limit=2))) == 2


def test_function_may_return_a_list_of_arrays(module: str) -> None:
    assert len(list(open_frames(f"{module}:as_list", _INPUTS))) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("module:function", True),
        ("package.module:function", True),
        ("C:\\data", False),
        ("a/b:c", False),
        ("module:", False),
        ("module.py", False),
        (":function", False),
    ],
)
def test_function_spec_is_told_from_paths(text: str, expected: bool) -> None:
    assert is_function_spec(text) is expected


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "data function '{0}:fails' failed at frame 1: KeyError: 'lost'."),
        (
            "nothing",
            (
                "data function '{0}:nothing' yields no frame; an iterator that is used up needs to "
                "be a list or a function."
            ),
        ),
        (
            "wrong_shape",
            (
                "frame 0 of data function '{0}:wrong_shape': input 'a' is float32 [1, 3], the "
                "network takes float32 [1, 2]."
            ),
        ),
        (
            "no_iterable",
            (
                "data function '{0}:no_iterable' failed at frame 0: TypeError: 'int' object is not "
                "iterable."
            ),
        ),
        ("leaves", "data function '{0}:leaves' failed at frame 0: SystemExit: 3."),
    ],
)
def test_failing_function_is_one_sentence(module: str, function: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        list(open_frames(f"{module}:{function}", _INPUTS))
    assert str(caught.value) == message.format(module)


@pytest.mark.parametrize("function", ["missing", "NOT_A_FUNCTION"])
def test_missing_function_is_named(module: str, function: str) -> None:
    with pytest.raises(DataError, match=f"module '{module}' has no function '{function}'"):
        open_frames(f"{module}:{function}", _INPUTS)


def test_missing_module_is_named(module: str) -> None:
    with pytest.raises(DataError, match="module 'no_such_module' cannot be imported: ModuleNotFou"):
        open_frames("no_such_module:function", _INPUTS)


def test_module_that_fails_to_import_is_named(module: str) -> None:
    before = list(sys.path)
    with pytest.raises(DataError, match="'broken_module_for_tests' cannot be imported: RuntimeErr"):
        open_frames("broken_module_for_tests:function", _INPUTS)
    assert sys.path == before
