"""`tidlq proto export`: a quantization proto as another tool's file of ranges."""

from __future__ import annotations

import enum
import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.failures import naming_written
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError


class Target(enum.Enum):
    """What a proto is exported as."""

    AIMET = "aimet"


class Version(enum.Enum):
    """Version of AIMET's encodings."""

    V0 = "0.6.1"
    V1 = "1.0.0"
    V2 = "2.0.0"


def export_proto(
    file: s.ProtoFile,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write; - is standard output."
        ),
    ] = Path("-"),
    to: Annotated[  # noqa: ARG001 - there is one so far
        Target, typer.Option(help="aimet: encodings, a JSON file.")
    ] = Target.AIMET,
    version: Annotated[
        Version, typer.Option("--encodings", help="Version of AIMET's encodings.")
    ] = Version.V1,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="The model that the proto is of; parameters then have their names in it.",
        ),
    ] = None,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write a quantization proto as AIMET's encodings.

    Scales are those that the proto states, else those that its ranges give. A section that AIMET
    passes over keeps the ranges to the last bit, for 'tidlq proto import'.
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)
    if model is None and (options or shapes):
        raise OptionError("--option and --input-shape need a --model.")

    from tidlq.atomic_writes import replace_file
    from tidlq.quantproto.peers import format_aimet

    saved = s.read_proto(file)
    encodings = format_aimet(saved, version.value, _names(model, options, shapes))
    for text in encodings.left_out:
        terminal.warn(f"left out: {text}")
    document: dict[str, Any] = {
        "file": str(file),
        "version": version.value,
        "tensors": encodings.tensors,
        "left_out": list(encodings.left_out),
    }
    if output == s.STREAM and not json:
        terminal.content(encodings.content)
    elif output == s.STREAM:
        terminal.result({**document, "encodings": json_.loads(encodings.content)})
    else:
        with naming_written(output):
            replace_file(output, encodings.content)
        shown = f"{output}: {count_of(encodings.tensors, 'encoding')}, version {version.value}"
        if json or not quiet:
            terminal.result({**document, "output": str(output)}, shown)


def _names(
    model: Path | None, options: dict[str, str], shapes: dict[str, tuple[int, ...]]
) -> dict[str, str]:
    if model is None:
        return {}
    from tidlq.ranges import RangeTable, model_names

    return dict(model_names(RangeTable(model, options, input_shapes=shapes)))
