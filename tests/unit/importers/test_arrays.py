"""Arrays of frames: shapes, dtypes, names, several files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import DataError, OptionError
from tidlq.graph.model import TensorSignature
from tidlq.importers.frames import open_frames
from tidlq.importers.preprocessing import ChannelOrder, Preprocessing


def _input(name: str, *shape: int, dtype: str = "float32") -> TensorSignature:
    return TensorSignature(name, np.dtype(dtype), shape, shape)


_GREY = (_input("image", 1, 1, 4, 6),)
_PAIR = (_input("a", 1, 2), _input("b", 1, 3, dtype="int64"))


@pytest.mark.parametrize("shape", [(5, 1, 4, 6), (5, 1, 1, 4, 6)])
def test_leading_axis_counts_frames(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.arange(120, dtype=np.float32).reshape(shape)
    np.save(tmp_path / "a.npy", values)
    source = open_frames(tmp_path / "a.npy", _GREY, limit=2)
    assert source.length == 2
    first, second = source
    np.testing.assert_array_equal(first["image"], values.reshape(5, 1, 1, 4, 6)[0])
    np.testing.assert_array_equal(second["image"], values.reshape(5, 1, 1, 4, 6)[2])
    assert source.frame_name(1) == f"frame 2 of {str(tmp_path / 'a.npy')!r}"


def test_fixed_batch_takes_as_many_rows_per_frame() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    frames = list(open_frames(rows, (_input("a", 3, 2),)))
    np.testing.assert_array_equal(frames[1]["a"], rows[3:])
    with pytest.raises(DataError, match="takes frames of"):
        open_frames(rows[:4], (_input("a", 3, 2),))


def test_input_of_one_axis_takes_stacked_frames() -> None:
    frames = list(open_frames(np.zeros((4, 10), np.float32), (_input("a", 10),)))
    assert [frame["a"].shape for frame in frames] == [(10,)] * 4


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 4, 6, 1), (3, 1, 4, 6)])
def test_8_bit_arrays_go_through_preprocessing(shape: tuple[int, ...]) -> None:
    pixels = np.arange(72, dtype=np.uint8).reshape(shape)
    frames = list(open_frames(pixels, _GREY, Preprocessing(mean=(1,), scale=(0.5,))))
    expected = (pixels.reshape(3, 1, 1, 4, 6).astype(np.float32) - 1) * np.float32(0.5)
    np.testing.assert_array_equal([frame["image"] for frame in frames], expected)


def test_8_bit_colour_arrays_are_resized_and_reordered() -> None:
    pixels = np.zeros((2, 8, 12, 3), np.uint8)
    pixels[..., 0] = 9
    preprocessing = Preprocessing(resize=(4, 6), channel_order=ChannelOrder.BGR)
    frame = next(iter(open_frames(pixels, (_input("image", 1, 3, 4, 6),), preprocessing)))
    assert frame["image"][0, :, 0, 0].tolist() == [0, 0, 9]


def test_ready_float_arrays_are_not_preprocessed() -> None:
    ready = np.ones((2, 1, 4, 6), np.float32)
    (first, _) = open_frames(ready, _GREY, Preprocessing(scale=(0.5,)))
    assert (first["image"] == 1).all()


def test_8_bit_input_takes_8_bit_arrays_as_they_are() -> None:
    raw = np.full((2, 1, 4, 6), 200, np.uint8)
    frames = list(open_frames(raw, (_input("image", 1, 1, 4, 6, dtype="uint8"),)))
    assert frames[0]["image"].dtype == np.uint8
    assert (frames[0]["image"] == 200).all()


def test_archive_feeds_several_inputs_by_name(tmp_path: Path) -> None:
    a = np.arange(8, dtype=np.float32).reshape(4, 2)
    b = np.arange(12, dtype=np.int64).reshape(4, 3)
    np.savez(tmp_path / "f.npz", b=b, a=a, y=np.zeros(4))
    frames = list(open_frames(tmp_path / "f.npz", _PAIR, limit=2))
    np.testing.assert_array_equal(frames[1]["a"], a[2:3])
    np.testing.assert_array_equal(frames[1]["b"], b[2:3])


@pytest.mark.parametrize("names", [("image",), ("anything",), ("x", "other"), ("anything", "y")])
def test_single_input_finds_its_array(tmp_path: Path, names: tuple[str, ...]) -> None:
    held = {name: np.full((2, 1, 4, 6), i, np.float32) for i, name in enumerate(names)}
    np.savez(tmp_path / "f.npz", **held)  # type: ignore[arg-type]
    (first, _) = open_frames(tmp_path / "f.npz", _GREY)
    assert (first["image"] == 0).all()


def test_several_files_are_joined_in_order(tmp_path: Path) -> None:
    for index, count in enumerate((2, 1, 3)):
        np.save(tmp_path / f"{index}.npy", np.full((count, 2), index, np.float32))
    source = open_frames(tmp_path, _PAIR[:1])
    assert source.length == 6
    assert [frame["a"][0, 0] for frame in source] == [0, 0, 1, 2, 2, 2]
    assert source.frame_name(3) == f"frame 0 of {str(tmp_path / '2.npy')!r}"
    assert [f["a"][0, 0] for f in open_frames(tmp_path, _PAIR[:1], limit=3)] == [0, 1, 2]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
)
def test_any_limit_over_any_files_gives_the_frames_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[int],
    limit: int,
    is_zipped: bool,
    is_fortran: bool,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    whole = np.arange(sum(counts) * 2, dtype=np.float32).reshape(-1, 2)
    start = 0
    for index, count in enumerate(counts):
        part = np.asarray(whole[start : start + count], order="F" if is_fortran else "C")
        start += count
        if is_zipped:
            np.savez(folder / f"{index}.npz", v=part)
        else:
            np.save(folder / f"{index}.npy", part)
    picked = [frame["a"][0].tolist() for frame in open_frames(folder, _PAIR[:1], limit=limit)]
    same = [frame["a"][0].tolist() for frame in open_frames(whole, _PAIR[:1], limit=limit)]
    assert picked == same
    assert len(picked) == min(limit, len(whole))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((5, 4, 6), np.uint8),
            (
                "data: the array for input 'image' is uint8 [5, 4, 6], the network takes frames of "
                "float32 [1, 1, 4, 6]: give float32 [N, 1, 4, 6], or state the preprocessing of "
                "8-bit pictures."
            ),
        ),
        (
            np.zeros((5, 1, 4, 6), np.float64),
            (
                "data: the array for input 'image' is float64 [5, 1, 4, 6], the network takes "
                "frames of float32 [1, 1, 4, 6]: give float32 [N, 1, 4, 6]."
            ),
        ),
        (
            np.array(3, np.float32),
            (
                "data: the array for input 'image' is float32 [], the network takes frames of "
                "float32 [1, 1, 4, 6]: give float32 [N, 1, 4, 6]."
            ),
        ),
    ],
)
def test_array_that_does_not_fit_is_one_sentence(array: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_frames(array, _GREY)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_archive_without_the_inputs_arrays_lists_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", a=np.zeros((2, 2), np.float32), c=np.zeros((2, 3), np.int64))
    with pytest.raises(DataError) as caught:
        open_frames(tmp_path / "f.npz", _PAIR)
    assert str(caught.value) == (
        f"{str(tmp_path / 'f.npz')!r} holds 'a', 'c', none of them for input 'b': give an .npz "
        "file with an array for each of 'a', 'b'."
    )


def test_single_array_cannot_feed_two_inputs() -> None:
    with pytest.raises(DataError, match="data holds one array without a name"):
        open_frames(np.zeros((2, 2), np.float32), _PAIR)


def test_empty_archive_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz")
    with pytest.raises(DataError, match="holds no array"):
        open_frames(tmp_path / "f.npz", _GREY)


def test_inputs_with_different_numbers_of_frames_are_an_error() -> None:
    arrays = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((3, 3), np.int64)}
    with pytest.raises(DataError, match=r"different numbers of frames per input \('a': 2, 'b': 3"):
        open_frames(arrays, _PAIR)


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((9, 1, 4, 6)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"f.npz' cannot be read as arrays"):
        list(open_frames(path, _GREY))


def test_preprocessing_that_does_not_fit_the_input_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="'mean' has 3 values, input 'image' has 1 channels"):
        open_frames(np.zeros((2, 4, 6), np.uint8), _GREY, Preprocessing(mean=(1, 2, 3)))


def test_8_bit_picture_of_the_wrong_size_names_its_frame() -> None:
    with pytest.raises(DataError, match="frame 0 of data is 5 high and 6 wide"):
        list(open_frames(np.zeros((2, 5, 6), np.uint8), _GREY, Preprocessing()))
