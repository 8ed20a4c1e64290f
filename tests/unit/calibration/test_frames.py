from __future__ import annotations

import numpy as np
import pytest

from tidlq.calibration.frames import iterate_frames
from tidlq.errors import DataError
from tidlq.graph.model import Graph


def good(value: float = 1.0) -> dict[str, np.ndarray]:
    return {"input": np.full((1, 2, 3), value, np.float32)}


def message_of(graph: Graph, *frames: object) -> str:
    with pytest.raises(DataError) as caught:
        list(iterate_frames(graph, frames))  # type: ignore[arg-type]
    return str(caught.value)


def test_frames_pass_unchanged(relu_graph):
    frames = list(iterate_frames(relu_graph, [good(1), good(2)]))
    assert [frame["input"][0, 0, 0] for frame in frames] == [1, 2]


def test_a_frame_is_checked_only_when_its_turn_comes(relu_graph):
    frames = iterate_frames(relu_graph, [good(), {}])
    next(frames)
    with pytest.raises(DataError):
        next(frames)


def test_a_batch_becomes_frames_where_the_batch_is_free(relu_graph):
    batch = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    frames = list(iterate_frames(relu_graph, [{"input": batch}, good()]))
    assert len(frames) == 5
    assert all(frame["input"].shape == (1, 2, 3) for frame in frames)
    np.testing.assert_array_equal(np.concatenate([f["input"] for f in frames[:4]]), batch)


def test_a_batch_is_refused_where_the_batch_is_fixed(make_graph):
    graph = make_graph("(float[1,2,3] input) => (float[1,2,3] output) { output = Relu(input) }")
    message = message_of(graph, good(), {"input": np.zeros((4, 2, 3), np.float32)})
    assert "frame 1" in message
    assert "[4, 2, 3]" in message
    assert "[1, 2, 3]" in message


def test_inputs_of_a_batch_must_agree(make_graph):
    graph = make_graph(
        "(float[1,2] a, float[1,2] b) => (float[1,2] output) { output = Add(a, b) }",
        free_batch=True,
    )
    for rows in (1, 3):
        frame = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((rows, 2), np.float32)}
        message = message_of(graph, frame)
        assert "frame 0" in message
        assert "'a': [2, 2]" in message


def test_a_wrong_shape_is_refused_with_both_shapes(relu_graph):
    message = message_of(relu_graph, good(), good(), {"input": np.zeros((1, 3, 2), np.float32)})
    assert "frame 2" in message
    assert "'input'" in message
    assert "[1, 3, 2]" in message
    assert "[1, 2, 3]" in message


def test_an_empty_batch_is_refused(relu_graph):
    assert "[0, 2, 3]" in message_of(relu_graph, {"input": np.zeros((0, 2, 3), np.float32)})


def test_a_missing_input_is_named(relu_graph):
    message = message_of(relu_graph, good(), {})
    assert "frame 1" in message
    assert "'input'" in message


@pytest.mark.parametrize("rows", [1, 4])
def test_an_unknown_input_is_named_with_the_nearest_one(relu_graph, rows):
    frame = {"input": np.zeros((rows, 2, 3), np.float32), "inputs": np.zeros((1, 2, 3))}
    message = message_of(relu_graph, frame)
    assert "'inputs'" in message
    assert "Did you mean 'input'?" in message


def test_a_frame_that_is_no_mapping_is_refused(relu_graph):
    assert "frame 0 is a list" in message_of(relu_graph, [np.zeros((1, 2, 3), np.float32)])


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.int64])
def test_other_dtypes_are_converted_where_every_value_survives(relu_graph, dtype):
    (frame,) = iterate_frames(relu_graph, [{"input": np.full((1, 2, 3), 7, dtype)}])
    assert frame["input"].dtype == np.float32
    assert (frame["input"] == 7).all()


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float64(1e300), np.int64(2**24 + 1), np.uint64(2**64 - 1)]
)
def test_values_that_the_dtype_cannot_hold_are_refused(relu_graph, value):
    message = message_of(relu_graph, good(), {"input": np.full((1, 2, 3), value)})
    assert "frame 1" in message
    assert "'input'" in message
    assert str(value.dtype) in message
    assert "float32" in message


@pytest.mark.parametrize("dtype", [np.bool_, np.complex64, np.str_, np.object_])
def test_what_is_no_real_number_is_refused(relu_graph, dtype):
    message = message_of(relu_graph, {"input": np.zeros((1, 2, 3), dtype)})
    assert "'input'" in message
    assert "the network takes float32" in message


def test_fractions_do_not_fit_an_integer_input(make_graph):
    graph = make_graph("(int64[1,2] ids) => (float[1,2] output) { output = Cast<to=1>(ids) }")
    (frame,) = iterate_frames(graph, [{"ids": np.array([[1.0, 2.0]])}])
    assert frame["ids"].dtype == np.int64
    for value in (1.5, np.nan):
        assert "int64" in message_of(graph, {"ids": np.array([[1.0, value]])})


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused_with_tensor_and_frame(
    relu_graph, value, word, dtype
):
    bad = np.zeros((1, 2, 3), dtype)
    bad[0, 1, 2] = value
    message = message_of(relu_graph, good(), good(), good(), {"input": bad})
    assert "frame 3" in message
    assert "'input'" in message
    assert f"1 {word}" in message


def test_frames_of_a_batch_are_counted_one_by_one(relu_graph):
    batch = np.zeros((4, 2, 3), np.float32)
    batch[2, 0, 0] = np.nan
    assert "frame 3" in message_of(relu_graph, good(), {"input": batch})
