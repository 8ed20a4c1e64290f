"""Reads docs/accuracy.md back, so that what is not measured anew can stay on it.

The form of a cell says which figure it is, so the words around the tables may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from accuracy_dates import Key, Moments, PageError, read_moments
from peers.catalog import PEERS
from results import Result

FLOAT_TITLES = ["network", "metric", "samples", "float (s.e.)"]
PAIR_TITLES = ["network", "level 1 - level 0"]
PEER_TITLES = ["level 1 - peer", "peer"]
NO_FIGURES = "none"
FRAMES = re.compile(r"calibration frames \(up to (\d+)\)")
FLOAT = re.compile(r"(-?\d+\.\d\d)(?: \((\d+\.\d\d)\))?")
PERCENT = re.compile(r"(-?\d+\.\d\d) \+-(\d+\.\d\d)")
POINTS = re.compile(r"-?\d+\.\d\d")
DECIBEL = re.compile(r"-?\d+\.\d")
COUNT = re.compile(r"\d+")
REASON = re.compile(r"- (\S+), ([^:]+): (.*)")
ISLANDS = re.compile(r"- (\S+): (\d+) nodes of ours stay in float islands")


@dataclass(frozen=True)
class KeptResult(Result):
    """A result of which the page alone is left: two decimals, and no groups to pair.

    Attributes:
        page_error: standard error of the difference to float, in points; None where the page has
            but the points lost.
    """

    page_error: float | None = None

    @property
    def error(self) -> float:
        """As the page has it."""
        return self.page_error or 0.0


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes:
        frames: that calibrated, at most.
        cells: by network and column.
        pairs: paired difference and its error, by network, column and the column that it is
            compared with.
        moments: when cells were measured.
    """

    frames: int
    cells: Mapping[Key, KeptResult]
    pairs: Mapping[tuple[str, str, str], str]
    moments: Moments

    def missing(self, loaded: Iterable[Result]) -> list[KeptResult]:
        """The cells for which there is no result.

        Raises:
            PageError: page and results are not of the same frames or evaluation data.
        """
        there = {(result.network, result.column): result for result in loaded}
        kept = [cell for key, cell in self.cells.items() if key not in there]
        if kept and any((result.frames or 0) > self.frames for result in there.values()):
            raise PageError(f"The page has up to {self.frames} calibration frames, results more.")
        known = {r.network: _evaluation(r) for r in there.values() if r.percent is not None}
        for cell in kept:
            new = known.get(cell.network)
            if cell.percent is not None and new not in (None, _evaluation(cell)):
                raise PageError(
                    f"{cell.network}: the page has {_evaluation(cell)}, results have {new}, so they"
                    " are not of the same evaluation data."
                )
        return kept


def _evaluation(result: Result) -> str:
    return f"{result.metric} of {result.samples} samples, float {result.float_percent:.2f}"


@dataclass
class _Reading:
    """What has been read so far."""

    reasons: dict[Key, str]
    cells: dict[Key, KeptResult] = field(default_factory=dict)
    pairs: dict[tuple[str, str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    """Its cells, and the nodes in float islands that the lines under it tell of each network."""

    titles: list[str]
    rows: list[list[str]]
    islands: Mapping[str, int]


def read_page(file: Path) -> Page:
    """Reads a page that `render_accuracy.py` wrote.

    Raises:
        PageError: it is none, or a cell of it is not a figure.
    """
    text = file.read_text()
    frames = FRAMES.search(text)
    if frames is None:
        raise PageError(f"{file} is no accuracy page: it does not say how many frames calibrated.")
    lines = text.splitlines()
    found = _Reading({(m[1], m[2]): m[3] for line in lines if (m := REASON.fullmatch(line))})
    for table in _tables(lines):
        for row in table.rows:
            if len(row) != len(table.titles):
                raise PageError(f"{file}: a row of {row[0]} has not as many cells as its table.")
            if table.titles[:4] == FLOAT_TITLES:
                _read_row(row, table, found)
            elif table.titles[:2] == PAIR_TITLES:
                _read_pairs(row, found)
    for (network, column), cell in found.cells.items():
        if cell.percent is None and not cell.reason:
            raise PageError(f"{file} has no percentage of {network}, {column}.")
    return Page(int(frames[1]), found.cells, found.pairs, read_moments(text))


def _tables(lines: list[str]) -> Iterator[_Table]:
    parts = [list(part) for _, part in groupby(lines, key=lambda line: line.startswith("|"))]
    for part, after in zip(parts, [*parts[1:], []], strict=True):
        if part[0].startswith("|"):
            cells = [line[1:-1].split("|") for line in part if not line.startswith("|-")]
            titles, *rows = [[cell.strip() for cell in row] for row in cells]
            counts = (match for line in after if (match := ISLANDS.fullmatch(line)))
            yield _Table(titles, rows, {match[1]: int(match[2]) for match in counts})


def _read_row(row: list[str], table: _Table, found: _Reading) -> None:
    """A row of a table of columns: a network, or a further figure of it; sums are made anew."""
    network, metric, samples, base, *texts = row
    if network.startswith("**"):
        return
    for column, text in zip(table.titles[4:], texts, strict=True):
        key = (network, column)
        cell = found.cells.get(key, KeptResult(network, column, metric))
        if text == NO_FIGURES:
            if key not in found.reasons:
                raise PageError(f"The page does not say why {network}, {column} has no figures.")
            found.cells[key] = replace(cell, reason=found.reasons[key])
        elif text and metric and not samples:
            found.cells[key] = _with_detail(cell, metric, base, text)
        elif text:
            known = _with_float(cell, samples, base)
            if network in table.islands and column not in PEERS:
                known = replace(known, float_nodes=table.islands[network])
            found.cells[key] = _with_figure(known, text)


def _with_float(cell: KeptResult, samples: str, base: str) -> KeptResult:
    match = FLOAT.fullmatch(base)
    if not match or not COUNT.fullmatch(samples):
        raise PageError(f"The page has no figures of the float network of {cell.network}.")
    error = float(match[2]) if match[2] else None
    return replace(cell, samples=int(samples), float_percent=float(match[1]), float_error=error)


def _with_figure(cell: KeptResult, text: str) -> KeptResult:
    """Percent with its error, points lost, dB, or a number of predictions."""
    if match := PERCENT.fullmatch(text):
        return replace(cell, percent=float(match[1]), page_error=float(match[2]))
    if POINTS.fullmatch(text):
        return replace(cell, percent=round((cell.float_percent or 0.0) - float(text), 2))
    if DECIBEL.fullmatch(text):
        return replace(cell, sqnr_db=[float(text)])
    if COUNT.fullmatch(text):
        return replace(cell, flips=int(text))
    raise PageError(f"The page's cell '{text}' of {cell.network}, {cell.column} is not a figure.")


def _with_detail(cell: KeptResult, name: str, base: str, text: str) -> KeptResult:
    if not POINTS.fullmatch(text) or not POINTS.fullmatch(base):
        raise PageError(f"The page's {name} of {cell.network}, {cell.column} is not a figure.")
    return replace(
        cell,
        details={**cell.details, name: float(text)},
        float_details={**cell.float_details, name: float(base)},
    )


def _read_pairs(row: list[str], found: _Reading) -> None:
    """A row of level 1 against level 0 and, for type 4 alone, the best peer."""
    network, against_0, *against_peer = row
    scheme = "type 4" if against_peer else "type 1"
    if against_0:
        found.pairs[network, f"{scheme} level 1", f"{scheme} level 0"] = against_0
    if against_peer and all(against_peer):
        found.pairs[network, f"{scheme} level 1", against_peer[1]] = against_peer[0]
