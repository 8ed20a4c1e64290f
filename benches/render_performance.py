"""Renders docs/performance.md from the results of bench_inference.py and bench_kernels.py.

python benches/render_performance.py [--cache FOLDER] [--markdown docs/performance.md]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench_inference import Measured, load_measured
from bench_kernels import KernelResults, load_results
from inference_models import IMPORTED, OURS
from page import write_page

PAGE = Path(__file__).with_name("performance_page.md")
_OURS = (*OURS, *IMPORTED, "tidlq")
_UNSIGNED, _SIGNED = "QDQ u8s8", "QDQ s8s8"


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


def signed_features(results: Sequence[Measured]) -> str:
    """Markdown: time with signed features over time with unsigned ones."""
    lines = ["| network | threads | batch | signed to unsigned |", "|---|---:|---:|---:|"]
    for found in results:
        if {_UNSIGNED, _SIGNED} <= found.rounds.keys():
            low, middle, high = found.ratio(_SIGNED, _UNSIGNED)
            size = f"| {found.network} | {found.threads} | {found.batch} "
            lines.append(f"{size}| {middle:.2f} ({low:.2f}-{high:.2f}) |")
    return "\n".join(lines)


def kernels(found: KernelResults) -> str:
    """Markdown: products per second by layer and instruction set; the pick is marked."""
    sets = list(dict.fromkeys(x.isa for x in found.rates))
    titles = ["layer", "types", *(f"{isa} <--" if isa == found.selected else isa for isa in sets)]
    lines = [titles, ["---", "---", *["---:"] * len(sets)]]
    rates = {(x.layer, x.options, x.isa): x for x in found.rates}
    for layer, options in dict.fromkeys((x.layer, x.options) for x in found.rates):
        cells = []
        for isa in sets:
            cell = f"{rates[layer, options, isa].rate:.1f}"
            if isa == found.selected:
                cell += f" ({rates[layer, options, isa].share:.0%}) <--"
            cells.append(cell)
        lines.append([layer, options, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def starts(found: KernelResults) -> str:
    """Markdown: seconds by what is started."""
    lines = ["| | seconds |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in found.starts.items()]
    return "\n".join(lines)


def kernel_sections(found: KernelResults) -> list[str]:
    """The sections of what bench_kernels.py measured."""
    peaks = ", ".join(
        f"{rate:.0f} with {name.split()[1]}"
        for name, rate in found.peaks.items()
        if name.split()[0] == found.selected
    )
    about = (
        "Least of several runs of one layer on one thread, 1e9 products per second, handing over\n"
        "to the engine's thread included. `<--` marks what the dispatcher picks on this machine;\n"
        f"its share is of what the multiplication instructions reach in registers ({peaks})."
    )
    return [
        f"## Kernels\n\n{about}\n\n{kernels(found)}",
        f"## Starts\n\nLeast time of whole processes, and of loading.\n\n{starts(found)}",
    ]


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
    parts.append(f"## Signed features\n\n{signed_features(results)}")
    parts.append(f"## Threads\n\n{speed_up(results)}")
    found_kernels = load_results(cache)
    if found_kernels is not None:
        parts += kernel_sections(found_kernels)
    return PAGE.read_text().format(
        dates=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        machines="; ".join(sorted({x.machine for x in results})),
        tables="\n\n".join(parts),
    )


if __name__ == "__main__":
    write_page(__doc__, render)
