"""`tidlq proto convert`: a quantization proto in another form."""

from __future__ import annotations

from pathlib import Path

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal


def convert_proto(
    file: s.ProtoFile,
    output: s.Output = Path("-"),
    form: s.OutputForm = None,
    tidl_strict: s.Strict = False,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write a quantization proto as text, binary or JSON, or strictly as TI's tools read it.

    The three forms hold the same to the last bit.
    """
    terminal = Terminal(json, quiet)
    saved = s.read_proto(file)
    layers = len(saved.layers)
    document = {"file": str(file), "layers": layers, "tidl_strict": tidl_strict}
    shown = f"{output}: {count_of(layers, 'layer')}{', strict' if tidl_strict else ''}"
    s.write_proto(terminal, saved, output, document, shown, form=form, strict=tidl_strict)
