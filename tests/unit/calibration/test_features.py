from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest

from tidlq.calibration import (
    FloatFeatures,
    RangeRule,
    RangeSearch,
    measure_features,
    select_range,
)
from tidlq.errors import DataError, ModelError
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureScales

TENSORS = ["input", "hidden", "output"]


def frame(*values: float) -> dict[str, np.ndarray]:
    return {"input": np.resize(np.array(values, np.float32), (1, 2, 3))}


def state_of(statistics):
    tensor = statistics.tensor
    return (
        (tensor.min, tensor.max, tensor.count, tensor.zeros, tensor.sum, tensor.sum_of_squares),
        (tensor.bin_width, tensor.first_bin, tensor.counts.tolist()),
        (sorted(statistics.frame_minima), sorted(statistics.frame_maxima)),
    )


def test_every_tensor_gets_its_statistics(relu_graph):
    measured = measure_features(relu_graph, TENSORS, [frame(1, -2, 3), frame(5, 4, -1)])
    assert measured.frames == 2
    assert list(measured.features) == TENSORS
    hidden, output = measured.features["hidden"], measured.features["output"]
    assert hidden.frame_minima.tolist() == [-3, -5]
    assert hidden.frame_maxima.tolist() == [2, 1]
    assert (hidden.tensor.min, hidden.tensor.max, hidden.tensor.count) == (-5, 2, 12)
    assert (output.tensor.zeros, output.tensor.sum) == (8, 6)


def test_a_batch_counts_as_its_frames(relu_graph):
    rng = np.random.default_rng(1)
    batch = rng.normal(size=(6, 2, 3)).astype(np.float32)
    whole = measure_features(relu_graph, TENSORS, [{"input": batch}])
    single = measure_features(relu_graph, TENSORS, [{"input": row[np.newaxis]} for row in batch])
    assert whole.frames == single.frames == 6
    for name in TENSORS:
        assert state_of(whole.features[name]) == state_of(single.features[name])


def test_progress_is_told_after_every_frame(relu_graph):
    done: list[int] = []
    measure_features(relu_graph, ["output"], [frame(1)] * 4, progress=done.append)
    assert done == [1, 2, 3, 4]


def test_the_limit_ends_an_endless_source_inside_a_batch(relu_graph):
    batches = itertools.repeat({"input": np.ones((4, 2, 3), np.float32)})
    assert measure_features(relu_graph, ["output"], batches, limit=6).frames == 6


def test_a_frame_is_gone_when_the_next_one_is_made(relu_graph):
    alive: list[weakref.ref[np.ndarray]] = []

    def source():
        for _ in range(8):
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1
            made = np.ones((1, 2, 3), np.float32)
            alive.append(weakref.ref(made))
            yield {"input": made}
            del made

    assert measure_features(relu_graph, TENSORS, source()).frames == 8


def test_the_features_of_a_frame_are_gone_before_the_next_one_runs(relu_graph, monkeypatch):
    alive: list[weakref.ref[np.ndarray]] = []
    run = FloatFeatures.run

    def watched(self, frame):
        gc.collect()
        assert not any(ref() is not None for ref in alive)
        features = run(self, frame)
        alive.extend(weakref.ref(features[name]) for name in ("hidden", "output"))
        return features

    monkeypatch.setattr(FloatFeatures, "run", watched)
    assert measure_features(relu_graph, ["hidden", "output"], [frame(1)] * 5).frames == 5
    assert len(alive) == 10


def test_no_frames_are_an_error(relu_graph):
    with pytest.raises(DataError, match="empty"):
        measure_features(relu_graph, TENSORS, [])


@pytest.mark.parametrize(("value", "word"), [(-1.0, "NaN"), (0.0, "Inf")])
def test_a_feature_that_is_not_finite_is_named_where_it_arose_with_its_frame(
    make_graph, value, word
):
    graph = make_graph(
        "(float[1,4] input) => (float[1,4] output)"
        "{ first = Abs(input) bad = Log(input) later = Neg(bad) output = Relu(later) }"
    )
    frames = [{"input": np.ones((1, 4), np.float32)} for _ in range(5)]
    frames[3]["input"][0, 2] = value
    with pytest.raises(DataError) as caught:
        measure_features(graph, ["output", "later", "first", "bad"], frames)
    message = str(caught.value)
    assert "'bad'" in message
    assert "frame 3" in message
    assert f"1 {word}" in message


def test_a_bad_frame_is_refused_before_it_runs(relu_graph):
    with pytest.raises(DataError, match=r"frame 1.*'input'"):
        measure_features(relu_graph, ["hidden"], [frame(1), {"input": np.zeros((1, 9), "f4")}])


def test_a_feature_of_integers_is_refused(make_graph):
    graph = make_graph("(float[1,4] input) => (int64[2] output) { output = Shape(input) }")
    with pytest.raises(ModelError, match="'output' is int64"):
        measure_features(graph, ["output"], [{"input": np.ones((1, 4), np.float32)}])


def test_half_precision_features_are_measured_exactly(make_graph):
    graph = make_graph("(float16[1,4] input) => (float16[1,4] output) { output = Neg(input) }")
    x = np.array([[0.1, 0.2, -0.3, 1]], np.float16)
    measured = measure_features(graph, ["output"], [{"input": x}])
    assert measured.features["output"].tensor.max == float(np.float16(0.3))


@pytest.fixture(scope="module")
def fashion(demo_folder):
    graph = import_onnx(demo_folder / "fmnist_mbv2.onnx")
    with np.load(demo_folder / "fmnist_calib200.npz") as data:
        images = data[data.files[0]][:24]
    signature = graph.inputs[0]
    images = (images / np.float32(255)).astype(np.float32).reshape(-1, *signature.shape[1:])
    return graph, [{signature.name: image[np.newaxis]} for image in images]


def features_of(graph):
    computed = [output.name for node in graph.nodes for output in node.outputs]
    return [graph.inputs[0].name, *computed]


def test_a_real_network_gives_the_extremes_of_its_features(fashion):
    graph, frames = fashion
    names = features_of(graph)
    measured = measure_features(graph, names, frames)
    float_features = FloatFeatures(graph, names)
    kept = [float_features.run(frame) for frame in frames]
    for name in names:
        values = np.stack([features[name].ravel() for features in kept])
        statistics = measured.features[name]
        np.testing.assert_array_equal(statistics.frame_minima, values.min(axis=1))
        np.testing.assert_array_equal(statistics.frame_maxima, values.max(axis=1))
        tensor = statistics.tensor
        assert (tensor.min, tensor.max, tensor.count) == (values.min(), values.max(), values.size)
        assert tensor.sum == pytest.approx(values.sum(dtype=np.float64), rel=1e-12)
        edges = (tensor.first_bin + np.arange(len(tensor.counts) + 1)) * tensor.bin_width
        counts, _ = np.histogram(values[values != 0].astype(np.float64), edges)
        np.testing.assert_array_equal(counts, tensor.counts)


def test_threads_and_the_order_of_frames_leave_no_trace_on_a_real_network(fashion):
    graph, frames = fashion
    names = features_of(graph)
    one = measure_features(graph, names, frames, threads=1)
    many = measure_features(graph, names, frames[::-1], threads=3)
    for name in names:
        assert state_of(one.features[name]) == state_of(many.features[name])
    scales = FeatureScales(8, asymmetric=True)
    for search in (RangeSearch(rule, 99.0) for rule in RangeRule):
        for name in one.features:
            first = select_range(search, one.features[name], scales)
            assert first == select_range(search, many.features[name], scales)


def test_shards_of_a_real_network_merge_to_the_whole(fashion):
    graph, frames = fashion
    names = features_of(graph)
    whole = measure_features(graph, names, frames).features
    parts = [measure_features(graph, names, frames[i::3]).features for i in range(3)]
    for name in names:
        merged = parts[2][name].tensor
        merged.merge(parts[0][name].tensor)
        merged.merge(parts[1][name].tensor)
        expected = whole[name].tensor
        assert (merged.sum, merged.sum_of_squares) == (expected.sum, expected.sum_of_squares)
        assert (merged.bin_width, merged.first_bin) == (expected.bin_width, expected.first_bin)
        np.testing.assert_array_equal(merged.counts, expected.counts)
