"""The data door: every kind of data becomes frames of the network's inputs, lazily."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tidlq.errors import DataError, OptionError
from tidlq.graph.model import TensorSignature
from tidlq.importers.frame_source import evenly_spaced
from tidlq.importers.frames import open_frames
from tidlq.importers.preprocessing import Preprocessing


def _input(name: str, *shape: int, dtype: str = "float32") -> TensorSignature:
    return TensorSignature(name, np.dtype(dtype), shape, shape)


_IMAGE = (_input("image", 1, 3, 4, 6),)
_PAIR = (_input("a", 1, 2), _input("b", 1, 3, dtype="int64"))


def _pictures(folder: Path, *names: str) -> None:
    for value, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (value, value, value)).save(path)


def _values(frames: object) -> list[float]:
    return [float(next(iter(frame.values())).flat[0]) for frame in frames]  # type: ignore[attr-defined]


def test_folder_gives_its_pictures_sorted_with_subfolders(tmp_path: Path) -> None:
    _pictures(tmp_path, "b/1.png", "a/2.png", "c.png", "a/1.PNG")
    (tmp_path / "README.txt").write_text("no picture")
    (tmp_path / "._hidden.png").write_bytes(b"")
    source = open_frames(tmp_path, _IMAGE)
    assert source.length == 4
    assert _values(source) == [3, 1, 0, 2]
    assert source.frame_name(0) == f"picture {str(tmp_path / 'a' / '1.PNG')!r}"
    frame = next(iter(source))
    assert frame["image"].dtype == np.float32
    assert frame["image"].shape == (1, 3, 4, 6)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    _pictures(tmp_path, "real/1.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert open_frames(tmp_path, _IMAGE).length == 1


def test_glob_gives_its_matches_sorted(tmp_path: Path) -> None:
    _pictures(tmp_path, "b1.png", "a1.png", "a2.jpg")
    assert _values(open_frames(str(tmp_path / "*.png"), _IMAGE)) == [1, 0]
    assert open_frames(str(tmp_path / "**" / "*1.png"), _IMAGE).length == 2


def test_single_picture_and_list_of_paths_are_data(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    assert open_frames(tmp_path / "a.png", _IMAGE).length == 1
    assert _values(open_frames([tmp_path / "b.png", str(tmp_path / "a.png")], _IMAGE)) == [1, 0]


def test_source_starts_again_at_every_iteration(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png", "b.png")
    source = open_frames(tmp_path, _IMAGE)
    assert _values(source) == _values(source) == [0, 1]


def test_limit_spreads_over_data_of_known_length(tmp_path: Path) -> None:
    _pictures(tmp_path, *(f"{index:02}.png" for index in range(10)))
    source = open_frames(tmp_path, _IMAGE, limit=4)
    assert source.length == 4
    assert _values(source) == [0, 2, 5, 7]
    assert source.frame_name(3).endswith("07.png'")


@given(st.integers(1, 500), st.integers(1, 600))
def test_evenly_spaced_indices_ascend_inside_the_length(length: int, limit: int) -> None:
    chosen = list(evenly_spaced(length, limit))
    assert len(chosen) == min(length, limit)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert chosen[-1] < length
    gaps = np.diff(chosen)
    assert not gaps.size or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_an_option_error(limit: int) -> None:
    with pytest.raises(OptionError, match=f"number of frames is {limit}, allowed: 1 or more"):
        open_frames([np.zeros((1, 2), np.float32)], _PAIR[:1], limit=limit)
    with pytest.raises(OptionError):
        evenly_spaced(3, limit)


def test_list_of_mappings_is_data() -> None:
    frames = [{"a": np.float32([[i, 0]]), "b": np.int64([[1, 2, 3]])} for i in range(3)]
    source = open_frames(frames, _PAIR, limit=2)
    assert source.length == 2
    assert _values(source) == [0, 1]
    assert source.frame_name(1) == "frame 1"


def test_leading_axis_of_one_may_be_left_out() -> None:
    (frame,) = open_frames([np.float32([1, 2])], _PAIR[:1])
    assert frame["a"].shape == (1, 2)


def test_array_in_memory_is_cut_into_frames() -> None:
    source = open_frames(np.arange(6, dtype=np.float32).reshape(3, 2), _PAIR[:1])
    assert source.length == 3
    assert _values(source) == [0, 2, 4]


def test_mapping_of_arrays_is_cut_into_frames() -> None:
    source = open_frames({"b": np.zeros((2, 3), np.int64), "a": np.ones((2, 2), np.float32)}, _PAIR)
    assert [list(frame) for frame in source] == [["a", "b"], ["a", "b"]]


def test_function_is_called_for_every_iteration() -> None:
    def make() -> Iterator[dict[str, NDArray[np.float32]]]:
        for index in range(5):
            yield {"a": np.float32([[index, 0]])}

    source = open_frames(make, _PAIR[:1], limit=3)
    assert source.length is None
    assert _values(source) == _values(source) == [0, 1, 2]
    assert source.frame_name(2) == "frame 2 of data function"


def test_iterator_feeds_one_iteration_and_says_so_at_the_second() -> None:
    source = open_frames(iter([np.float32([[7, 0]])]), _PAIR[:1])
    assert _values(source) == [7]
    with pytest.raises(DataError, match="an iterator that is used up needs to be a list"):
        list(source)


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    wide = (_input("x", 1, 1, 256, 256),)
    peaks = []
    for count in (4, 64):
        path = tmp_path / f"{count}.npz"
        np.savez_compressed(path, x=np.zeros((count, 256, 256), np.uint8))
        tracemalloc.start()
        for _ in open_frames(path, wide, Preprocessing(scale=(1 / 255,))):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"a": np.float32([[1, 2]])}, "frame 0 lacks input 'b'."),
        (
            {"a": np.float32([[1, 2]]), "bb": np.int64([[1, 2, 3]])},
            "frame 0 holds 'bb', the network's inputs are 'a', 'b'. Did you mean 'b'?",
        ),
        (
            {"a": np.float32([[1, 2, 3]]), "b": np.int64([[1, 2, 3]])},
            "frame 0: input 'a' is float32 [1, 3], the network takes float32 [1, 2].",
        ),
        (
            {"a": np.float64([[1, 2]]), "b": np.int64([[1, 2, 3]])},
            "frame 0: input 'a' is float64 [1, 2], the network takes float32 [1, 2].",
        ),
        (
            {"a": [[1, 2], [3]], "b": np.int64([[1, 2, 3]])},
            "frame 0: input 'a' is not a regular array.",
        ),
        (np.ones(2), "frame 0 is a ndarray, allowed: a mapping of input names to arrays."),
        (5, "frame 0 is a int, allowed: a mapping of input names to arrays."),
    ],
)  # fmt: skip
def test_frame_that_does_not_fit_is_one_sentence(frame: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        list(open_frames([frame], _PAIR))
    assert str(caught.value) == message
    assert caught.value.exit_code == 1


def test_missing_path_lists_what_is_allowed() -> None:
    with pytest.raises(DataError) as caught:
        open_frames("no/such/folder", _IMAGE)
    assert str(caught.value) == (
        "'no/such/folder' does not exist; allowed: a folder, a glob, a file, or "
        "package.module:function."
    )


def test_folder_without_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"holds no picture and no .npy or .npz file \(1 other"):
        open_frames(tmp_path, _IMAGE)


def test_glob_without_match_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file matches"):
        open_frames(str(tmp_path / "*.png"), _IMAGE)


@pytest.mark.parametrize("data", [[], np.zeros((0, 2), np.float32)])
def test_empty_data_is_an_error(data: object) -> None:
    with pytest.raises(DataError, match="data holds no frame"):
        open_frames(data, _PAIR[:1])  # type: ignore[arg-type]


def test_function_without_frames_is_an_error() -> None:
    with pytest.raises(DataError, match="data function yields no frame"):
        list(open_frames(list, _PAIR))


@pytest.mark.parametrize("data", [b"bytes", 5, None])
def test_data_of_another_kind_is_an_error(data: object) -> None:
    with pytest.raises(DataError, match=f"data is a {type(data).__name__}, allowed: a path"):
        open_frames(data, _PAIR)  # type: ignore[arg-type]


def test_pictures_and_arrays_are_not_mixed(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    np.save(tmp_path / "b.npy", np.zeros((1, 3, 4, 6), np.float32))
    with pytest.raises(DataError, match="pictures and arrays are mixed"):
        open_frames(tmp_path, _IMAGE)


def test_pictures_feed_one_input_only(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"this one has 2 \('a', 'b'\): give .npz files"):
        open_frames(tmp_path, _PAIR)


def test_bad_picture_is_named_when_it_is_reached(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    frames = iter(open_frames(tmp_path, _IMAGE))
    next(frames)
    with pytest.raises(DataError, match=r"b.jpg' is not a picture of a known format"):
        next(frames)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_truncated_picture_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"a\.{suffix}'"):
        list(open_frames(path, (_input("image", 1, 3, 64, 64),)))


def test_picture_that_vanishes_is_named(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    source = open_frames(tmp_path, _IMAGE)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a.png' does not exist"):
        list(source)


def test_picture_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png' is 5 high and 5 wide after preprocessing"):
        list(open_frames(tmp_path, _IMAGE))
