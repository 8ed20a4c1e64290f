"""Quantization protos as commands take and give them: files, or standard input and output."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli.failures import naming_written
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError, QuantProtoError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidlq.quantproto import ProtoForm, SavedRanges

STREAM = Path("-")
SUFFIXES = ".prototxt, .pbtxt, .txt, .pb, .bin, .json"


class Form(enum.Enum):
    """What standard output is to hold."""

    TEXT = "text"
    BINARY = "binary"
    JSON = "json"


ProtoFile = Annotated[
    Path, typer.Argument(metavar="FILE", help=f"The proto: {SUFFIXES}; - is standard input.")
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help=f"The proto to write: {SUFFIXES}; - is standard output.",
    ),
]
OutputForm = Annotated[
    Form | None,
    typer.Option("--form", help="Form of the proto on standard output; text if not given."),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--tidl-strict",
        help="Write what TI's reader accepts and nothing else: published fields only. What had to "
        "be left out is told.",
    ),
]


def read_input(path: Path) -> tuple[bytes, ProtoForm | None, str]:
    """The content of a proto, its form (None: to be told from the content), and its name.

    Raises:
        QuantProtoError: It cannot be read, or its extension is unknown.
    """
    from tidlq.quantproto import form_of_path
    from tidlq.quantproto.files import name_of, read_content

    if path != STREAM:
        form = form_of_path(path)
        return read_content(path), form, name_of(path)
    try:
        return sys.stdin.buffer.read(), None, "the quantization proto on standard input"
    except OSError as error:
        raise QuantProtoError(f"standard input cannot be read: {error.strerror}.") from None


def read_any(path: Path, what: str) -> tuple[bytes, str]:
    """The content of a file or of standard input, and its name for messages.

    Raises:
        QuantProtoError: It cannot be read.
    """
    if path == STREAM:
        return read_input(path)[0], f"the {what} on standard input"
    try:
        return path.read_bytes(), f"{what} {str(path)!r}"
    except OSError as error:
        raise QuantProtoError(f"{what} {str(path)!r} cannot be read: {error.strerror}.") from None


def read_proto(path: Path) -> SavedRanges:
    """Reads a proto from a file or from standard input.

    Raises:
        QuantProtoError: It cannot be read or parsed, or contradicts itself.
    """
    from tidlq.quantproto import parse_quant_params

    return parse_quant_params(*read_input(path))


def check_one_stream(paths: Iterable[Path]) -> None:
    """Refuses to read standard input twice.

    Raises:
        OptionError: More than one path is '-'.
    """
    if list(paths).count(STREAM) > 1:
        raise OptionError("standard input (-) can be read only once.")


def write_proto(
    terminal: Terminal,
    saved: SavedRanges,
    output: Path,
    document: dict[str, Any],
    shown: RenderableType,
    *,
    form: Form | None = None,
    strict: bool = False,
) -> None:
    """Writes a proto to a file or to standard output, and tells about it.

    On standard output a JSON document holds the proto under the key "proto".

    Args:
        terminal: of the command.
        saved: what to write.
        output: a file, or '-'.
        document: what `--json` prints.
        shown: the same for people, where standard output is free for it.
        form: of standard output.
        strict: published fields only; what is left out is told.

    Raises:
        OptionError: A form is given for a file, whose extension tells it.
        QuantProtoError: The proto cannot be written.
        OutputError: The file cannot be written.
    """
    from tidlq.quantproto import (
        ProtoForm,
        find_left_out,
        find_unsuitable,
        format_quant_params,
        write_quant_params,
    )

    if form is not None and output != STREAM:
        raise OptionError(
            "--form is for standard output (-o -); a file's extension tells its form."
        )
    left_out = find_left_out(saved) if strict else ()
    unsuitable = find_unsuitable(saved) if strict else ()
    if strict:
        document = {**document, "left_out": list(left_out), "unsuitable": list(unsuitable)}
    if output == STREAM and not terminal.json:
        chosen = ProtoForm((form or Form.TEXT).value)
        terminal.content(format_quant_params(saved, form=chosen, strict=strict))
    elif output == STREAM:
        content = format_quant_params(saved, form=ProtoForm.JSON, strict=strict)
        terminal.result({**document, "proto": json.loads(content)})
    else:
        with naming_written(output):
            write_quant_params(output, saved, strict=strict)
        if terminal.json or not terminal.quiet:
            terminal.result({**document, "output": str(output)}, shown)
    for text in left_out:
        terminal.warn(f"left out: {text}")
    for text in unsuitable:
        terminal.warn(text)
