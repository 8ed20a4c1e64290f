"""Renders docs/accuracy.md from the results of `bench_calibration.py`.

python benches/render_accuracy.py [--results FOLDER] [--markdown docs/accuracy.md] [--keep PAGE]

With --keep a cell without a result is that of PAGE, and the page says when cells were measured.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accuracy_dates import Key, PageError, committed, date_notes, measured
from accuracy_page import (
    FLOAT_TITLES,
    NO_FIGURES,
    PAIR_TITLES,
    PEER_TITLES,
    KeptResult,
    Page,
    read_page,
)
from columns import all_columns
from data_folder import cache_folder
from results import Result, difference

PEERS = (
    "ORT min/max",
    "ORT entropy",
    "ORT percentile",
    "NNCF OpenVINO fast",
    "NNCF OpenVINO full",
    "NNCF ONNX fast",
)
PAGE = """# Accuracy

Written by `benches/render_accuracy.py` from what `benches/bench_calibration.py` measured. Every
column of a network has the same calibration frames (up to {frames}) and the same evaluation data.
Figures are in percent: top-1 of classifiers, mIoU of segmentation, AP of detection, characters and
lines of text recognition, F1 of text detection. After +- stands the standard error of the
difference to float, paired over the same samples; the one of the float top-1 itself, beside it in
brackets, is sqrt(p (1 - p) / n).
{kept}
Peers: ONNX Runtime's `quantize_static` (QDQ, uint8 features, symmetric int8 weights per channel)
and NNCF's `quantize` (preset mixed) with fast or full bias correction, each in the version that
`benches/peers/requirements.txt` names.

## 8 bits, real scales (type 4)

{type_4}

Predictions that differ from float's:

{flips}

Points of level 1 less those of level 0 and of the best peer of each network, paired:

{against_4}

## 8 bits, one scale per weight tensor

Types 0 and 1; the scales of type 1 are powers of two, as TDA4VM has them. ONNX Runtime per tensor
beside it has real scales. Channel-wise: weight scales per channel.

{per_tensor}

Points of level 1 less those of level 0, paired:

{against_1}

## 16 bits

{wide}

Signal to quantization noise in dB, at the worst output. Where it is below 60, early feature maps
with a few large values pass their rounding on through layers that cancel most of the signal, or,
in text recognition, nearly all of the noise is that of a few lines in doubt between two characters;
what ONNX Runtime's 16 bits leave stands beside ours.

{noise}

## What each ingredient brings

Points lost against float at level 9 with every switch off, one on, all on, and one off.

{ingredients}
"""
KEPT = """
Not all columns were measured at once. The lines under a table say when each was ("by" a date: then
or before), also for the tables that follow in its section. What was measured earlier is kept as
this page had it: same calibration frames, same evaluation data, but `tidlq` as it was then, and two
decimals, of which mean and worst drop are made. Without their samples two columns cannot be paired:
after +-~ stands the root of the sum of the squares of both columns' errors against float, as if
these were independent. The paired error is mostly smaller, at times a little larger.
"""


@dataclass(frozen=True)
class Results:
    """All results by network and column, networks in reading order.

    Attributes:
        networks: their names.
        cells: the results.
        page: that has what was not measured anew.
        moments: when each cell was measured, where there is such a page.
    """

    networks: list[str]
    cells: dict[Key, Result]
    page: Page | None = None
    moments: Mapping[Key, str] = field(default_factory=dict)

    def have(self, column: str) -> bool:
        """Any network has been measured in that column."""
        return any((network, column) in self.cells for network in self.networks)

    def any_of(self, network: str) -> Result | None:
        """A result of the network that has figures."""
        found = (self.cells[key] for key in self.cells if key[0] == network)
        return next((result for result in found if result.percent is not None), None)


def load_results(folder: Path, kept_page: Path | None = None) -> Results:
    """Reads every file, and from a page what has none; classifiers come first."""
    files = sorted(folder.glob("*/*.json"))
    loaded = [Result(**json.loads(file.read_text())) for file in files]
    page = read_page(kept_page) if kept_page else None
    kept = page.missing(loaded) if page else []
    order = sorted([*loaded, *kept], key=lambda result: (result.metric != "top-1", result.network))
    cells = {(result.network, result.column): result for result in order}
    networks = list(dict.fromkeys(result.network for result in order))
    if page is None or kept_page is None:
        return Results(networks, cells)
    moments = {(r.network, r.column): measured(f) for r, f in zip(loaded, files, strict=True)}
    for key in ((cell.network, cell.column) for cell in kept):
        moments[key] = page.moments.of(key) or committed(kept_page)
    return Results(networks, cells, page, moments)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(titles: list[str]) -> list[str]:
    return [_row(titles), "|---|" + "---:|" * (len(titles) - 1)]


def _percent(result: Result) -> str:
    return f"{result.percent:.2f} +-{result.error:.2f}"


def _drop(result: Result) -> str:
    return f"{result.drop:.2f}"


def _flips(result: Result) -> str:
    return "" if result.flips is None else str(result.flips)


def _noise(result: Result) -> str:
    values = [value for value in result.sqnr_db if value is not None]
    return f"{min(values):.1f}" if values else ""


def _float_cells(result: Result) -> list[str]:
    error = "" if result.float_error is None else f" ({result.float_error:.2f})"
    return [result.metric, str(result.samples), f"{result.float_percent:.2f}{error}"]


def _summary(results: Results, columns: list[str]) -> list[str]:
    """Mean and worst drop of every column."""
    drops = [
        [
            drop
            for network in results.networks
            if (cell := results.cells.get((network, column))) and (drop := cell.drop) is not None
        ]
        for column in columns
    ]
    mean = [f"{sum(d) / len(d):.2f} of {len(d)}" if d else "" for d in drops]
    worst = [f"{max(d):.2f}" if d else "" for d in drops]
    blank = ["", "", ""]
    return [_row(["**mean drop**", *blank, *mean]), _row(["**worst drop**", *blank, *worst])]


def table(
    results: Results, wanted: list[str], show: Callable[[Result], str], summary: bool = True
) -> str:
    """Markdown: one row per network, one column per way of quantizing."""
    columns = [column for column in wanted if results.have(column)]
    if not columns:
        return "Not measured."
    lines = _head([*FLOAT_TITLES, *columns])
    notes: list[str] = []
    for network in results.networks:
        known = results.any_of(network)
        cells = [results.cells.get((network, column)) for column in columns]
        texts = []
        for cell in cells:
            if cell is not None and cell.reason:
                note = f"{network}, {cell.column}: {cell.reason}"
                notes += [note] if note not in notes else []
                texts.append(NO_FIGURES)
            else:
                texts.append(show(cell) if cell else "")
        if any(texts):
            lines.append(_row([network, *(_float_cells(known) if known else [""] * 3), *texts]))
            lines += _detail_rows(network, cells, show)
            notes += _islands(network, cells)
    if not summary:
        return "\n".join(lines)
    lines += _summary(results, columns)
    shown = ((network, column) for column in columns for network in results.networks)
    notes += date_notes({key: results.moments[key] for key in shown if key in results.moments})
    return "\n".join(lines + [""] * bool(notes) + [f"- {note}" for note in notes])


def _islands(network: str, cells: list[Result | None]) -> list[str]:
    counts = {cell.float_nodes for cell in cells if cell and cell.float_nodes}
    return [f"{network}: {max(counts)} nodes of ours stay in float islands"] if counts else []


def _detail_rows(
    network: str, cells: list[Result | None], show: Callable[[Result], str]
) -> list[str]:
    """Further figures of the same evaluation, where percentages are shown."""
    known = next((cell for cell in cells if cell and cell.percent is not None), None)
    if show is not _percent or known is None:
        return []
    rows = []
    for name, value in known.float_details.items():
        texts = [f"{cell.details[name]:.2f}" if cell and cell.details else "" for cell in cells]
        rows.append(_row([network, name, "", f"{value:.2f}", *texts]))
    return rows


def against(results: Results, name: str, peers: tuple[str, ...] = ()) -> str:
    """Markdown: level 1 of a scheme against its level 0 and against the best peer."""
    lines = _head([*PAIR_TITLES, *(PEER_TITLES if peers else [])])
    for network in results.networks:
        cells = {c: r for (n, c), r in results.cells.items() if n == network and not r.reason}
        first = cells.get(f"{name} level 1")
        others = [cells[peer] for peer in peers if peer in cells]
        if first is None:
            continue
        texts = [_signed(first, cells.get(f"{name} level 0"), results.page)]
        if peers:
            best = max(others, key=lambda cell: cell.percent or 0.0, default=None)
            texts += [_signed(first, best, results.page), best.column if best else ""]
        lines.append(_row([network, *texts]))
    return "\n".join(lines) if len(lines) > 2 else "Not measured."


def _signed(result: Result, other: Result | None, page: Page | None) -> str:
    if other is None:
        return ""
    kept = [isinstance(cell, KeptResult) for cell in (result, other)]
    if page is not None and any(kept):
        pair = page.pairs.get((result.network, result.column, other.column))
        return pair if pair and all(kept) else _unpaired(result, other)
    points, error = difference(result, other)
    return f"{points:+.2f} +-{error:.2f}"


def _unpaired(result: Result, other: Result) -> str:
    points = round((result.percent or 0.0) - (other.percent or 0.0), 2) + 0.0  # never -0.00
    return f"{points:+.2f} +-~{math.hypot(result.error, other.error):.2f}"


def render(results: Results) -> str:
    """The page."""
    tables: dict[str, list[str]] = {}
    for column in all_columns():
        tables.setdefault(column.table, []).append(column.name)
    real = [*tables["type 4"], *PEERS]
    per_tensor = [*tables["type 0"], *tables["type 1"], "ORT min/max per-tensor"]
    ingredients = [names for title, names in tables.items() if title.startswith("ingredients")]
    wide = [*tables["16 bits"], "ORT 16 bits"]
    frames = [cell.frames or 0 for cell in results.cells.values()]
    return PAGE.format(
        frames=max([*frames, results.page.frames if results.page else 0]),
        kept=KEPT if results.page else "",
        type_4=table(results, real, _percent),
        flips=table(results, real, _flips, summary=False),
        against_4=against(results, "type 4", PEERS),
        against_1=against(results, "type 1"),
        per_tensor=table(results, per_tensor, _percent),
        wide=table(results, wide, _percent),
        noise=table(results, wide, _noise, summary=False),
        ingredients="\n\n".join(table(results, names, _drop) for names in ingredients),
    )


def main() -> None:
    """Writes or prints the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=cache_folder() / "results")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--keep", type=Path, metavar="PAGE", help="has what no result has")
    arguments = parser.parse_args()
    try:
        page = render(load_results(arguments.results, arguments.keep))
    except (OSError, PageError) as error:
        parser.error(str(error))
    if arguments.markdown:
        arguments.markdown.write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
