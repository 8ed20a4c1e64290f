"""Arrays that lie in a file while nobody reads them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tidlq.paging import LEAST_PAGED, PagedArrays, give_back_freed_memory, page_out

LARGE = np.arange(LEAST_PAGED // 4, dtype=np.float32)


def resident() -> int:
    """Bytes of this process in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_paged_arrays_have_the_values_types_and_shapes_of_the_given_ones() -> None:
    given = {
        "a": LARGE.reshape(16, -1),
        "odd": np.array([1, 2, 3], np.int8),
        "transposed": np.arange(6.0).reshape(2, 3).T,
    }
    paged = PagedArrays(given)
    for name, array in given.items():
        assert paged.arrays[name].dtype == array.dtype
        assert np.array_equal(paged.arrays[name], array)


def test_arrays_that_rested_have_their_values() -> None:
    paged = PagedArrays({"a": LARGE})
    paged.rest()
    assert np.array_equal(paged.arrays["a"], LARGE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_arrays_at_rest_take_no_memory() -> None:
    paged = PagedArrays({"a": LARGE})
    assert paged.arrays["a"].sum() > 0
    before = resident()
    paged.rest()
    assert before - resident() > LEAST_PAGED // 2


def test_small_arrays_stay_in_memory() -> None:
    assert page_out({"a": LARGE[:-1]}) is None
    assert page_out({"a": LARGE}) is not None


def test_without_room_for_a_file_arrays_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert page_out({"a": LARGE}) is None


def test_freed_memory_can_be_given_back_at_any_time() -> None:
    give_back_freed_memory()
    give_back_freed_memory()
