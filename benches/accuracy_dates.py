"""When the columns of the accuracy page were measured: notes under its tables, read back as well.

A moment is `on 2026-01-31` where the day is known, `by 2026-01-31` for that day or one before it.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

Key = tuple[str, str]  # network, column
NOTE = re.compile(r"measured ((?:on|by) \d{4}-\d{2}-\d{2}): (.+)")
OTHERS = "the other networks"


class PageError(ValueError):
    """Cells of the page cannot stand beside the results."""


@dataclass(frozen=True)
class Moments:
    """What a page says: of whole columns, and of networks that are exceptions."""

    columns: Mapping[str, str]
    cells: Mapping[Key, str]

    def of(self, key: Key) -> str | None:
        """When that cell was measured, if the page says it."""
        return self.cells.get(key, self.columns.get(key[1]))


def date_notes(moments: Mapping[Key, str]) -> list[str]:
    """Lines for the cells of one table, latest first; networks are named where they differ."""
    said: dict[str, list[str]] = {}
    for column in dict.fromkeys(column for _, column in moments):
        networks: dict[str, list[str]] = {}
        for (network, other), moment in moments.items():
            if other == column:
                networks.setdefault(moment, []).append(network)
        most = max(networks, key=lambda moment: len(networks[moment]))
        for moment, names in networks.items():
            of = OTHERS if moment == most else ", ".join(names)
            said.setdefault(moment, []).append(f"{column} of {of}" if len(networks) > 1 else column)
    latest_first = sorted(said, key=lambda moment: moment.split()[1], reverse=True)
    return [f"measured {moment}: {'; '.join(said[moment])}" for moment in latest_first]


def read_moments(page: str) -> Moments:
    """Reads the lines of all tables of a page."""
    columns: dict[str, str] = {}
    cells: dict[Key, str] = {}
    for line in page.splitlines():
        match = NOTE.fullmatch(line.removeprefix("- "))
        if not match:
            continue
        for text in match[2].split("; "):
            column, _, networks = text.partition(" of ")
            if networks in ("", OTHERS):
                columns[column] = match[1]
            else:
                cells.update({(name, column): match[1] for name in networks.split(", ")})
    return Moments(columns, cells)


def measured(result: Path) -> str:
    """When a result was written, which is once and whole."""
    return f"on {datetime.fromtimestamp(result.stat().st_mtime).date()}"


@functools.cache
def committed(page: Path) -> str:
    """A bound for cells of which a page does not say when they were measured.

    Raises:
        PageError: the page is not as a commit has it.
    """
    if _git("status", "--porcelain", "--ignored", page=page) == "":
        date = _git("log", "-1", "--format=%as", page=page)
        if date:
            return f"by {date}"
    raise PageError(f"{page} does not say when it was measured and is not as a commit has it.")


def _git(*command: str, page: Path) -> str | None:
    run = subprocess.run(
        ["git", *command, "--", page.name],
        cwd=page.resolve().parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() if run.returncode == 0 else None
