"""A file has one reason to change; one of more than 500 lines has to give its reason here."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benches", "docs", "proto", "python", "rust", "tests")
LIMIT = 500

# path -> why it is one piece
REASONS: dict[str, str] = {
    "python/tidlq/_core.pyi": "the stub of one native module is one file",
}


def measured() -> dict[str, int]:
    files = (
        path
        for folder in FOLDERS
        for pattern in ("*.py", "*.pyi", "*.rs")
        for path in (ROOT / folder).rglob(pattern)
    )
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in files
        if not path.stem.endswith("_pb2")
    }


def test_long_files_give_a_reason() -> None:
    long = {path: lines for path, lines in measured().items() if lines > LIMIT}
    assert {path: lines for path, lines in long.items() if path not in REASONS} == {}


def test_reasons_are_still_needed() -> None:
    lines = measured()
    assert [path for path in REASONS if lines.get(path, 0) <= LIMIT] == []
    assert all(reason.strip() for reason in REASONS.values())
