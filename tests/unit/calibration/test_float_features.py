from __future__ import annotations

import numpy as np
import pytest

from tidlq.calibration import FloatFeatures
from tidlq.errors import ModelError

X = np.array([[[1, -2, 3], [-4, 5, -6]]], np.float32)


def test_inputs_inner_tensors_and_outputs_are_read(relu_graph):
    features = FloatFeatures(relu_graph, ["output", "input", "hidden"]).run({"input": X})
    assert list(features) == ["output", "input", "hidden"]
    np.testing.assert_array_equal(features["hidden"], -X)
    np.testing.assert_array_equal(features["output"], np.maximum(-X, 0))
    assert features["input"] is X


def test_an_input_alone_needs_no_run(relu_graph):
    assert list(FloatFeatures(relu_graph, ["input"]).run({"input": X})) == ["input"]


def test_the_graph_stays_as_it_is(relu_graph):
    before = relu_graph.fingerprint
    FloatFeatures(relu_graph, ["hidden"])
    assert [value.name for value in relu_graph.model.graph.outputs] == ["output"]
    assert relu_graph.fingerprint == before


def test_a_feature_inside_a_fused_pair_is_the_true_one(make_graph):
    graph = make_graph(
        "(float[1,3,8,8] input) => (float[1,3,8,8] output)"
        "<float[3,3,1,1] w = {1,0,0, 0,1,0, 0,0,1}>"
        "{ hidden = Conv(input, w) output = Relu(hidden) }"
    )
    x = np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    features = FloatFeatures(graph, ["hidden", "output"]).run({"input": x})
    np.testing.assert_allclose(features["hidden"], x, rtol=1e-6)
    np.testing.assert_allclose(features["output"], np.maximum(x, 0), rtol=1e-6)


def test_an_unknown_tensor_is_refused_with_the_nearest_one(relu_graph):
    with pytest.raises(ModelError, match=r"'hiden'.*Did you mean 'hidden'"):
        FloatFeatures(relu_graph, ["hiden"])


def test_a_constant_is_no_feature(make_graph):
    graph = make_graph(
        "(float[1,2] input) => (float[1,2] output) <float[2] w = {1, 2}> { output = Mul(input, w) }"
    )
    with pytest.raises(ModelError, match="'w' is a constant"):
        FloatFeatures(graph, ["w"])


def test_a_model_that_cannot_be_loaded_is_refused_in_one_sentence(make_graph):
    graph = make_graph(
        "(float[1,2] input) => (float[1,2] output) { output = made.up.Frobnicate(input) }"
    )
    with pytest.raises(ModelError) as caught:
        FloatFeatures(graph, ["output"])
    message = str(caught.value)
    assert "'small'" in message
    assert "Frobnicate" in message
    assert "\n" not in message
    assert "ONNXRuntimeError" not in message


def test_a_model_that_fails_while_running_is_refused_in_one_sentence(make_graph):
    graph = make_graph(
        "(float[1,4] input, int64[2] sizes) => (float[n,m] output)"
        "{ output = Reshape(input, sizes) }"
    )
    features = FloatFeatures(graph, ["output"])
    frame = {"input": np.zeros((1, 4), np.float32), "sizes": np.array([3, 3])}
    with pytest.raises(ModelError) as caught:
        features.run(frame)
    message = str(caught.value)
    assert message.startswith("ONNX Runtime cannot run model 'small': Reshape node '")
    assert "Input shape:{1,4}, requested shape:{3,3}." in message
    assert "\n" not in message
    assert "onnxruntime::" not in message
