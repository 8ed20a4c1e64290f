"""Measured cycles of layers: one's own table and the profile of TI's runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidlq.errors import DataError
from tidlq.importers.layer_cycles import LayerCycles, read_layer_cycles

_TITLES = "Layer,   Layer Cycles,kernelOnlyCycles, coreLoopCycles,"
_PREFIX = "[C7x_1 ] 12.5 s: "


def written(folder: Path, text: str, name: str = "cycles.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_table_has_cycles_by_precision(tmp_path: Path) -> None:
    text = "layer, 8x8, 16x16\nconv1, 1000, 4000\n conv2 , 5e2,\n"
    assert read_layer_cycles(written(tmp_path, text)) == {
        "conv1": LayerCycles(1000.0, None, 4000.0),
        "conv2": LayerCycles(500.0),
    }


@pytest.mark.parametrize("prefix", ["", _PREFIX])
def test_a_profile_has_cycles_by_number_and_its_last_run_counts(
    tmp_path: Path, prefix: str
) -> None:
    rows = ["  1,  900, 5, 5,", "  2,  50, 5, 5,", "  1,  700, 5, 5,", "  9,  1, 5, 5,"]
    lines = ["Network Cycles 6294", *(prefix + row for row in (_TITLES, *rows))]
    written(tmp_path, "0 0 data\n1 1 conv1\n2 4 relu_out\n", "net.layer_info.txt")
    found = read_layer_cycles(written(tmp_path, "\n".join(lines), "run.log"))
    assert found == {"conv1": LayerCycles(700.0), "relu_out": LayerCycles(50.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,cycles\nx,1\n", "begins with 'name, cycles', allowed: 'layer,8x8'"),
        ("layer,8x8\nx,many\n", "line 2: 'many' is no number of cycles"),
        ("layer,8x8\nx,-1\n", "line 2: '-1' is no number"),
        ("layer,8x8\nx,nan\n", "line 2: 'nan' is no number"),
        ("layer,8x8\nx,\n", "line 2: the cycles at 8x8 are missing"),
        ("layer,8x8\n", "has no row with cycles"),
        ("", "begins with ''"),
        (_TITLES + "\n1, 2,\n", r"layer_info.txt with their names"),
    ],
)
def test_what_is_no_file_of_cycles_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_layer_cycles(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv.*No such file"):
        read_layer_cycles(tmp_path / "nowhere.csv")
