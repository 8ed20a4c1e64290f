"""`tidlq proto import`: range files of other tools as a quantization proto."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError


class Tool(enum.Enum):
    """Which tool wrote a file."""

    AUTO = "auto"
    AIMET = "aimet"
    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


def import_ranges(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="AIMET's encodings (any version), a calibration cache of ONNX Runtime (.json, "
            ".cache, .flatbuffers) or of TensorRT; - is standard input.",
        ),
    ],
    model: Annotated[Path, typer.Option(metavar="MODEL", help="The model that the ranges are of.")],
    output: s.Output = Path("-"),
    tool: Annotated[
        Tool, typer.Option("--from", help="What wrote the file; auto tells it from the content.")
    ] = Tool.AUTO,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    form: s.OutputForm = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Turn a range file of AIMET, ONNX Runtime or TensorRT into a quantization proto.

    Tensors are found by their names in the model. Feature maps that the file does not know stay
    without a range: 'tidlq compile' with calibration data finds these and keeps the others. Weights
    have their own range within the file's.
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)

    from tidlq.quantproto.peers import PeerTool, read_peer_ranges
    from tidlq.ranges import RangeTable, take_ranges
    from tidlq.target import Options

    parsed = Options.parse(options)
    if parsed.quant_params_proto_path is not None:
        raise OptionError("the proto's path is --output; quant_params_proto_path is not allowed.")
    content, name = s.read_any(file, "range file")
    known = None if tool is Tool.AUTO else PeerTool(tool.value)
    peer = read_peer_ranges(content, name, known)
    table = RangeTable(model, parsed, input_shapes=shapes)
    taken = take_ranges(table, peer)
    for notice in taken.notices:
        terminal.warn(notice)
    document = {
        "file": str(file),
        "tool": peer.tool,
        "model": str(model),
        "features": taken.features,
        "parameters": taken.parameters,
        "missing": list(taken.missing),
        "unused": list(taken.unused),
        "left_out": list(peer.left_out),
    }
    shown = (
        f"{output}: {count_of(taken.features, 'range')} of feature maps, "
        f"{taken.parameters} of parameters, from {peer.tool}"
    )
    s.write_proto(terminal, table.saved, output, document, shown, form=form)
