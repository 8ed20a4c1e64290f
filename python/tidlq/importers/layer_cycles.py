"""Measured cycles of layers, from a CSV of one's own or from the profile that TI's runtime prints.

A CSV of one's own has a header `layer,8x8` and may have columns `8x16` and `16x16`: features by
parameters. The profile (debug_level 1 or more, on a device) has a line of titles that begin with
`Layer, Layer Cycles`, then a row per layer: its number, its cycles, and columns for TI's own use;
lines may begin with the logging core and a time. It names layers by number only; the file
`*layer_info.txt` in the same folder, which TI's import writes, has the number, the number of the
output and the name of each layer in a row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidlq.errors import DataError

LARGEST_FILE = 16 << 20
_PROFILE = re.compile(r"\bLayer\s*,\s*Layer Cycles\b")
_ROW = re.compile(r"(?:^|:\s)\s*(\d+)\s*,\s*(\d+)\s*,")
_NAMED = re.compile(r"^\s*(\d+)\s+\d+\s+(\S+)")
_OPTIONAL = ("8x16", "16x16")


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of a layer by features x parameters; None where they were not measured."""

    narrow: float
    wide_parameters: float | None = None
    wide: float | None = None


def read_layer_cycles(path: Path) -> Mapping[str, LayerCycles]:
    """Reads measured cycles.

    Args:
        path: of the CSV or the profile.

    Returns:
        Cycles by the name of the layer or of its output.

    Raises:
        DataError: The file cannot be read, or is neither.
    """
    text = _text(path)
    found = _from_profile(path, text) if _PROFILE.search(text) else _from_table(path, text)
    if not found:
        raise DataError(f"{str(path)!r} has no row with cycles of a layer.")
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(
                f"{str(path)!r} is larger than {LARGEST_FILE >> 20} MB of cycles can be."
            )
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{str(path)!r} with cycles of layers: {error.strerror}.") from None


def _from_table(path: Path, text: str) -> dict[str, LayerCycles]:
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    titles = [title.strip() for title in rows.fieldnames or ()]
    if titles[:2] != ["layer", "8x8"] or not set(titles[2:]) <= set(_OPTIONAL):
        raise DataError(
            f"{str(path)!r} begins with {', '.join(titles)!r}, allowed: 'layer,8x8', then '8x16' "
            "and '16x16'; or a profile whose titles begin with 'Layer, Layer Cycles'."
        )
    rows.fieldnames = titles
    found: dict[str, LayerCycles] = {}
    for number, row in enumerate(rows, start=2):
        cells = [row.get(title) for title in ("8x8", *_OPTIONAL)]
        narrow, wide_parameters, wide = (_cycles(path, number, cell) for cell in cells)
        if narrow is None:
            raise DataError(f"{str(path)!r}, line {number}: the cycles at 8x8 are missing.")
        found[str(row["layer"]).strip()] = LayerCycles(narrow, wide_parameters, wide)
    return found


def _cycles(path: Path, line: int, cell: str | None) -> float | None:
    if cell is None or not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise DataError(f"{str(path)!r}, line {line}: {cell!r} is no number of cycles.")
    return value


def _from_profile(path: Path, text: str) -> dict[str, LayerCycles]:
    names: dict[int, str] = {}
    for other in sorted(path.parent.glob("*layer_info.txt")):
        for line in _text(other).splitlines():
            match = _NAMED.match(line)
            if match:
                names[int(match[1])] = match[2]
    if not names:
        raise DataError(
            f"{str(path)!r} is a profile by numbers of layers; the file *layer_info.txt with their "
            "names, which TI's import writes, is missing in its folder."
        )
    cycles: dict[int, float] = {}
    for line in text.splitlines():
        match = _ROW.search(line)
        if match:
            # Of several runs the last one counts: the first is slower.
            cycles[int(match[1])] = float(match[2])
    return {
        names[number]: LayerCycles(value) for number, value in cycles.items() if number in names
    }
