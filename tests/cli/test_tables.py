"""Tables: names fold at separators, columns give way in order, numbers read well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tidlq.cli.tables import Column, fold_name, format_bytes, format_number, make_table


@given(st.text("abc/._-:", max_size=60), st.integers(1, 30))
def test_folding_keeps_every_character_and_the_width(name: str, width: int) -> None:
    folded = fold_name(name, width)
    assert folded.replace("\n", "") == name
    assert all(0 < len(line) <= width for line in folded.split("\n")) or name == ""


def test_names_fold_after_separators() -> None:
    assert fold_name("model/depthwise_conv2d_1/depthwise", 25) == (
        "model/depthwise_conv2d_1/\ndepthwise"
    )
    assert fold_name("abcdefgh", 3) == "abc\ndef\ngh"
    assert fold_name("short", 25) == "short"


_COLUMNS = (
    Column("name", is_name=True),
    Column("first to go", rank=2),
    Column("second to go", rank=1),
    Column("value", is_number=True),
)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (80, ()),
        (48, ("first to go",)),
        (30, ("first to go", "second to go")),
        (10, ("first to go", "second to go")),
    ],
)
def test_columns_give_way_by_rank(width: int, left_out: tuple[str, ...]) -> None:
    rows = [["a/long/name/of/a/layer", "x", "y", "1.5"], ["b", "x", "y", "12.25"]]
    table, missing = make_table(_COLUMNS, rows, width)
    assert missing == left_out
    console = Console(width=max(width, 30), file=None, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = capture.get().splitlines()
    assert all(len(line.rstrip()) <= max(width, 30) for line in lines)
    # Numbers end in the same column.
    assert len({line.rstrip().__len__() for line in lines[2:] if line.rstrip()[-1:].isdigit()}) == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (43_413, "43.4 kB"), (4_800_000, "4.8 MB"),
     (5_000_000_000_000, "5000.0 GB")],
)  # fmt: skip
def test_bytes_have_a_unit(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_numbers_have_four_digits_and_may_be_absent() -> None:
    assert format_number(0.0235294117) == "0.02353"
    assert format_number(2.275e-05) == "2.275e-05"
    assert format_number(None) == ""
