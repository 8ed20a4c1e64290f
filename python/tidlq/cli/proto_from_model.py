"""`tidlq proto from-model`: the ranges of a pre-quantized model as a quantization proto."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError


def proto_from_model(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A pre-quantized model: ONNX with Q/DQ, or TFLite."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The proto: .prototxt, .pbtxt, .txt, .pb, .bin."
        ),
    ],
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write the ranges that a pre-quantized model states to a quantization proto.

    With quantization_scale_type 0, 1 or 4 the scales become that type's. The file can be edited and
    given to 'tidlq compile' (option quant_params_proto_path).
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)

    from tidlq.inspection import stated_ranges
    from tidlq.quantproto import write_quant_params
    from tidlq.target import Options

    parsed = Options.parse(options)
    if parsed.quant_params_proto_path is not None:
        raise OptionError("the proto's path is --output; quant_params_proto_path is not allowed.")
    stated = stated_ranges(model, parsed, shapes)
    write_quant_params(output, stated.saved)
    for notice in stated.notices:
        terminal.warn(notice)
    layers = len(stated.saved.layers)
    document = {"model": str(model), "file": str(output), "layers": layers}
    if terminal.json or not quiet:
        terminal.result(document, f"{output}: ranges of {count_of(layers, 'layer')}")
