"""Imports go down the floors only (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# Rooms of the package by floor; rooms of one floor do not see each other.
FLOORS = {
    0: {"spec", "errors", "version", "atomic_writes", "float_runtime", "paging", "_core"},
    1: {"graph", "passes", "target", "demo_data"},
    2: {"importers", "quantproto", "lowering", "equalization", "engine", "artifacts"},
    3: {"calibration", "precision", "analysis", "report", "session"},
    4: {"decision", "inference", "export"},
    5: {"compilation", "inspection", "linting"},
    6: {"accuracy_target", "evaluate", "group_errors", "ranges", "recompilation", "tracing"},
    7: {"cli", "__main__"},
}
# Floor 0 is no stack of rooms: these two may serve the others of the floor.
GROUND = {"errors", "version"}
# The package's front door re-exports names; only the command line enters through it.
FRONT_DOOR = "__init__"

# Libraries that stay in one place.
CONFINED = {
    "typer": {"cli"},
    "rich": {"cli"},
    "onnxruntime": {"float_runtime"},
    "google": {"importers", "quantproto", "lowering"},
    "tflite": {"importers"},
    "flatbuffers": {"importers"},
    "pydantic": {"target"},
    "matplotlib": {"cli"},
}

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "tidlq"
TOP = max(FLOORS)
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if not path.stem.endswith("_pb2"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Absolute names of all that a file imports, wherever in the file it does so."""
    package = ("tidlq", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            if module == "tidlq":
                for alias in node.names:
                    yield node.lineno, f"tidlq.{alias.name}"
            else:
                yield node.lineno, module


def is_allowed(room: str, imported: str) -> bool:
    if imported == room or room == "__main__":
        return True
    if imported not in FLOOR_OF:  # a name of the front door
        return FLOOR_OF[room] == TOP
    if imported in GROUND and FLOOR_OF[room] == 0:
        return True
    return FLOOR_OF[imported] < FLOOR_OF[room]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    if room == FRONT_DOOR:
        return
    assert room in FLOOR_OF, f"{room} has no floor; add it to FLOORS and to docs/architecture.md"
    wrong = [
        f"line {line}: {module}"
        for line, module in imported_modules(path)
        if module.split(".")[0] == "tidlq"
        and not is_allowed(room, module.split(".")[1] if "." in module else FRONT_DOOR)
    ]
    assert wrong == [], f"{room} is on floor {FLOOR_OF[room]}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    wrong = [
        f"line {line}: {module}"
        for line, module in imported_modules(path)
        if room_of(path) not in CONFINED.get(module.split(".")[0], {room_of(path)})
    ]
    assert wrong == []


def test_every_floor_is_described() -> None:
    page = (PACKAGE.parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    present = {room_of(path) for path in SOURCES} - {FRONT_DOOR}
    assert [room for room in sorted(present) if f"`{room}" not in page] == []


def test_the_checker_sees_relative_and_nested_imports(tmp_path: Path) -> None:
    source = PACKAGE / "calibration" / "unwritten.py"
    tree = "from ..precision import plan\ndef f():\n    from tidlq import cli\n"
    nodes = ast.walk(ast.parse(tree))
    assert sum(isinstance(node, ast.ImportFrom) for node in nodes) == 2
    assert room_of(source) == "calibration"
    assert not is_allowed("calibration", "precision")
    assert not is_allowed("calibration", "cli")
    assert not is_allowed("calibration", "compile")
    assert is_allowed("calibration", "quantproto")
