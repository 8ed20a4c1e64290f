"""Renders docs/saved-ranges.md from the results of bench_saved_ranges.py.

python benches/render_saved_ranges.py [--cache FOLDER] [--markdown docs/saved-ranges.md]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench_saved_ranges import CASES, NETWORKS, Timing, load_timings
from page import write_page

PAGE = Path(__file__).with_name("saved_ranges_page.md")
_TITLES = [
    "network",
    "case",
    "data, s",
    "proto, s",
    "ratio",
    "data, CPU s",
    "proto, CPU s",
    "ratio",
]


def table(timings: Sequence[Timing]) -> str:
    """Markdown, in the order of networks and cases."""
    if not timings:
        return "Not measured."
    order = {key: index for index, key in enumerate((*NETWORKS, *CASES))}
    rows = [
        [
            x.network, x.case, f"{x.data:.2f}", f"{x.proto:.3f}", f"{x.proto / x.data:.3f}",
            f"{x.data_cpu:.2f}", f"{x.proto_cpu:.3f}", f"{x.proto_cpu / x.data_cpu:.3f}",
        ]
        for x in sorted(timings, key=lambda x: (order[x.network], order[x.case]))
    ]  # fmt: skip
    lines = [_TITLES, ["---", "---", *["---:"] * (len(_TITLES) - 2)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(cache: Path) -> str:
    """The page."""
    timings = load_timings(cache)
    levels = {level: [x for x in timings if x.level == level] for level in (0, 1)}
    dates = sorted({x.date for x in timings})
    cores = sorted({x.cores for x in timings})
    return PAGE.read_text().format(
        dates=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        cores=" or ".join(f"{count} cores" for count in cores),
        **{f"level_{level}": table(found) for level, found in levels.items()},
        **{
            f"frames_{level}": " or ".join(sorted({str(x.frames) for x in found})) or "no"
            for level, found in levels.items()
        },
    )


if __name__ == "__main__":
    write_page(__doc__, render)
