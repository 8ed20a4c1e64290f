"""Checkpoints cost progress at worst: what is damaged, stale or of other data is never used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidlq.calibration import (
    CheckpointFile,
    KeptFrames,
    MeasuredFeatures,
    NoCheckpoints,
    checkpoints,
    measure_features,
    open_checkpoints,
)
from tidlq.calibration.bias.state import LayerCorrection, SweepState
from tidlq.graph.model import Graph
from tidlq.importers.frame_source import Frame, FrameSource

TENSORS = ["hidden", "output"]
AXES = {"hidden": -1}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every save writes."""
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", math.inf)


def frames(count: int, seed: int = 0) -> list[Frame]:
    random = np.random.default_rng(seed)
    return [{"input": random.normal(size=(1, 2, 3)).astype(np.float32)} for _ in range(count)]


def interrupted(given: list[Frame], after: int) -> Iterator[Frame]:
    yield from given[:after]
    raise KeyboardInterrupt


def measure(graph: Graph, data: object, kept: object) -> MeasuredFeatures:
    return measure_features(graph, TENSORS, data, channel_axes=AXES, checkpoints=kept)  # type: ignore[arg-type]


def interrupt(graph: Graph, given: list[Frame], after: int, path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(graph, interrupted(given, after), CheckpointFile(path, "key"))


def state_of(measured: MeasuredFeatures) -> list[object]:
    return [
        measured.frames,
        measured.digest,
        [
            (f.tensor.to_bytes(), f.frame_minima.tobytes(), f.frame_maxima.tobytes())
            for f in measured.features.values()
        ],
        [channels.to_bytes() for channels in measured.channels.values()],
    ]


def read_all(state: Mapping[str, bytes]) -> dict[str, bytes]:
    return dict(state)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("after", range(1, 7))
def test_a_measurement_interrupted_after_any_frame_ends_in_the_same_state(
    relu_graph: Graph, tmp_path: Path, after: int
) -> None:
    path = tmp_path / "progress"
    interrupt(relu_graph, frames(6), after, path)
    kept = CheckpointFile(path, "key")
    seen: list[int] = []
    measured = measure_features(
        relu_graph, TENSORS, frames(6), channel_axes=AXES, checkpoints=kept, progress=seen.append
    )
    assert measured.resumed == after
    assert seen == [1, 2, 3, 4, 5, 6]
    assert kept.notices == ()
    assert state_of(measured) == state_of(measure(relu_graph, frames(6), NoCheckpoints()))


@pytest.mark.usefixtures("eager")
def test_data_that_have_grown_are_continued(relu_graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    interrupt(relu_graph, frames(6), 4, path)
    measured = measure(relu_graph, frames(9), CheckpointFile(path, "key"))
    assert measured.resumed == 4
    assert state_of(measured) == state_of(measure(relu_graph, frames(9), NoCheckpoints()))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "changed",
    [frames(6, seed=1), frames(3), frames(6)[::-1], [*frames(3), *frames(3, seed=1)]],
    ids=["others", "fewer", "another order", "a late change"],
)
def test_progress_with_other_frames_is_dropped(
    relu_graph: Graph, tmp_path: Path, changed: list[Frame]
) -> None:
    path = tmp_path / "progress"
    interrupt(relu_graph, frames(6), 4, path)
    kept = CheckpointFile(path, "key")
    measured = measure(relu_graph, changed, kept)
    assert measured.resumed == 0
    assert kept.notices == (
        f"{str(path)!r} is of other calibration data; the calibration starts over.",
    )
    assert state_of(measured) == state_of(measure(relu_graph, changed, NoCheckpoints()))


@pytest.mark.usefixtures("eager")
def test_progress_with_other_features_is_dropped(relu_graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    interrupt(relu_graph, frames(6), 4, path)
    kept = CheckpointFile(path, "key")
    measured = measure_features(relu_graph, ["output"], frames(6), checkpoints=kept)
    assert measured.resumed == 0
    assert "is damaged" in kept.notices[0]


@pytest.mark.usefixtures("eager")
def test_what_is_saved_is_loaded_for_the_same_key_and_basis_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "progress"
    first = CheckpointFile(path, "key")
    first.of("a").save("phase", lambda: {"x": b"1", "": b""})
    first.of("b").save("phase", lambda: {"x": b"2"})
    assert [file.name for file in path.parent.iterdir()] == ["progress"]

    second = CheckpointFile(path, "key")
    assert second.of("a").load("phase", read_all) == {"x": b"1", "": b""}
    assert second.of("b").load("phase", read_all) == {"x": b"2"}
    assert second.load("phase", read_all) is None
    assert second.of("a").of("b").load("phase", read_all) is None
    assert second.notices == ()

    other = CheckpointFile(path, "another key")
    assert other.of("a").load("phase", read_all) is None
    assert "of another model, other options or another version" in other.notices[0]
    assert not path.exists()


def test_nothing_is_written_before_its_time_and_then_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    path = tmp_path / "progress"
    kept = CheckpointFile(path, "key")
    calls: list[str] = []

    def state(text: str) -> Mapping[str, bytes]:
        calls.append(text)
        return {"x": text.encode()}

    kept.save("first", lambda: state("early"))
    kept.save("first", lambda: state("end"))
    assert not path.exists()
    now += checkpoints.SECONDS_BETWEEN_WRITES
    kept.save("second", lambda: state("begun"))
    assert calls == ["end", "begun"]
    kept.save("second", lambda: state("later"))
    assert calls == ["end", "begun"]
    found = CheckpointFile(path, "key")
    assert found.load("first", read_all) == {"x": b"end"}
    assert found.load("second", read_all) == {"x": b"begun"}


@pytest.mark.usefixtures("eager")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_noticed_and_costs_the_progress_only(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "progress"
    CheckpointFile(path, "key").save("phase", lambda: {"x": b"some state", "y": bytes(40)})
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        flipped = whole[place] ^ data.draw(st.integers(1, 255))
        damaged = whole[:place] + bytes([flipped]) + whole[place + 1 :]
    path.write_bytes(damaged)
    kept = CheckpointFile(path, "key")
    assert kept.load("phase", read_all) is None
    assert len(kept.notices) == 1
    assert "damaged" in kept.notices[0]


@pytest.mark.usefixtures("eager")
def test_a_state_that_makes_no_sense_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    CheckpointFile(path, "key").save("phase", lambda: {"x": b"1"})
    kept = CheckpointFile(path, "key")
    assert kept.load("phase", lambda state: state["y"]) is None
    assert "damaged" in kept.notices[0]


@pytest.mark.usefixtures("eager")
def test_progress_that_cannot_be_written_is_one_notice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = CheckpointFile(tmp_path / "file" / "progress", "key")
    kept.save("phase", lambda: {"x": b"1"})
    kept.save("phase", lambda: {"x": b"2"})
    assert len(kept.notices) == 1
    assert "cannot be kept" in kept.notices[0]
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.usefixtures("eager")
def test_progress_holds_for_one_graph_and_one_set_of_options(
    relu_graph: Graph, make_graph: Callable[..., Graph], tmp_path: Path
) -> None:
    path = tmp_path / "progress"
    other = make_graph("(float[1,2,3] input) => (float[1,2,3] output) { output = Neg(input) }")
    for graph, options, is_kept in (
        (relu_graph, {"a": 1}, True), (relu_graph, {"a": 2}, False), (other, {"a": 1}, False)
    ):  # fmt: skip
        open_checkpoints(path, relu_graph, {"a": 1}).save("phase", lambda: {"x": b"1"})
        kept = open_checkpoints(path, graph, options)
        assert (kept.load("phase", read_all) is not None) is is_kept
        assert (kept.notices == ()) is is_kept


def test_without_a_file_nothing_is_kept(relu_graph: Graph) -> None:
    assert isinstance(open_checkpoints(None, relu_graph, {}), NoCheckpoints)


vectors = (
    st.lists(st.floats(width=64), max_size=4).map(np.array).map(lambda v: v.astype(np.float64))
)
errors = st.floats(min_value=0)
corrections = st.builds(LayerCorrection, st.text(), errors, errors, errors, errors)


@given(
    st.dictionaries(st.text(), vectors), st.dictionaries(st.text(), vectors), errors, errors,
    st.none() | st.integers(0, 99), st.lists(corrections), st.integers(0, 99), st.integers(0, 9),
    st.booleans(),
)  # fmt: skip
def test_the_state_of_sweeps_comes_back_bit_for_bit(
    biases: dict[str, np.ndarray],
    best: dict[str, np.ndarray],
    before: float,
    least: float,
    reach: int | None,
    layers: list[LayerCorrection],
    done: int,
    idle: int,
    is_settled: bool,
) -> None:
    last = {item.layer: item for item in layers}
    state = SweepState(
        biases, before, least, reach, best, tuple(layers), last, done, idle, is_settled
    )
    found = SweepState.from_state(state.to_state())
    for mine, theirs in ((found.biases, biases), (found.best, best)):
        assert {n: v.tobytes() for n, v in mine.items()} == {
            n: v.tobytes() for n, v in theirs.items()
        }
    found.biases, found.best = biases, best
    assert found == state


class CountedSource(FrameSource):
    """Frames that count how often each is read."""

    length = None

    def __init__(self, given: list[Frame]) -> None:
        self.given = given
        self.reads = [0] * len(given)

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self.given):
            self.reads[index] += 1
            yield frame

    def frame_name(self, index: int) -> str:
        return str(index)


def test_frames_of_a_pass_that_was_broken_off_are_not_read_again(relu_graph: Graph) -> None:
    source = CountedSource(frames(5))
    kept = KeptFrames(relu_graph, source, 4)
    next(iter(kept))
    first = kept.__iter__()
    for _ in range(3):
        next(first)
    for _ in range(2):
        found = [frame["input"].tolist() for frame in kept]
        assert found == [frame["input"].tolist() for frame in frames(5)[:4]]
    assert source.reads == [1, 1, 1, 1, 0]


def test_frames_beyond_the_memory_are_read_at_every_pass(
    relu_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidlq.calibration.kept_frames.LARGEST_KEPT", 60)
    source = CountedSource(frames(5))
    kept = KeptFrames(relu_graph, source, 9)
    for _ in range(2):
        assert len(list(kept)) == 5
    assert source.reads == [2] * 5


class Seen:
    """A watch that adds up what it sees of each frame."""

    tensors = ("hidden",)

    def __init__(self) -> None:
        self.sums: dict[int, float] = {}

    def jobs(self, index: int, shares: int) -> list[Callable[[Mapping[str, np.ndarray]], None]]:
        assert shares > 0
        return [lambda features: self.sums.update({index: float(features["hidden"].sum())})]

    def restart(self) -> None:
        self.sums.clear()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "given", [frames(6), frames(3, seed=1), [*frames(2), *frames(5, seed=1)]], ids=len
)
def test_a_watch_sees_every_frame_once_however_often_the_measurement_begins(
    relu_graph: Graph, tmp_path: Path, given: list[Frame]
) -> None:
    path = tmp_path / "progress"
    interrupt(relu_graph, frames(6), 4, path)
    resumed, whole = Seen(), Seen()
    for seen, kept in ((resumed, CheckpointFile(path, "key")), (whole, NoCheckpoints())):
        measure_features(
            relu_graph, TENSORS, given, channel_axes=AXES, checkpoints=kept, watch=seen
        )
    assert resumed.sums == whole.sums
    assert len(whole.sums) == len(given)
