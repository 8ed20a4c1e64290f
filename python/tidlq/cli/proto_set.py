"""`tidlq proto set`: ranges, bits and bias values changed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import Column, make_table
from tidlq.cli.terminal import Terminal

_COLUMNS = (
    Column("layer", is_name=True),
    Column("of"),
    Column("before", is_number=True),
    Column("after", is_number=True),
)


def set_in_proto(
    file: s.ProtoFile,
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET=VALUE...",
            help="LAYER.TENSOR=MIN:MAX, LAYER.TENSOR=unknown, LAYER.bias=V,V,..., LAYER.bits=16 or "
            "LAYER.parameter_bits=16. TENSOR is a tensor's name, or outputs, weights, bias, slope; "
            "LAYER may be a pattern with * and ?.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The proto to write; the same file if not given; - is standard output.",
        ),
    ] = None,
    form: s.OutputForm = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Change ranges, bits or bias values of a quantization proto.

    MIN or MAX alone keeps the other bound. 'unknown' takes a range or the values of a bias out:
    'tidlq compile' with calibration data then finds them anew and keeps the rest. Bits of a layer's
    features also become those of its parameters.
    """
    from tidlq.quantproto import edit_saved

    terminal = Terminal(json, quiet)
    edited = edit_saved(s.read_proto(file), assignments)
    rows = [[x.layer, x.field, x.before, x.after] for x in edited.changes]
    document = {
        "file": str(file),
        "changes": [
            {"layer": x.layer, "of": x.field, "before": x.before, "after": x.after}
            for x in edited.changes
        ],
    }
    table, _ = make_table(_COLUMNS, rows, terminal.width)
    s.write_proto(terminal, edited.saved, output or file, document, table, form=form)
