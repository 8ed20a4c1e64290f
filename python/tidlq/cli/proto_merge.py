"""`tidlq proto merge`: ranges of several calibration runs or shards as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import count_of
from tidlq.cli.terminal import Terminal


def merge_protos(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help=f"Protos of one model: {s.SUFFIXES}; - is stdin."),
    ],
    output: s.Output = Path("-"),
    drop_biases: Annotated[
        bool,
        typer.Option(
            "--drop-biases", help="Leave out the values of biases in which the files differ."
        ),
    ] = False,
    form: s.OutputForm = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Unite the ranges of several runs or shards: the smallest min and the largest max.

    Exact for accuracy_level 2, whose ranges are extremes: merging shards gives the file of one run
    over all frames. Of means and searched ranges the union is told to be more than that. What one
    file does not know is another's.

    Files of different models, and layers with other bits, types, biases or equalization are an
    error.
    """
    from tidlq.quantproto import merge_saved

    terminal = Terminal(json, quiet)
    s.check_one_stream(files)
    merged = merge_saved([(str(x), s.read_proto(x)) for x in files], drop_biases=drop_biases)
    layers = len(merged.saved.layers)
    document = {
        "files": [str(x) for x in files],
        "layers": layers,
        "notices": list(merged.notices),
    }
    for notice in merged.notices:
        terminal.warn(notice)
    shown = f"{output}: {count_of(layers, 'layer')} of {count_of(len(files), 'file')}"
    s.write_proto(terminal, merged.saved, output, document, shown, form=form)
