"""Tables of layers, from the reports of artifacts and models."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidlq.cli.tables import Column, format_number, format_shape, make_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Entry = Mapping[str, Any]

_ARTIFACT_COLUMNS = (
    Column("layer", is_name=True),
    Column("operator", rank=1),
    Column("runs in"),
    Column("shape", is_number=True, rank=1),
    Column("type"),
    Column("scale", is_number=True),
    Column("zero", is_number=True, rank=2),
    Column("min", is_number=True),
    Column("max", is_number=True),
    Column("range is", rank=2),
    Column("weights", is_number=True, rank=3),
    Column("weight scales", rank=3),
)

_MODEL_COLUMNS = (
    Column("layer", is_name=True),
    Column("operator"),
    Column("runs in"),
    Column("output shape", is_number=True),
    Column("stage", is_number=True),
)


def select_layers(stages: Iterable[Entry], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The stages with the layers that match one of the patterns; all of them without a pattern."""

    def matches(layer: Entry) -> bool:
        texts = (layer["name"], layer["op_type"])
        return not patterns or any(_matches(text, one) for text in texts for one in patterns)

    return [
        {**stage, "layers": [layer for layer in stage["layers"] if matches(layer)]}
        for stage in stages
    ]


def _matches(text: str, pattern: str) -> bool:
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(text, pattern)
    return pattern in text


def artifact_layers(
    features: Iterable[Entry], stages: Iterable[Entry], width: int
) -> tuple[Table, tuple[str, ...]]:
    """Every feature that enters from outside and every layer; and columns that found no room."""
    rows = [[feature["tensor"], "", "input", "", *_feature(feature), "", ""] for feature in features]
    for stage in stages:
        for layer in stage["layers"]:
            output = layer.get("output", {})
            rows.append(
                [
                    layer["name"],
                    _operator(layer),
                    layer["runs_in"],
                    format_shape(layer.get("shape", ())),
                    *_feature(output),
                    *_weight(layer.get("weight")),
                ]
            )
    return make_table(_ARTIFACT_COLUMNS, rows, width)


def model_layers(stages: Iterable[Entry], width: int) -> tuple[Table, tuple[str, ...]]:
    """Every layer of a model that is not compiled."""
    rows = [
        [
            layer["name"],
            _operator(layer),
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


def _operator(layer: Entry) -> str:
    # The nodes that a layer took in do not change what it is.
    absorbed = len(layer.get("nodes", ())) - 1
    return layer["op_type"] + (f" +{absorbed}" if absorbed > 0 else "")


def _feature(feature: Entry) -> list[str]:
    if not feature:
        return ["", "", "", "", "", ""]
    return [
        feature["type"],
        format_number(feature["scale"]),
        str(feature["zero_point"]),
        format_number(feature["min"]),
        format_number(feature["max"]),
        feature["origin"] or "",
    ]


def _weight(weight: Entry | None) -> list[str]:
    if weight is None:
        return ["", ""]
    smallest, largest = weight["smallest_scale"], weight["largest_scale"]
    scales = f"{smallest:.3g}"
    if smallest != largest:
        scales += f" .. {largest:.3g}"
    return [f"{weight['scales']} x {weight['type']}", scales]
