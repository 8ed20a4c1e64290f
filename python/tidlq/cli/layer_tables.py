"""Tables of layers, from the reports of artifacts and models."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidlq.cli.tables import Column, format_number, format_shape, make_table
from tidlq.errors import OptionError, nearest_names

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Entry = Mapping[str, Any]

_ARTIFACT_COLUMNS = (
    Column("layer", is_name=True),
    Column("operator", rank=2),
    Column("shape", is_number=True, rank=1),
    Column("type"),
    Column("scale", is_number=True),
    Column("zero", is_number=True, rank=3),
    Column("min", is_number=True),
    Column("max", is_number=True),
    Column("range is", rank=4),
    Column("weight scales", is_number=True, rank=6),
    Column("headroom", is_number=True, rank=5),
)

_MODEL_COLUMNS = (
    Column("layer", is_name=True),
    Column("operator"),
    Column("runs in"),
    Column("output shape", is_number=True),
    Column("stage", is_number=True),
)


def select_layers(stages: Sequence[Entry], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The stages with the layers that match one of the patterns; all of them without a pattern.

    Raises:
        OptionError: A pattern matches no layer.
    """
    layers = [layer for stage in stages for layer in stage["layers"]]
    for pattern in patterns:
        if not any(is_selected(layer["name"], layer["op_type"], [pattern]) for layer in layers):
            names = {text for layer in layers for text in (layer["name"], layer["op_type"])}
            raise OptionError(
                f"no layer matches {pattern!r}.{nearest_names(pattern, sorted(names))}"
            )
    return [
        {
            **stage,
            "layers": [
                layer
                for layer in stage["layers"]
                if is_selected(layer["name"], layer["op_type"], patterns)
            ],
        }
        for stage in stages
    ]


def is_selected(name: str, operator: str, patterns: Sequence[str]) -> bool:
    """Says whether a name or operator matches one of the patterns, or there is no pattern."""
    return not patterns or any(_matches(text, one) for text in (name, operator) for one in patterns)


def _matches(text: str, pattern: str) -> bool:
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(text, pattern)
    return pattern in text


def artifact_layers(
    features: Iterable[Entry], stages: Iterable[Entry], width: int
) -> tuple[Table, tuple[str, ...]]:
    """Every feature that enters from outside and every layer; and columns that found no room."""
    rows = [
        [feature["tensor"], "(input)", format_shape(feature["shape"]), *_feature(feature), "", ""]
        for feature in features
    ]
    for stage in stages:
        for layer in stage["layers"]:
            rows.append(
                [
                    layer["name"],
                    layer["op_type"],
                    format_shape(layer.get("shape", ())),
                    *_feature(layer.get("output")),
                    _weight_scales(_parameter(layer)),
                    _headroom(layer.get("headroom_bits")),
                ]
            )
    return make_table(_ARTIFACT_COLUMNS, rows, width)


def model_layers(stages: Iterable[Entry], width: int) -> tuple[Table, tuple[str, ...]]:
    """Every layer of a model that is not compiled."""
    rows = [
        [
            layer["name"],
            layer["op_type"],
            layer["runs_in"],
            format_shape(layer["shape"]),
            str(stage["stage"]),
        ]
        for stage in stages
        for layer in stage["layers"]
    ]
    return make_table(_MODEL_COLUMNS, rows, width)


def float_reasons(stages: Iterable[Entry], width: int) -> list[RenderableType]:
    """Why layers run in float; nothing when none does."""
    rows = [
        [layer["name"], layer["op_type"], layer["reason"]]
        for stage in stages
        for layer in stage["layers"]
        if layer["runs_in"] == "float"
    ]
    if not rows:
        return []
    columns = (Column("float because", is_name=True), Column("operator", rank=1), Column("reason"))
    return ["", make_table(columns, rows, width)[0]]


def _feature(feature: Entry | None) -> list[str]:
    if feature is None:
        return ["float", "", "", "", "", ""]
    if feature["scale"] is None:
        return [feature["type"], "", "", "", "", ""]
    return [
        feature["type"],
        format_number(feature["scale"]),
        str(feature["zero_point"]),
        format_number(feature["min"]),
        format_number(feature["max"]),
        feature["origin"] or "",
    ]


def _headroom(bits: float | None) -> str:
    return "" if bits is None else f"{bits:.1f}"


def _parameter(layer: Entry) -> Entry:
    """The layer's weight, slope or constant operand; empty where it has none."""
    found: Entry = layer.get("weight") or layer.get("slope") or layer.get("operand") or {}
    return found


def _weight_scales(weight: Entry) -> str:
    if "scales" not in weight:
        return f"{weight['type']} {weight['scale']:.2g}" if weight else ""
    smallest, largest = (f"{weight[f'{which}_scale']:.2g}" for which in ("smallest", "largest"))
    scales = smallest if weight["scales"] == 1 else f"{smallest} .. {largest}"
    return f"{weight['type']} {scales}"
