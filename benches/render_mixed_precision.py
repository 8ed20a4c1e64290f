"""Renders docs/mixed-precision-results.md from the results of bench_mixed_precision.py.

python benches/render_mixed_precision.py [--cache FOLDER] [--markdown FILE]
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from page import write_page
from tasks import networks

PAGE = Path(__file__).with_name("mixed_precision_page.md")
COLUMNS = ("8 bits", "16 bits", "chosen", "local SQNR", "random", "first, last")
SCALE_TYPES = (1, 4)
LEAST_DB = 0.005
"""Differences up to this are none."""
PLAIN = ("local SQNR", "random", "first, last")


def cell(found: Mapping[str, Any]) -> str:
    """Drop, SQNR and latency."""
    drop = "" if found["drop"] is None else f"{found['drop']:.1f}±{found['drop_error']:.1f}, "
    return f"{drop}{found['sqnr_db']:.1f} dB, {found['factor']:.3f}"


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line per network, scale type and factor."""
    titles = ["network", "type", "n", "frames", "draws", "factor", *COLUMNS]
    lines = [titles, ["---"] * len(titles)]
    for found in results:
        for row in found["rows"]:
            factor = f"{row['factor']:.4g}"
            # At this factor everything fits, and so it does at larger ones.
            factor += " and more" if row["factor"] >= found["most"] else ""
            first = [found["network"], str(found["scale_type"]), str(found["samples"])]
            first += [str(found.get("frames", 50)), str(found["draws"]), factor]
            lines.append([*first, *(cell(row["columns"][name]) for name in COLUMNS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def comparisons(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: how often the choice is below a plain one, and by how much."""
    lines = [
        "| against | rows | above or equal | below | by two standard errors | largest dB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    every = [row for found in results for row in found["rows"]]
    asked = [row for row in every if "note" not in row]
    for (title, rows), name in itertools.product(
        {"factors 1.1, 1.2, 1.4": asked, "halfway": [x for x in every if "note" in x]}.items(),
        PLAIN,
    ):
        cells = [row["columns"][name] for row in rows]
        below = [x for x in cells if x["below_db"] > LEAST_DB]
        clear = [x for x in below if x["below_db"] > 2 * x["below_error"]]
        largest = max((x["below_db"] for x in below), default=0.0)
        counts = f"{len(cells)} | {len(cells) - len(below)} | {len(below)} | {len(clear)}"
        lines.append(f"| {name}, {title} | {counts} | {largest:.2f} |")
    easy = sum(
        row["factor"] >= found["most"]
        for found in results
        for row in found["rows"]
        if "note" not in row
    )
    fitting = f"Of the {len(asked)} rows at factors, 16 bits everywhere fit in {easy}."
    worst = max(row["columns"]["chosen"]["factor"] / row["factor"] for row in every)
    budget = f"T_MP is at most {worst:.4f} of the budget in every row."
    return "\n".join([*lines, "", f"{fitting} {budget}"])


def shortfalls(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line per comparison in which the choice is below, the largest distance first."""
    found = [
        (row["columns"][name]["below_db"], result, row, name)
        for result in results
        for row in result["rows"]
        for name in PLAIN
        if row["columns"][name]["below_db"] > LEAST_DB
    ]
    lines = [
        "| network | type | factor | against | dB | standard error |",
        "|---|---|---|---|---:|---:|",
    ]
    for below, result, row, name in sorted(found, key=lambda item: -item[0]):
        first = f"{result['network']} | {result['scale_type']} | {row['factor']:.4g} | {name}"
        lines.append(f"| {first} | {below:.2f} | {row['columns'][name]['below_error']:.2f} |")
    return "\n".join(lines) if found else "None."


def missing(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Which networks have no results, by scale type."""
    lines = []
    for scale_type in SCALE_TYPES:
        found = {x["network"] for x in results if x["scale_type"] == scale_type}
        absent = [name for name in sorted(names) if name not in found]
        lines.append(f"- type {scale_type}: {', '.join(absent) or 'none'}")
    return "\n".join(lines)


def render(cache: Path) -> str:
    """The page."""
    files = sorted((cache / "mixed_precision").glob("*.json"))
    if not files:
        raise SystemExit("bench_mixed_precision.py has measured nothing yet")
    results = [json.loads(file.read_text()) for file in files]
    return PAGE.read_text().format(
        table=table(results),
        comparisons=comparisons(results),
        shortfalls=shortfalls(results),
        missing=missing(results, [network.name for network in networks(cache / "data")]),
    )


if __name__ == "__main__":
    write_page(__doc__, render)
