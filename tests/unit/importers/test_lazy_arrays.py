"""Arrays in files, read row by row."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import DataError
from tidlq.importers.lazy_arrays import open_arrays


def _archive(path: Path, is_compressed: bool = True, **arrays: object) -> Path:
    (np.savez_compressed if is_compressed else np.savez)(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_archive_gives_the_rows_asked_for(tmp_path: Path, is_compressed: bool, order: str) -> None:
    values = np.asarray(np.arange(60, dtype=np.int16).reshape(5, 4, 3), order=order)  # type: ignore[call-overload]
    arrays = open_arrays(_archive(tmp_path / "a.npz", is_compressed, v=values))
    assert arrays["v"].shape == (5, 4, 3)
    assert arrays["v"].dtype == np.int16
    picked = list(arrays["v"].rows([(0, 1), (2, 4), (4, 5)]))
    for rows, (start, stop) in zip(picked, [(0, 1), (2, 4), (4, 5)], strict=True):
        np.testing.assert_array_equal(rows, values[start:stop])
        assert rows.flags.c_contiguous
        assert rows.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_gives_the_rows_asked_for(tmp_path: Path, order: str) -> None:
    values = np.asarray(np.arange(12, dtype=np.float32).reshape(4, 3), order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", values)
    (rows,) = open_arrays(tmp_path / "a.npy")[""].rows([(1, 3)])
    np.testing.assert_array_equal(rows, values[1:3])


def test_npy_that_ends_early_is_named_when_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"a.npy' .*: float64 \[4, 3\] does not fit into the file"):
        open_arrays(tmp_path / "a.npy")


def test_npz_members_are_found_by_name(tmp_path: Path) -> None:
    arrays = open_arrays(_archive(tmp_path / "a.npz", x=np.zeros((2, 3)), y=np.int64(0)))
    assert {name: array.shape for name, array in arrays.items()} == {"x": (2, 3), "y": ()}


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}' does not exist"):
        open_arrays(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"not an array at all, just some text"])
def test_file_of_something_else_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}' cannot be read as arrays"):
        open_arrays(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_python_objects_are_refused(tmp_path: Path, name: str) -> None:
    held = np.array([{"a": 1}], dtype=object)
    path = tmp_path / name
    if name == "a.npz":
        np.savez(path, v=held)
    else:
        np.save(path, held)
    with pytest.raises(DataError, match=f"{name}' .*: it holds Python objects, not numbers"):
        open_arrays(path)


def _outcome(path: Path) -> list[bytes] | None:
    try:
        arrays = open_arrays(path)
        return [
            rows.tobytes()
            for array in arrays.values()
            if array.shape
            for rows in array.rows((i, i + 1) for i in range(min(array.shape[0], 4)))
        ]
    except DataError:
        return None


@given(st.data(), st.sampled_from(["npy", "npz"]), st.booleans())
def test_damaged_file_gives_data_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, is_cut: bool
) -> None:
    buffer = io.BytesIO()
    values = np.arange(48, dtype=np.uint8).reshape(4, 12)
    if kind == "npy":
        np.save(buffer, values)
    else:
        np.savez_compressed(buffer, v=values)
    content = bytearray(buffer.getvalue())
    place = data.draw(st.integers(0, len(content) - 1))
    if is_cut:
        content = content[:place]
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("damaged") / f"a.{kind}"
    path.write_bytes(bytes(content))
    _outcome(path)
