"""Writes the table of operators in docs/tflite.md from the importer itself.

    python docs/generate_tflite.py [--check]

With --check nothing is written; the exit code is 1 when the table is stale.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from tidlq.importers.tflite.operators.registry import CUSTOM_IMPORTERS, IMPORTERS, REFUSALS

PAGE = Path(__file__).resolve().parent / "tflite.md"
BEGIN = "<!-- written by docs/generate_tflite.py: begin -->\n"
END = "<!-- end -->\n"


def render(page: str) -> str:
    """The page with its table as the importer says."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}{table()}{END}{tail}"


def table() -> str:
    """Every operator that is imported, and those that are refused for a reason."""
    lines = ["| TFLite | ONNX | layout |", "|---|---|---|"]
    for code, importer in (*IMPORTERS.items(), *CUSTOM_IMPORTERS.items()):
        name = f"{code} (custom)" if code in CUSTOM_IMPORTERS else code
        lines.append(f"| {name} | {importer.onnx} | {importer.layout.value} |")
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for code, reason in REFUSALS.items():
        reasons[reason].append(code)
    lines += ["", "| refused | because it |", "|---|---|"]
    lines += [f"| {', '.join(sorted(codes))} | {reason} |" for reason, codes in reasons.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page, or compares it."""
    page = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(render(page) != page)
    PAGE.write_text(render(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
