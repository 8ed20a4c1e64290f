"""The network and pictures that ship inside the package."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from tidlq import demo_data


def test_files_are_in_the_package_and_small() -> None:
    paths = (
        demo_data.model_path(),
        demo_data.calibration_path(),
        demo_data.labelled_test_path(),
    )
    assert all(path.parent == Path(demo_data.__file__).parent for path in paths)
    assert sum(path.stat().st_size for path in paths) < 1_000_000


def test_calibration_frames_are_normalised_pictures() -> None:
    frames = list(demo_data.calibration_frames())
    assert len(frames) == 200
    assert {(f["input"].shape, f["input"].dtype.name) for f in frames} == {
        ((1, 1, 28, 28), "float32")
    }
    assert min(f["input"].min() for f in frames) == 0
    assert max(f["input"].max() for f in frames) == 1


def test_test_pictures_have_a_class_each() -> None:
    labels = [label for _, label in demo_data.labelled_test()]
    assert len(labels) == 1000
    assert set(labels) == set(range(len(demo_data.CLASS_NAMES)))


def test_calibration_and_test_pictures_are_different() -> None:
    seen = {frame["input"].tobytes() for frame in demo_data.calibration_frames()}
    assert not any(frame["input"].tobytes() in seen for frame, _ in demo_data.labelled_test())


def test_float_network_classifies_the_pictures() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(demo_data.model_path())
    hits = [
        int(np.argmax(session.run(None, frame)[0])) == label
        for frame, label in itertools.islice(demo_data.labelled_test(), 200)
    ]
    assert sum(hits) > 170


def test_origin_and_licences_stand_beside_the_files() -> None:
    text = (Path(demo_data.__file__).parent / "README.md").read_text("utf-8")
    assert "Fashion-MNIST by Zalando Research" in text
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted, free of charge" in text
    assert "Apache-2.0" in text
