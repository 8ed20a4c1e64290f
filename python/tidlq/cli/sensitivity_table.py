"""What each group of layers costs and gains, and the curve, for people and as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidlq.cli.tables import Column, make_table

if TYPE_CHECKING:
    from rich.table import Table

    from tidlq.decision import MixedPrecision

_COLUMNS = (
    Column("layers", is_name=True),
    Column("state"),
    Column("noise", is_number=True),
    Column("SQNR dB", is_number=True),
    Column("latency", is_number=True, rank=1),
    Column("chosen"),
)
_CURVE = (
    Column("x T_8", is_number=True),
    Column("latency ms", is_number=True),
    Column("SQNR dB", is_number=True),
    Column("layers", is_number=True),
    Column("chosen"),
)


def describe_sensitivity(mix: MixedPrecision) -> list[dict[str, Any]]:
    """Groups and states, those first whose own noise is most of the error.

    `noise` is the relative squared error of the outputs that the state takes away where all else
    has 16 bits, `share` its part of the sum over groups, `latency_ms` what the state adds.

    Args:
        mix: the measured network.
    """
    widest = {group.name: group.states[-1] for group in mix.groups}
    total = sum(
        max(gain, 0.0) for (name, state), gain in mix.gains.items() if state is widest[name]
    )
    layers = {group.name: list(group.layers) for group in mix.groups}
    chosen = dict(mix.chosen.states)
    rows = [
        {
            "group": name,
            "layers": layers[name],
            "feature_bits": state.feature_bits,
            "parameter_bits": state.parameter_bits,
            "noise": gain,
            "sqnr_db": -10 * math.log10(gain) if gain > 0 else None,
            "share": gain / total if total > 0 else 0.0,
            "latency_ms": mix.prices[name, state],
            "is_chosen": chosen.get(name) is state,
        }
        for (name, state), gain in mix.gains.items()
    ]
    return sorted(rows, key=lambda row: (-row["noise"], row["group"], row["feature_bits"]))


def sensitivity_table(rows: Sequence[Mapping[str, Any]], width: int) -> tuple[Table, Sequence[str]]:
    """Groups and states, the noisiest first.

    Args:
        rows: of `describe_sensitivity`.
        width: of the terminal.
    """
    return make_table(
        _COLUMNS,
        [
            (
                _named(row),
                f"{row['feature_bits']}/{row['parameter_bits']}",
                f"{row['share']:.1%}",
                "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
                f"{row['latency_ms'] * 1e3:+.2f} us",
                "*" if row["is_chosen"] else "",
            )
            for row in rows
        ],
        width,
    )


def curve_table(points: Sequence[Mapping[str, Any]], width: int) -> tuple[Table, Sequence[str]]:
    """The choices that are worth their latency.

    Args:
        points: the report's curve.
        width: of the terminal.
    """
    return make_table(
        _CURVE,
        [
            (
                f"{point['factor']:.3f}",
                f"{point['latency_ms']:.4f}",
                "" if point["sqnr_db"] is None else f"{point['sqnr_db']:.2f}",
                str(point["layers"]),
                "*" if point["is_chosen"] else "",
            )
            for point in points
        ],
        width,
    )


def _named(row: Mapping[str, Any]) -> str:
    layers = row["layers"]
    if not layers:
        return f"{row['group']} (input)"
    return layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
