"""`tidlq trace`: what every layer computes, in integers and in float."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli.picture_preparation import prepare
from tidlq.cli.tables import Column, count_of, format_number, make_table
from tidlq.cli.terminal import Terminal


def trace_network(
    artifacts: p.ArtifactsFolder,
    model: Annotated[
        Path,
        typer.Option(metavar="MODEL", help="The model that the artifacts were compiled from."),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="DATA",
            help="A picture, an .npy or .npz file, a folder or glob of either, or "
            "package.module:function.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="The new folder to write.")
    ],
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="Frames to trace, at most.")] = 1,
    threads: p.Threads = 0,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write the features of every layer, integers and float, and what each layer lost.

    The folder gets two .npz files per frame, with the tensors in ONNX's axes, and trace.json. SQNR
    is that of all frames; clipped is the part of the float elements that the integers cannot reach.
    """
    terminal = Terminal(json, quiet)

    from tidlq.importers.frames import open_frames
    from tidlq.recompilation import recompile
    from tidlq.tracing import check_trace_folder, write_trace

    check_trace_folder(output)
    with terminal.progress() as progress:
        progress("compile", 0, None)
        compiled = recompile(artifacts, model)
        saved = compiled.artifacts
        preprocessing = prepare(_declared(artifacts), {})
        source = open_frames(data, saved.inputs, preprocessing, frames)
        layers = write_trace(
            compiled,
            source,
            output,
            threads=threads,
            progress=lambda done: progress("trace", done, source.length),
        )
    columns = (
        Column("layer", is_name=True),
        Column("operator", rank=1),
        Column("type"),
        Column("scale", is_number=True, rank=2),
        Column("SQNR dB", is_number=True),
        Column("largest error", is_number=True, rank=3),
        Column("clipped", is_number=True),
    )
    rows = [
        [
            layer.layer,
            layer.op_type,
            layer.type,
            format_number(layer.scale),
            "exact" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}",
            format_number(layer.max_abs_error),
            f"{layer.clipped:.2%}" if layer.clipped else "",
        ]
        for layer in layers
    ]
    document = {"output": str(output), "layers": [asdict(layer) for layer in layers]}
    table, _ = make_table(columns, rows, terminal.width)
    terminal.result(document, table, "", f"{output}: {count_of(len(layers), 'layer')}")


def _declared(artifacts: Path) -> dict[str, object]:
    """How pictures become inputs, as the compilation declared it."""
    from tidlq.artifacts import load_artifacts

    return dict(load_artifacts(artifacts).preprocessing)
