"""`tidlq proto validate`: everything that is wrong with a quantization proto, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError


def validate_proto(
    file: s.ProtoFile,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="The model that the proto is for."),
    ] = None,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """List what keeps a quantization proto from replacing calibration, all of it at once.

    With --model, also what the model needs and the proto does not state. Texts have the line and
    column of each problem. Stored scales that contradict their ranges are remarks: ranges alone
    decide.

    Exits with 0 when there is no problem, 1 when there is one.
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)
    if model is None and (options or shapes):
        raise OptionError("--option and --input-shape need a --model.")

    from tidlq.inspection import review_proto
    from tidlq.target import Options

    content, form, name = s.read_input(file)
    found = review_proto(content, form, name, model, Options.parse(options), shapes)
    document = {
        "file": str(file),
        "is_valid": not found.problems,
        "problems": list(found.problems),
        "remarks": list(found.remarks),
    }
    for remark in found.remarks:
        terminal.warn(remark)
    if found.problems:
        lines = [f"{file}: {count_of(len(found.problems), 'problem')}"]
        lines += [f"  {' '.join(problem.split())}" for problem in found.problems]
        terminal.result(document, "\n".join(lines))
        raise typer.Exit(1)
    if terminal.json or not quiet:
        what = "complete" if model is None else f"complete for {model}"
        terminal.result(document, f"{file}: {what}, no problems")
