"""`tidlq sensitivity --errors`: what each group of layers does to the outputs, by every measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidlq.cli.tables import Column, make_table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from tidlq.analysis import GroupSensitivity, OutputError
    from tidlq.cli.terminal import Terminal
    from tidlq.compilation import Compiled
    from tidlq.group_errors import GroupErrors
    from tidlq.importers.preprocessing import Preprocessing
    from tidlq.target import Options

_COLUMNS = (
    Column("layers", is_name=True),
    Column("state"),
    Column("MSE", is_number=True),
    Column("SQNR dB", is_number=True),
    Column("cosine", is_number=True, rank=1),
    Column("KL", is_number=True, rank=1),
    Column("own SQNR dB", is_number=True, rank=2),
    Column("metric", is_number=True, rank=2),
)


def measure(
    terminal: Terminal,
    path: Path,
    calib: str | None,
    options: Options,
    preprocessing: Preprocessing | None,
    shapes: Mapping[str, Sequence[int]],
    mode: str,
    metric: str | None,
    threads: int,
    rows: int,
) -> None:
    """Compiles with 8 bits, measures every group, prints."""
    from tidlq.compilation import compile as compile_
    from tidlq.group_errors import LEAST_ERROR_FRAMES, ErrorMode, measure_group_errors
    from tidlq.importers.frames import open_frames
    from tidlq.importers.generators import load_function

    own: Any = None if metric is None else load_function(metric)
    plain = options.override({"mixed_precision_factor": -1})
    with terminal.progress() as progress:

        def compile_with(bits: int) -> Compiled:
            return compile_(
                path,
                calib,
                plain.override({"tensor_bits": bits}),
                input_shapes=shapes,
                preprocessing=preprocessing,
                threads=threads,
                progress=progress,
            )

        compiled = compile_with(8)
        count = min(plain.calibration_frames, LEAST_ERROR_FRAMES)
        frames = open_frames(calib or "", compiled.graph.inputs, preprocessing, count)
        found = measure_group_errors(
            compiled,
            frames,
            ErrorMode(mode),
            wide=compile_with(16),
            metric=own,
            threads=threads,
            progress=lambda done, total: progress("measure groups", done, total),
        )
    document = describe(compiled.graph.name, found)
    table = errors_table(document, terminal.width, rows)
    terminal.result(document, table)


def describe(name: str, found: GroupErrors) -> dict[str, Any]:
    """Errors as JSON values; changes are relative to the base network."""
    base = found.sensitivity.base
    layers = {group.name: list(group.layers) for group in found.groups}
    return {
        "model": name,
        "mode": found.mode.value,
        "frames": found.sensitivity.frames,
        "base": _errors(base, base),
        "groups": [
            {
                "group": row.group,
                "layers": layers[row.group],
                "state": row.state,
                "gain": found.sensitivity.gain(row),
                **_errors(row, base),
            }
            for row in found.ranked()
        ],
    }


def errors_table(document: Mapping[str, Any], width: int, rows: int) -> Table:
    """The base first, then the groups that change most; of several outputs the worst one."""
    shown = [{"group": "base", "state": "", **document["base"]}]
    shown += document["groups"][: rows or None]
    return make_table(_COLUMNS, [_cells(row) for row in shown], width)[0]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    worst = max(row["outputs"].values(), key=lambda x: x["relative"])
    own = [x["sqnr_db"] for x in row["local"].values() if x["sqnr_db"] is not None]
    return (
        row["group"],
        row["state"],
        f"{worst['mse']:.3g}",
        _number(worst["sqnr_db"], ".2f"),
        _number(worst["cosine"], ".6f"),
        _number(worst["divergence"], ".3g"),
        _number(min(own, default=None), ".2f") if row["state"] else "",
        _number(row["metric"], ".4g"),
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _errors(row: GroupSensitivity, base: GroupSensitivity) -> dict[str, Any]:
    return {
        "outputs": {
            name: {
                **_measures(error),
                "mse_change": error.mean_squared_error - base.outputs[name].mean_squared_error,
                "relative_change": error.relative - base.outputs[name].relative,
            }
            for name, error in row.outputs.items()
        },
        "local": {name: _measures(error) for name, error in row.local.items()},
        "metric": row.metric,
    }


def _measures(error: OutputError) -> dict[str, float | None]:
    return {
        "mse": error.mean_squared_error,
        "relative": error.relative,
        "sqnr_db": error.sqnr_db if math.isfinite(error.sqnr_db) else None,
        "cosine": error.cosine if math.isfinite(error.cosine) else None,
        "max_abs_error": error.max_abs_error,
        "divergence": error.divergence,
    }
