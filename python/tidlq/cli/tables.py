"""Tables and numbers as people read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_BREAKS = re.compile(r"(?<=[/._:;\-])")
_SHORTEST_NAME = 16
# One of them is the box's own divider.
_GAP = 2


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: the heading.
        is_number: right-aligned.
        is_name: takes the width that the others leave, and folds at separators.
        rank: the column of the highest rank is left out first when the terminal is narrow.
    """

    title: str
    is_number: bool = False
    is_name: bool = False
    rank: int = 0


def fold_name(name: str, width: int) -> str:
    """Breaks a long name into lines of at most `width`, after separators where it has them."""
    lines = [""]
    for part in _BREAKS.split(name):
        while len(part) > width:
            if lines[-1]:
                lines.append("")
            lines[-1], part = part[:width], part[width:]
            lines.append("")
        if len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line for line in lines if line)


def make_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[Table, tuple[str, ...]]:
    """Lays out a table.

    Args:
        columns: from left to right.
        rows: one text per column.
        width: columns of the terminal.

    Returns:
        The table, and the titles of columns that found no room.
    """
    from rich import box
    from rich.table import Table

    kept = list(range(len(columns)))
    while _needed(columns, rows, kept) > width and any(columns[i].rank for i in kept):
        highest = max(columns[i].rank for i in kept)
        kept = [i for i in kept if columns[i].rank < highest]
    names = [i for i in kept if columns[i].is_name]
    fixed = sum(_widest(columns[i], rows, i) for i in kept if i not in names)
    room = max(_SHORTEST_NAME, (width - fixed - _GAP * (len(kept) - 1)) // max(len(names), 1))
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    for i in kept:
        justify = "right" if columns[i].is_number else "left"
        table.add_column(columns[i].title, justify=justify, no_wrap=not columns[i].is_name)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(fold_name(row[i], room) if i in names else row[i] for i in kept))
    left_out = tuple(column.title for i, column in enumerate(columns) if i not in kept)
    return table, left_out


def _widest(column: Column, rows: Sequence[Sequence[str]], index: int) -> int:
    return max([len(column.title), *(len(row[index]) for row in rows)])


def _needed(columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    widths = (_SHORTEST_NAME if columns[i].is_name else _widest(columns[i], rows, i) for i in kept)
    return sum(widths) + _GAP * (len(kept) - 1)


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, what is known about them on the right."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    return table


def format_bytes(count: int) -> str:
    """Bytes in the largest unit that gives 1 or more: 532 B, 151.6 kB, 14.0 MB."""
    if count < 1000:
        return f"{count} B"
    size = count / 1000.0
    for unit in ("kB", "MB", "GB"):
        if size < 1000.0 or unit == "GB":
            break
        size /= 1000.0
    return f"{size:.1f} {unit}"


def format_number(value: float | None) -> str:
    """Four significant digits; nothing for None."""
    return "" if value is None else f"{value:.4g}"


def format_shape(shape: Iterable[int | str]) -> str:
    """1x3x224x224."""
    return "x".join(str(size) for size in shape)


def count_of(number: int, noun: str) -> str:
    """1 layer, 2 layers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
