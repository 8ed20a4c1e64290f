"""The accuracy page keeps what is not measured anew, and says when each column was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pytest

RENDER = Path(__file__).parents[2] / "benches" / "render_accuracy.py"
MEASURED = datetime(2026, 2, 3, 12)
KEPT = """# Accuracy

Every column has the same calibration frames (up to 20) and the same evaluation data.

| network | metric | samples | float (s.e.) | type 4 level 0 | type 4 level 1 | ORT min/max |
|---|---:|---:|---:|---:|---:|---:|
| small | top-1 | 100 | 80.00 (4.00) | 78.00 +-1.00 | 79.50 +-0.50 | none |
| other | top-1 | 100 | 70.00 (4.58) |  | 69.00 +-0.30 | 60.00 +-2.00 |

- small, ORT min/max: it refuses the network
- measured on 2026-01-31: type 4 level 1; ORT min/max
- measured by 2026-01-15: type 4 level 0
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "kept.md"
    file.write_text(KEPT)
    return file


def rendered(page: Path, **results: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """Renders results, by column of the network "small", beside a page."""
    folder = page.parent / "results"
    for name, changes in results.items():
        column = name.replace("_", " ")
        result = {
            "network": "small",
            "column": column,
            "metric": "top-1",
            "percent": 79.0,
            "float_percent": 80.0,
            "samples": 100,
            "float_error": 4.0,
            "group_differences": [-1.0, 0.0],
            "frames": 20,
            **changes,
        }
        file = folder / "small" / f"{column}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result))
        os.utime(file, (MEASURED.timestamp(),) * 2)
    command = [sys.executable, str(RENDER), "--results", str(folder), "--keep", str(page)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def row(text: str, network: str) -> list[str]:
    """Cells of a network in the page's first table."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {network} |"))
    return [cell.strip() for cell in line[1:-1].split("|")]


def test_without_results_the_page_is_what_it_was(page: Path) -> None:
    first = rendered(page)
    assert first.returncode == 0, first.stderr
    for network in ("small", "other"):
        assert row(first.stdout, network) == row(KEPT, network)
    for line in KEPT.splitlines()[-3:]:
        assert line in first.stdout
    page.write_text(first.stdout)
    assert rendered(page).stdout == first.stdout


def test_a_new_result_takes_the_place_of_its_cell_alone(page: Path) -> None:
    found = rendered(page, type_4_level_1={})
    assert found.returncode == 0, found.stderr
    assert row(found.stdout, "small") == [
        *("small", "top-1", "100", "80.00 (4.00)"),
        *("78.00 +-1.00", "79.00 +-1.00", "none"),
    ]
    assert row(found.stdout, "other") == row(KEPT, "other")
    today = date(MEASURED.year, MEASURED.month, MEASURED.day)
    notes = [line for line in found.stdout.splitlines() if line.startswith("- measured")]
    assert f"- measured on {today}: type 4 level 1 of small" in notes
    assert "- measured on 2026-01-31: type 4 level 1 of the other networks; ORT min/max" in notes
    assert "- measured by 2026-01-15: type 4 level 0" in notes


def test_a_kept_column_and_a_new_one_are_compared_without_pairs(page: Path) -> None:
    found = rendered(page, type_4_level_1={})
    assert "| small | +1.00 +-~1.41 |" in found.stdout
    page.write_text(found.stdout)
    assert "| small | +1.00 +-~1.41 |" in rendered(page).stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 200}, "not of the same evaluation data"),
        ({"float_percent": 81.0}, "not of the same evaluation data"),
        ({"frames": 21}, "up to 20 calibration frames, results more"),
    ],
)
def test_results_of_other_data_do_not_stand_beside_the_page(
    page: Path, changes: dict[str, object], said: str
) -> None:
    found = rendered(page, type_4_level_1=changes)
    assert found.returncode != 0
    assert said in " ".join(found.stderr.split())
    assert not found.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- measured by 2026-01-15: type 4 level 0\n", "", "does not say when it was measured"),
        ("(up to 20)", "", "is no accuracy page"),
        ("78.00 +-1.00", "seventy", "is not a figure"),
        ("- small, ORT min/max: it refuses the network\n", "", "does not say why"),
    ],
)
def test_a_page_that_lacks_what_it_should_say_is_refused(
    page: Path, old: str, new: str, said: str
) -> None:
    page.write_text(KEPT.replace(old, new))
    found = rendered(page)
    assert found.returncode != 0
    assert said in " ".join(found.stderr.split())
