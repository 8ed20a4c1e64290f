"""Every error of the tree is raised somewhere and asserted somewhere."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from tidlq import errors

ROOT = Path(__file__).resolve().parent.parent
ERRORS = sorted(
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.TidlqError)
)
LEAVES = [name for name in ERRORS if name != "TidlqError"]
EXIT_CODES = {
    "ArtifactError": 1,
    "DataError": 1,
    "GateError": 3,
    "InternalError": 70,
    "ModelError": 1,
    "OptionError": 2,
    "OutputError": 1,
    "QuantProtoError": 1,
    "TidlqError": 1,
}


def raised_names() -> set[str]:
    """Classes that a `raise` statement of the package, or the native module's error map, names."""
    found = set()
    for path in (ROOT / "python" / "tidlq").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                found |= {part.id for part in ast.walk(node.exc) if isinstance(part, ast.Name)}
                found |= {
                    part.attr for part in ast.walk(node.exc) if isinstance(part, ast.Attribute)
                }
    for path in (ROOT / "rust" / "tidlq-py").rglob("*.rs"):
        found |= set(re.findall(r"\b[A-Z]\w+Error\b", path.read_text(encoding="utf-8")))
    return found


def asserted_names() -> set[str]:
    """Classes that a test expects, by `pytest.raises` or by name in an assertion on output."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            found |= set(re.findall(r"\b[A-Z]\w+Error\b", path.read_text(encoding="utf-8")))
    return found


def test_every_error_is_raised() -> None:
    assert sorted(set(LEAVES) - raised_names()) == []


def test_every_error_has_a_test() -> None:
    assert sorted(set(LEAVES) - asserted_names()) == []


def test_the_base_class_is_never_raised_itself() -> None:
    assert "TidlqError" not in raised_names()


def test_exit_codes_are_the_documented_ones() -> None:
    assert {name: getattr(errors, name).exit_code for name in ERRORS} == EXIT_CODES


def test_nothing_but_the_tree_is_raised_for_a_fault_of_the_input() -> None:
    """A bare Exception or RuntimeError says nothing about whose fault it is."""
    assert raised_names() & {"Exception", "RuntimeError", "SystemExit"} == set()


@pytest.mark.parametrize(
    ("name", "allowed", "hint"),
    [
        ("tensor_bit", ["tensor_bits", "accuracy_level"], " Did you mean 'tensor_bits'?"),
        ("conv1", ["conv2", "conv3"], " Did you mean 'conv2' or 'conv3'?"),
        ("zzz", ["tensor_bits"], ""),
        ("a", [], ""),
    ],
)
def test_nearest_names_suggests_close_matches_only(
    name: str, allowed: list[str], hint: str
) -> None:
    suggestion = errors.nearest_names(name, allowed)
    assert sorted(suggestion.split("'")) == sorted(hint.split("'"))
