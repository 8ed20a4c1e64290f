"""Renders docs/performance.md from the results of bench_inference.py.

python benches/render_performance.py [--cache FOLDER] [--markdown docs/performance.md]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench_inference import Measured, load_measured
from inference_models import OURS
from page import write_page

PAGE = Path(__file__).with_name("performance_page.md")
_OURS = (*OURS, "16x8", "tidlq")


def table(found: Measured) -> str:
    """Markdown: a line per variant of ours, a ratio per peer and to type 0."""
    ours = [name for name in found.rounds if name in _OURS]
    peers = [name for name in found.rounds if name not in _OURS]
    others = [*peers, *ours[:1]] if len(ours) > 1 else peers
    titles = ["", "ms", *(f"to {name}" for name in others)]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for name in ours:
        ratios = (found.ratio(name, other) for other in others)
        cells = [f"{middle:.2f} ({low:.2f}-{high:.2f})" for low, middle, high in ratios]
        lines.append([name, f"{found.least(name):.2f}", *cells])
    lines += [[name, f"{found.least(name):.2f}", *[""] * len(others)] for name in peers]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_up(results: Sequence[Measured]) -> str:
    """Markdown: least time with one thread over least time with two."""
    by_size = {(x.network, x.batch, x.threads): x for x in results}
    lines = [
        "| network | batch | engine | speed-up with 2 threads |",
        "|---|---:|---|---:|",
    ]
    for (network, batch, threads), found in by_size.items():
        two = by_size.get((network, batch, 2))
        if threads != 1 or two is None:
            continue
        for name in found.rounds:
            ratio = found.least(name) / two.least(name)
            lines.append(f"| {network} | {batch} | {name} | {ratio:.2f} |")
    return "\n".join(lines)


def render(cache: Path) -> str:
    """The page."""
    results = sorted(load_measured(cache), key=lambda x: (x.network, x.batch, x.threads))
    if not results:
        raise SystemExit("bench_inference.py has measured nothing yet")
    dates = sorted({x.date for x in results})
    parts = []
    for found in results:
        threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
        parts.append(f"## {found.network}, {threads}, batch {found.batch}\n\n{table(found)}")
    parts.append(f"## Threads\n\n{speed_up(results)}")
    return PAGE.read_text().format(
        dates=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        machines="; ".join(sorted({x.machine for x in results})),
        tables="\n\n".join(parts),
    )


if __name__ == "__main__":
    write_page(__doc__, render)
