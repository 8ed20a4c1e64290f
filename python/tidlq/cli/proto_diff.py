"""`tidlq proto diff`: what two quantization protos disagree about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli import proto_streams as s
from tidlq.cli.tables import Column, count_of, make_table
from tidlq.cli.terminal import Terminal
from tidlq.errors import QuantProtoError

if TYPE_CHECKING:
    from tidlq.quantproto import Difference, SavedRanges

_UNREADABLE = 2
_COLUMNS = (
    Column("layer", is_name=True),
    Column("of"),
    Column("what"),
    Column("A", is_number=True),
    Column("B", is_number=True),
    Column("steps", is_number=True),
    Column("scale", is_number=True, rank=2),
)


def diff_protos(
    first: Annotated[
        Path, typer.Argument(metavar="A", help=f"A proto: {s.SUFFIXES}; - is standard input.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The proto to compare it with.")],
    tolerance: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="STEPS",
            help="Ranges and biases that differ by at most so many steps of B's scale are equal.",
        ),
    ] = 0.0,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Show ranges, bits, biases and layers in which two quantization protos differ.

    Differences are counted in steps: integer units of the scale that B states or its range gives.
    Values of biases are in steps of their layer's output. The scale's column is the step of B over
    that of A: above 1, B is coarser.

    Exits with 0 when they are equal, 1 when they differ, 2 when one of them cannot be read.
    """
    from tidlq.quantproto import compare_saved

    terminal = Terminal(json, quiet)
    s.check_one_stream((first, second))
    before, after = _read(first), _read(second)
    found = compare_saved(before, after, tolerance)
    document = {
        "a": str(first),
        "b": str(second),
        "tolerance": tolerance,
        "equal": not found,
        "differences": [_entry(x) for x in found],
    }
    if not found:
        if terminal.json or not quiet:
            terminal.result(document, f"no differences{_within(tolerance)}")
        return
    table, left_out = make_table(_COLUMNS, [_row(x) for x in found], terminal.width)
    terminal.result(document, table, "", count_of(len(found), "difference") + _within(tolerance))
    if left_out:
        terminal.remark(f"No room for: {', '.join(left_out)}. A wider terminal or --json shows it.")
    raise typer.Exit(1)


def _read(path: Path) -> SavedRanges:
    try:
        return s.read_proto(path)
    except QuantProtoError as error:
        # 1 says that the files differ.
        error.exit_code = _UNREADABLE
        raise


def _within(tolerance: float) -> str:
    return f" beyond {tolerance:g} steps" if tolerance else ""


def _row(found: Difference) -> list[str]:
    ratio = _ratio(found)
    return [
        found.layer or "(file)",
        found.role,
        found.kind.value,
        _shown(found.before),
        _shown(found.after),
        "" if found.steps is None else f"{found.steps:.3g}",
        "" if ratio is None or ratio == 1 else f"x{ratio:.3g}",
    ]


def _ratio(found: Difference) -> float | None:
    if not found.step_before or not found.step_after:
        return None
    return found.step_after / found.step_before


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ":".join(f"{x:.6g}" for x in value)
    return str(value)


def _entry(found: Difference) -> dict[str, Any]:
    return {
        "what": found.kind.value,
        "layer": found.layer or None,
        "role": found.role or None,
        "tensor": found.tensor or None,
        "a": found.before,
        "b": found.after,
        "steps": found.steps,
        "step_a": found.step_before,
        "step_b": found.step_after,
        "step_ratio": _ratio(found),
    }
