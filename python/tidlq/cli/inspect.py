"""`tidlq inspect`: layer by layer, what artifacts do or what a model would become."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.layer_tables import (
    artifact_layers,
    float_reasons,
    is_selected,
    model_layers,
    select_layers,
)
from tidlq.cli.stage_drawing import draw_stages
from tidlq.cli.tables import count_of, facts_table, format_bytes, format_shape
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError

if TYPE_CHECKING:
    from rich.console import RenderableType


def inspect_network(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACTS|MODEL", help="A folder of artifacts, or an ONNX or TFLite model."
        ),
    ],
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Only layers whose name or operator matches: a part of it, or a pattern with * "
            "and ?; may be repeated.",
        ),
    ] = None,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Show every layer: where it runs and why, shape, range, scale, weights and accumulator.

    Below the layers it draws the stages: what each reads, runs and writes, in integers or in float.

    Headroom counts the bits that the largest possible sum leaves of an accumulator's 32 (64 with
    16-bit operands).

    Of a model that is not compiled it shows where each layer would run.
    """
    terminal = Terminal(json, quiet)
    shapes, options = p.read_input_shapes(input_shape), p.read_assignments(option)
    if not network.is_dir():
        _inspect_model(terminal, network, options, shapes, layer or [])
        return
    if shapes or options:
        raise OptionError("--option and --input-shape are for models, these are artifacts.")
    _inspect_artifacts(terminal, network, layer or [])


def _inspect_artifacts(terminal: Terminal, folder: Path, patterns: list[str]) -> None:
    from tidlq.artifacts import load_artifacts
    from tidlq.inspection import measure_footprint

    artifacts = load_artifacts(folder)
    footprint = measure_footprint(artifacts)
    stages = select_layers(artifacts.report["stages"], patterns)
    shapes = {item.name: list(item.shape) for item in artifacts.inputs}
    features = [
        {**feature, "shape": shapes.get(feature["tensor"], [])}
        for feature in artifacts.report["features"]
        if is_selected(feature["tensor"], "", patterns)
    ]
    document = {
        "artifacts": str(folder),
        "model": artifacts.name,
        "tool_version": artifacts.tool_version,
        "scheme": artifacts.scheme,
        "fixed_layers": footprint.fixed_layers,
        "float_nodes": footprint.float_nodes,
        "network_bytes": footprint.network_bytes,
        "island_bytes": footprint.island_bytes,
        "feature_bytes": footprint.feature_bytes,
        "inputs": [_signature(item) for item in artifacts.inputs],
        "outputs": [_signature(item) for item in artifacts.outputs],
        "options": dict(artifacts.options),
        "preprocessing": dict(artifacts.preprocessing),
        "features": features,
        "stages": stages,
    }
    table, left_out = artifact_layers(features, stages, terminal.width)
    terminal.result(
        document, table, *_places(document, patterns, terminal), "", facts_table(_facts(document))
    )
    if left_out:
        terminal.remark(f"No room for: {', '.join(left_out)}. A wider terminal or --json shows it.")


def _inspect_model(
    terminal: Terminal,
    model: Path,
    options: dict[str, str],
    shapes: dict[str, tuple[int, ...]],
    patterns: list[str],
) -> None:
    from tidlq.inspection import inspect_model
    from tidlq.target import Options

    graph, report = inspect_model(model, Options.parse(options), shapes)
    places = [item["runs_in"] for stage in report["stages"] for item in stage["layers"]]
    stages = select_layers(report["stages"], patterns)
    document = {
        "model": graph.name,
        "fixed_layers": places.count("fixed"),
        "float_nodes": places.count("float"),
        "notices": report["notices"],
        "inputs": [_signature(item) for item in graph.inputs],
        "outputs": [_signature(item) for item in graph.outputs],
        "stages": stages,
    }
    for notice in report["notices"]:
        terminal.warn(notice)
    table, _ = model_layers(stages, terminal.width)
    terminal.result(
        document, table, *_places(document, patterns, terminal), "", facts_table(_facts(document))
    )


def _places(
    document: dict[str, Any], patterns: list[str], terminal: Terminal
) -> list[RenderableType]:
    """Where the layers run and why: all stages, or the reasons of the layers asked for."""
    stages = document["stages"]
    if patterns:
        return float_reasons(stages, terminal.width)
    return ["", draw_stages(stages, document["inputs"], document["outputs"])]


def _signature(item: Any) -> dict[str, Any]:
    return {"name": item.name, "dtype": str(item.dtype), "shape": list(item.interface_shape)}


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    stages = len(document["stages"])
    facts = [("model", document["model"])]
    facts += [
        (role[:-1], f"{item['name']}  {item['dtype']} {format_shape(item['shape'])}")
        for role in ("inputs", "outputs")
        for item in document[role]
    ]
    counts = f"{document['fixed_layers']} fixed, {document['float_nodes']} float"
    facts.append(("layers", f"{counts}, in {count_of(stages, 'stage')}"))
    if "scheme" in document:
        sizes = f"{format_bytes(document['network_bytes'])} integer network"
        if document["island_bytes"]:
            sizes += f", {format_bytes(document['island_bytes'])} float islands"
        facts += [
            ("scheme", document["scheme"]),
            ("size", sizes),
            ("memory", f"{format_bytes(document['feature_bytes'])} of features per frame"),
        ]
    return facts
