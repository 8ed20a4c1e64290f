"""`tidlq.compile` with a folder for its progress: interrupted at any step, then continued."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

import tidlq
from tidlq import demo_data
from tidlq.artifacts import PROGRESS
from tidlq.calibration import checkpoints

Frames = list[dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return list(itertools.islice(demo_data.calibration_frames(), 8))


def compile_and_listen(
    frames: Frames, options: dict[str, object], folder: Path | None = None
) -> tuple[tidlq.Compiled, list[tuple[str, int]]]:
    steps: list[tuple[str, int]] = []
    compiled = tidlq.compile(
        demo_data.model_path(), frames, options, progress_folder=folder,
        progress=lambda step, done, _total: steps.append((step, done)),
    )  # fmt: skip
    return compiled, steps


@pytest.mark.parametrize(
    "options",
    [
        {"quantization_scale_type": 1},
        {"quantization_scale_type": 1, "tidlq:cross_layer_equalization": "on"},
        {"quantization_scale_type": 4},
        {"quantization_scale_type": 4, "accuracy_level": 0},
    ],
    ids=str,
)
def test_wherever_a_compilation_is_interrupted_its_outcome_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: Frames, options: dict[str, object]
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", math.inf)
    whole, steps = compile_and_listen(frames, options)
    places = [place for place, (step, _) in enumerate(steps) if step.startswith("calibrate")]
    # Some within the measurements, and each one after a sweep.
    wanted = [p for p in places if steps[p][0] != "calibrate" or steps[p][1] in (1, 5, 8)]
    for place in wanted:
        count = itertools.count()

        def stop(_step: str, _done: int, _total: int | None) -> None:
            if next(count) == place:  # noqa: B023 - called within the loop's turn
                raise KeyboardInterrupt

        folder = tmp_path / str(place)
        with pytest.raises(KeyboardInterrupt):
            tidlq.compile(
                demo_data.model_path(), frames, options, progress=stop, progress_folder=folder
            )
        continued, ran = compile_and_listen(frames, options, folder)
        assert continued.notices == whole.notices
        assert continued.resumed_frames == (steps[place][1] if place in places[:8] else 8)
        assert continued.artifacts == whole.artifacts
        assert continued.bias == whole.bias
        assert [s for s in ran if s[0] == "calibrate biases"] == [
            s for s in steps[place + 1 :] if s[0] == "calibrate biases"
        ]
        continued.save(folder)
        assert not (folder / PROGRESS).exists()


def test_a_one_way_iterator_of_other_frames_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: Frames
) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_WRITES", 0.0)

    def stop(step: str, done: int, _total: int | None) -> None:
        if (step, done) == ("calibrate", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tidlq.compile(demo_data.model_path(), frames, progress=stop, progress_folder=tmp_path)
    changed = [{name: array / 2 for name, array in frame.items()} for frame in frames]
    continued = tidlq.compile(demo_data.model_path(), iter(changed), progress_folder=tmp_path)
    assert continued.resumed_frames == 0
    assert "is of other calibration data" in continued.notices[0]
    assert continued.artifacts == tidlq.compile(demo_data.model_path(), changed).artifacts
