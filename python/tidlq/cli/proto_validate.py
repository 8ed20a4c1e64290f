"""`tidlq proto validate`: everything that is wrong with a quantization proto, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError


def validate_proto(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The proto: .prototxt, .pbtxt, .txt, .pb, .bin.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="The ONNX model that the proto is for."),
    ] = None,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """List what keeps a quantization proto from replacing calibration.

    With --model, also what the model needs and the proto does not state. Exits with 1 when there
    is a problem.
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)
    if model is None and (options or shapes):
        raise OptionError("--option and --input-shape need a --model.")

    from tidlq.inspection import find_proto_problems
    from tidlq.target import Options

    problems = find_proto_problems(file, model, Options.parse(options), shapes)
    document = {"file": str(file), "is_valid": not problems, "problems": list(problems)}
    if problems:
        lines = [f"{file}: {count_of(len(problems), 'problem')}"]
        lines += [f"  {' '.join(problem.split())}" for problem in problems]
        terminal.result(document, "\n".join(lines))
        raise typer.Exit(1)
    if terminal.json or not quiet:
        what = "complete" if model is None else f"complete for {model}"
        terminal.result(document, f"{file}: {what}, no problems")
