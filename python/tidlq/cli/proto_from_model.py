"""`tidlq proto from-model`: the ranges of a pre-quantized model or of artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError


def proto_from_model(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|ARTIFACTS",
            help="A pre-quantized model, ONNX with Q/DQ or TFLite, or a folder that 'tidlq "
            "compile' wrote.",
        ),
    ],
    output: s.Output = Path("-"),
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    form: s.OutputForm = None,
    tidl_strict: s.Strict = False,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write the ranges that a pre-quantized model or artifacts state to a quantization proto.

    With quantization_scale_type 0, 1 or 4 the scales of a model become that type's. The file can be
    edited and given to 'tidlq compile' (option quant_params_proto_path).
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)

    from tidlq.inspection import artifact_ranges, stated_ranges
    from tidlq.target import Options

    parsed = Options.parse(options)
    if parsed.quant_params_proto_path is not None:
        raise OptionError("the proto's path is --output; quant_params_proto_path is not allowed.")
    if model.is_dir():
        if options or shapes:
            raise OptionError("--option and --input-shape are for models, these are artifacts.")
        stated = artifact_ranges(model)
    else:
        stated = stated_ranges(model, parsed, shapes)
    for notice in stated.notices:
        terminal.warn(notice)
    layers = len(stated.saved.layers)
    document = {"model": str(model), "file": str(output), "layers": layers}
    shown = f"{output}: ranges of {count_of(layers, 'layer')}"
    s.write_proto(terminal, stated.saved, output, document, shown, form=form, strict=tidl_strict)
