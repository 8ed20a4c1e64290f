"""Writes how many of ONNX's own examples the engine runs into docs/operators.md.

    python docs/generate_node_counts.py

Runs every example of `onnx.backend.test` whose operator the engine knows, at 8 and at 16 bits, as
tests/oracle/test_node_examples.py does.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from oracle.node_checks import ExampleCount, count_examples  # noqa: E402

PAGE = ROOT / "docs" / "operators.md"
BEGIN = "<!-- written by docs/generate_node_counts.py: begin -->\n"
END = "<!-- end of counts -->\n"
OTHER = "ONNX Runtime does not load it"


def table(narrow: ExampleCount, wide: ExampleCount) -> str:
    """Counts, and the reasons of what does not run in integers."""
    summary = (
        f"Of {narrow.total} examples of these operators in `onnx.backend.test` (ONNX "
        f"{onnx.__version__}), {narrow.passed} run in integers at 8 bits and {wide.passed} at 16, "
        "each within the rounding of its own scales; none fails. The others:"
    )
    lines = [
        summary,
        "",
        "| why not in integers | 8 bits | 16 bits |",
        "|---|---:|---:|",
    ]
    few, many = (merged(count.left) for count in (narrow, wide))
    ordered = sorted(few | many, key=lambda reason: (-few[reason], reason))
    lines += [f"| {reason} | {few[reason]} | {many[reason]} |" for reason in ordered]
    return "\n".join(lines) + "\n"


def merged(left: Counter[str]) -> Counter[str]:
    """Errors under one reason."""
    found = Counter[str]()
    for reason, count in left.items():
        found[OTHER if reason.startswith("ModelError") else reason] += count
    return found


def main() -> None:
    """Runs the examples and writes the page."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    text = f"{head}{BEGIN}{table(count_examples(8), count_examples(16))}{END}{tail}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
