"""An evaluation, for people and as JSON values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tidlq.cli.tables import Column, count_of, make_table

if TYPE_CHECKING:
    from rich.table import Table

    from tidlq.evaluate import Accuracy, Change, Evaluation, Share


def describe_evaluation(result: Evaluation) -> dict[str, Any]:
    """What `--json` prints about an evaluation; shares are from 0 to 1."""
    comparison = result.comparison
    return {
        "frames": result.frames,
        "scores": result.scores,
        "fixed": _accuracy(result.fixed),
        "float": _accuracy(result.reference),
        "agreement": None if comparison is None else _share(comparison.agreement),
        "difference": {
            "top1": None if comparison is None else _change(comparison.top1),
            "top5": None if comparison is None else _change(comparison.top5),
        },
        "outputs": [
            {
                "name": output.name,
                "sqnr_db": output.sqnr_db,
                "is_identical": output.mean_squared_error == 0.0,
                "mean_squared_error": output.mean_squared_error,
                "max_abs_error": output.max_abs_error,
                "cosine": output.cosine,
            }
            for output in result.outputs
        ],
    }


def evaluation_table(result: Evaluation, width: int) -> Table:
    """What people see of an evaluation: float and fixed side by side, with standard errors."""
    has_float = result.reference is not None
    rows: list[tuple[str, ...]] = []
    for title, name in (("top-1", "top1"), ("top-5", "top5")):
        fixed: Share | None = getattr(result.fixed, name, None)
        other: Share | None = getattr(result.reference, name, None)
        change: Change | None = getattr(result.comparison, name, None)
        if fixed is not None:
            rows.append((title, _percent(other), _percent(fixed), _points(change)))
    comparison = result.comparison
    if comparison is not None:
        changed = comparison.agreement.total - comparison.agreement.count
        rows.append(
            ("same class as float", "", _percent(comparison.agreement), f"{changed} differ")
        )
    rows += [
        (f"SQNR of {output.name}", "", format_sqnr(output.sqnr_db), "") for output in result.outputs
    ]
    columns = [
        Column(count_of(result.frames, "frame"), is_name=True),
        Column("float", is_number=True),
        Column("fixed", is_number=True),
        Column("difference", is_number=True),
    ]
    kept = [0, 1, 2, 3] if has_float else [0, 2, 3] if comparison is not None else [0, 2]
    table, _ = make_table(
        [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], width
    )
    return table


def format_sqnr(value: float) -> str:
    """Decibels; equal outputs have no noise."""
    return "no difference" if math.isinf(value) else f"{value:.2f} dB"


def _percent(share: Share | None) -> str:
    if share is None:
        return ""
    return f"{100 * share.value:.2f} % ±{100 * share.standard_error:.2f}"


def _points(change: Change | None) -> str:
    if change is None:
        return ""
    return f"{100 * change.difference:+.2f} ±{100 * change.standard_error:.2f}"


def _change(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "value": change.difference,
        "standard_error": change.standard_error,
        "only_fixed_right": change.only_fixed,
        "only_float_right": change.only_float,
        "total": change.total,
    }


def _accuracy(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    top5 = None if accuracy.top5 is None else _share(accuracy.top5)
    return {"top1": _share(accuracy.top1), "top5": top5}


def _share(share: Share) -> dict[str, Any]:
    return {
        "value": share.value,
        "standard_error": share.standard_error,
        "count": share.count,
        "total": share.total,
    }
