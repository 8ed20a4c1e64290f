"""The columns of the accuracy tables, as data: our options and the peers' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch

from peers.catalog import PEERS

OptionValue = int | str


@dataclass(frozen=True)
class Column:
    """One way of quantizing every network.

    Attributes:
        name: in tables and file names.
        table: the table that shows it.
        options: ours, when it is us.
        peer: the peer's name otherwise.
    """

    name: str
    table: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    peer: str | None = None


EQUALIZATION = "tidlq:cross_layer_equalization"
TYPE_0, TYPE_1, TYPE_4 = ({"quantization_scale_type": scale_type} for scale_type in (0, 1, 4))
CHANNEL_WISE = {"channel_wise_quantization": 1}
WIDE = {"tensor_bits": 16}
SWITCHES: Mapping[str, tuple[str, OptionValue, OptionValue]] = {
    "clipping": ("activation_clipping", 0, 1),
    "weight clipping": ("weight_clipping", 0, 1),
    "bias calibration": ("bias_calibration", 0, 1),
    "equalization": (EQUALIZATION, "off", "on"),
}


def _levels(name: str, table: str, scheme: Mapping[str, OptionValue]) -> list[Column]:
    return [
        Column(f"{name} level {level}", table, {**scheme, "accuracy_level": level})
        for level in (0, 1)
    ]


def _ingredients(name: str, scheme: Mapping[str, OptionValue]) -> list[Column]:
    """Level 9 with every switch off, with one on, with all on, and with one off."""
    table = f"ingredients, {name}"
    base = {**scheme, "accuracy_level": 9}
    off = {option: value for option, value, _ in SWITCHES.values()}
    on = {option: value for option, _, value in SWITCHES.values()}
    columns = [Column(f"{name} none", table, {**base, **off})]
    columns += [
        Column(f"{name} only {switch}", table, {**base, **off, option: value})
        for switch, (option, _, value) in SWITCHES.items()
    ]
    columns.append(Column(f"{name} all", table, {**base, **on}))
    columns += [
        Column(f"{name} without {switch}", table, {**base, **on, option: value})
        for switch, (option, value, _) in SWITCHES.items()
    ]
    return columns


def all_columns() -> list[Column]:
    """Every column of every table, in reading order."""
    return [
        *_levels("type 4", "type 4", TYPE_4),
        *_levels("type 0 channel-wise", "type 0", {**TYPE_0, **CHANNEL_WISE}),
        *_levels("type 0", "type 0", TYPE_0),
        *_levels("type 1", "type 1", TYPE_1),
        *_levels("type 1 channel-wise", "type 1", {**TYPE_1, **CHANNEL_WISE}),
        Column("type 4 16 bits", "16 bits", {**TYPE_4, **WIDE, "accuracy_level": 1}),
        Column("type 1 16 bits", "16 bits", {**TYPE_1, **WIDE, "accuracy_level": 1}),
        *(Column(name, "peers", peer=name) for name in PEERS),
        *_ingredients("type 4", TYPE_4),
        *_ingredients("type 1", TYPE_1),
    ]


def select_columns(patterns: list[str]) -> list[Column]:
    """The columns whose name or table matches one of the patterns."""
    return [
        column
        for column in all_columns()
        if any(fnmatch(text, p) for p in patterns for text in (column.name, column.table))
    ]
