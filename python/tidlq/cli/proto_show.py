"""`tidlq proto show`: a quantization proto as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.tables import Column, count_of, facts_table, format_number, make_table
from tidlq.cli.terminal import Terminal

if TYPE_CHECKING:
    from tidlq.quantproto import Provenance, SavedLayer, SavedRanges, SavedTensor

_COLUMNS = (
    Column("layer", is_name=True),
    Column("type", rank=4),
    Column("of"),
    Column("bits"),
    Column("min", is_number=True),
    Column("max", is_number=True),
    Column("range is", rank=2),
    Column("step", is_number=True, rank=1),
    Column("zero", is_number=True, rank=3),
    Column("values", is_number=True, rank=5),
    Column("channels", is_number=True, rank=6),
)


def show_proto(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The proto: .prototxt, .pbtxt, .txt, .pb, .bin.")
    ],
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Show the ranges and scales that a quantization proto states."""
    from tidlq.quantproto import read_quant_params

    terminal = Terminal(json, quiet)
    saved = read_quant_params(file)
    rows = [
        row
        for layer in saved.layers
        for role, tensors in layer.roles.items()
        for row in (_row(layer, role, tensor) for tensor in tensors)
    ]
    table, left_out = make_table(_COLUMNS, _without_repeats(rows), terminal.width)
    terminal.result(_document(file, saved), table, "", facts_table(_facts(saved)))
    if left_out:
        terminal.remark(f"No room for: {', '.join(left_out)}. A wider terminal or --json shows it.")


def _row(layer: SavedLayer, role: str, tensor: SavedTensor) -> list[str]:
    known = tensor.range
    return [
        layer.name,
        layer.layer_type.removeprefix("TIDL_").removesuffix("Layer"),
        role.removesuffix("s") if role != "bias" else role,
        _bits(tensor),
        format_number(None if known is None else known.min),
        format_number(None if known is None else known.max),
        "unknown" if known is None else known.origin.value,
        _step(tensor),
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


def _bits(tensor: SavedTensor) -> str:
    if tensor.type is None:
        return ""
    return f"{'s' if tensor.type.signed else 'u'}{tensor.type.bits}"


def _step(tensor: SavedTensor) -> str:
    steps = [1.0 / scale for scale in tensor.scales if scale]
    if not steps:
        return ""
    low, high = min(steps), max(steps)
    return f"{low:.4g}" if low == high else f"{low:.2g} .. {high:.2g}"


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


def _document(file: Path, saved: SavedRanges) -> dict[str, Any]:
    origin = saved.provenance
    return {
        "file": str(file),
        "symmetric": saved.symmetric,
        "per_channel": saved.per_channel,
        "provenance": None
        if origin is None
        else {
            "tool_version": origin.tool_version,
            "graph_fingerprint": origin.graph_fingerprint,
            "scheme": origin.scheme,
            "accuracy_level": origin.accuracy_level,
            "frames": origin.frames,
            "options": dict(origin.options),
            "calibration_method": origin.calibration_method or None,
            "ingredients": list(origin.ingredients),
        },
        "layers": [
            {
                "name": layer.name,
                "layer_type": layer.layer_type,
                "bit_depth": layer.bit_depth,
                "parameter_bit_depth": layer.parameter_bit_depth,
                "equalization": list(layer.equalization),
                **{role: [_tensor(t) for t in tensors] for role, tensors in layer.roles.items()},
            }
            for layer in saved.layers
        ],
    }


def _tensor(tensor: SavedTensor) -> dict[str, Any]:
    known = tensor.range
    return {
        "name": tensor.name,
        "size": tensor.size,
        "min": None if known is None else known.min,
        "max": None if known is None else known.max,
        "origin": None if known is None else known.origin.value,
        "type": _bits(tensor) or None,
        "scales": list(tensor.scales),
        "zero_points": list(tensor.zero_points),
        "values": list(tensor.values),
        "channels": [[channel.min, channel.max] for channel in tensor.channels],
    }
