"""`tidlq proto show`: a quantization proto as a table."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.layer_tables import is_selected
from tidlq.cli.tables import Column, count_of, facts_table, format_number, make_table
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError, nearest_names

if TYPE_CHECKING:
    from tidlq.quantproto import Provenance, SavedLayer, SavedRanges, SavedTensor

_COLUMNS = (
    Column("layer", is_name=True),
    Column("type", rank=4),
    Column("of"),
    Column("bits"),
    Column("min", is_number=True),
    Column("max", is_number=True),
    Column("outlier", rank=1),
    Column("range is", rank=3),
    Column("step", is_number=True, rank=2),
    Column("TIDL scale", is_number=True, rank=5),
    Column("zero", is_number=True, rank=4),
    Column("values", is_number=True, rank=6),
    Column("channels", is_number=True, rank=7),
)
_OUTLIER_RULE = (
    "Outliers are more than 3 octaves (x8), and more than 3 deviations of their like, away from "
    "the median size max(|min|, |max|) of the file's tensors of the same role."
)


class Order(enum.Enum):
    """Order of the rows."""

    FILE = "file"
    RANGE = "range"


@dataclass(frozen=True)
class _Entry:
    """A tensor in its place.

    Attributes:
        outlier: factor to the usual size of its like; None where it is usual.
    """

    layer: SavedLayer
    role: str
    tensor: SavedTensor
    outlier: float | None

    @property
    def size(self) -> float:
        """Largest magnitude; unknown ranges come last."""
        return -1.0 if self.tensor.range is None else self.tensor.range.absolute_max


def show_proto(
    file: s.ProtoFile,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only layers whose name or type matches: a part of it, or a pattern with * and ?; "
            "may be repeated.",
        ),
    ] = None,
    sort: Annotated[
        Order, typer.Option(help="file: as they stand; range: the largest magnitude first.")
    ] = Order.FILE,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Only ranges that are out of line with the others.")
    ] = False,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Show the ranges, bits and scales that a quantization proto states.

    Outliers are marked with their factor to the usual size: tensors whose max(|min|, |max|) is
    more than a factor of 8, and more than three (robust) standard deviations of the logarithm, away
    from the median of the file's tensors of the same role (outputs, weights, bias, slope). Roles of
    fewer than eight tensors have none.
    """
    terminal = Terminal(json, quiet)
    saved = s.read_proto(file)
    chosen = _chosen_layers(saved, layer or [])
    entries = [x for x in _entries(saved, chosen) if x.outlier is not None or not outliers]
    has_outliers = any(x.outlier is not None for x in entries)
    shown = entries
    if sort is Order.RANGE:
        shown = sorted(entries, key=lambda entry: -entry.size)
    rows = [_row(entry) for entry in shown]
    columns: tuple[Column, ...] = _COLUMNS
    if not has_outliers:
        place = [column.title for column in _COLUMNS].index("outlier")
        columns = (*_COLUMNS[:place], *_COLUMNS[place + 1 :])
        rows = [[*row[:place], *row[place + 1 :]] for row in rows]
    table, left_out = make_table(columns, _without_repeats(rows), terminal.width)
    document = _document(file, saved, chosen, shown, is_sorted=sort is not Order.FILE or outliers)
    terminal.result(document, table, "", facts_table(_facts(saved)))
    if has_outliers:
        terminal.remark(_OUTLIER_RULE)
    if left_out:
        terminal.remark(f"No room for: {', '.join(left_out)}. A wider terminal or --json shows it.")


def _chosen_layers(saved: SavedRanges, patterns: list[str]) -> list[SavedLayer]:
    """The layers that match a pattern; all of them without one.

    Raises:
        OptionError: A pattern matches no layer.
    """
    for pattern in patterns:
        if not any(is_selected(x.name, x.layer_type, [pattern]) for x in saved.layers):
            names = sorted({text for x in saved.layers for text in (x.name, x.layer_type)})
            raise OptionError(f"no layer matches {pattern!r}.{nearest_names(pattern, names)}")
    return [x for x in saved.layers if is_selected(x.name, x.layer_type, patterns)]


def _entries(saved: SavedRanges, layers: list[SavedLayer]) -> list[_Entry]:
    from tidlq.quantproto import find_outliers

    found = find_outliers(saved)
    entries = []
    for layer in layers:
        for role, tensors in layer.roles.items():
            for position, tensor in enumerate(tensors):
                outlier = found.get((layer.name, role, position))
                factor = None if outlier is None else 2.0**outlier.octaves
                entries.append(_Entry(layer, role, tensor, factor))
    return entries


def _row(entry: _Entry) -> list[str]:
    layer, tensor = entry.layer, entry.tensor
    known = tensor.range
    return [
        layer.name,
        layer.layer_type.removeprefix("TIDL_").removesuffix("Layer"),
        entry.role.removesuffix("s") if entry.role != "bias" else entry.role,
        _bits(entry),
        format_number(None if known is None else known.min),
        format_number(None if known is None else known.max),
        "" if entry.outlier is None else f"x{entry.outlier:.2g}",
        "unknown" if known is None else known.origin.value,
        _spread([1.0 / scale for scale in tensor.scales if scale], 4),
        _spread(tensor.scales, 6),
        _zero_point(tensor),
        str(len(tensor.values)) if tensor.values else "",
        str(len(tensor.channels)) if tensor.channels else "",
    ]


def _without_repeats(rows: list[list[str]]) -> list[list[str]]:
    """The layer's name and type on its first row only."""
    previous = ""
    shown = []
    for row in rows:
        shown.append(["", "", *row[2:]] if row[0] == previous else row)
        previous = row[0]
    return shown


def _bits(entry: _Entry) -> str:
    """Sign and width where the file states them, else the width that the layer's bits give."""
    from tidlq.quantproto.scales import bits_of

    kind = entry.tensor.type
    if kind is not None:
        return f"{'s' if kind.signed else 'u'}{kind.bits}"
    return str(bits_of(entry.layer, entry.role)) if entry.role != "bias" else ""


def _spread(numbers: Sequence[float], digits: int) -> str:
    """A number, or the least and the greatest of several."""
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"{low:.{digits}g}" if low == high else f"{low:.2g} .. {high:.2g}"


def _zero_point(tensor: SavedTensor) -> str:
    points = set(tensor.zero_points)
    return str(points.pop()) if len(points) == 1 else "several" if points else ""


def _facts(saved: SavedRanges) -> list[tuple[str, str]]:
    equalized = len(saved.equalization.factors)
    facts = [
        ("layers", str(len(saved.layers))),
        *([("equalized", count_of(equalized, "layer"))] if equalized else []),
        ("zero points", "all 0" if saved.symmetric else "any"),
        ("weight scales", "per channel" if saved.per_channel else "per tensor"),
    ]
    origin = saved.provenance
    if origin is None:
        return [*facts, ("written by", "not stated")]
    return [
        *facts,
        ("written by", f"tidlq {origin.tool_version}"),
        ("scheme", origin.scheme),
        ("calibration", f"level {origin.accuracy_level}, {count_of(origin.frames, 'frame')}"),
        *_advanced(origin),
        ("model", f"fingerprint {origin.graph_fingerprint[:12]}"),
    ]


def _advanced(origin: Provenance) -> list[tuple[str, str]]:
    """What advanced calibration did; nothing where it did nothing."""
    words = [name.replace("_", " ") for name in origin.ingredients]
    if origin.calibration_method:
        words.append(f"method {origin.calibration_method}")
    return [("with", ", ".join(words))] if words else []


def _document(
    file: Path,
    saved: SavedRanges,
    layers: list[SavedLayer],
    entries: list[_Entry],
    *,
    is_sorted: bool,
) -> dict[str, Any]:
    by_layer: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in entries:
        roles = by_layer.setdefault(entry.layer.name, {role: [] for role in entry.layer.roles})
        roles[entry.role].append(_tensor(entry))
    order = list(by_layer) if is_sorted else [layer.name for layer in layers]
    return {
        "file": str(file),
        "symmetric": saved.symmetric,
        "per_channel": saved.per_channel,
        "provenance": None if saved.provenance is None else _provenance(saved.provenance),
        "layers": [
            {**_layer(saved.layers_by_name[name]), **by_layer.get(name, {})} for name in order
        ],
    }


def _provenance(origin: Provenance) -> dict[str, Any]:
    return {
        "tool_version": origin.tool_version,
        "graph_fingerprint": origin.graph_fingerprint,
        "scheme": origin.scheme,
        "accuracy_level": origin.accuracy_level,
        "frames": origin.frames,
        "options": dict(origin.options),
        "calibration_method": origin.calibration_method or None,
        "ingredients": list(origin.ingredients),
    }


def _layer(layer: SavedLayer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "layer_type": layer.layer_type,
        "bit_depth": layer.bit_depth,
        "parameter_bit_depth": layer.parameter_bit_depth,
        "equalization": list(layer.equalization),
        **{role: [] for role in layer.roles},
    }


def _tensor(entry: _Entry) -> dict[str, Any]:
    tensor = entry.tensor
    known = tensor.range
    return {
        "name": tensor.name,
        "size": tensor.size,
        "min": None if known is None else known.min,
        "max": None if known is None else known.max,
        "outlier": entry.outlier,
        "origin": None if known is None else known.origin.value,
        "type": _bits(entry) or None,
        "scales": list(tensor.scales),
        "zero_points": list(tensor.zero_points),
        "values": list(tensor.values),
        "channels": [[channel.min, channel.max] for channel in tensor.channels],
    }
