"""Ranges that the model states."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tidlq.calibration.stated import find_stated_ranges, is_trained_for
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import Range, RangeOrigin


def stated(nodes: list[onnx.NodeProto], outputs: tuple[str, ...], **constants: float) -> dict:
    value = helper.make_tensor_value_info
    arrays = {name: np.array(number, np.float32) for name, number in constants.items()}
    arrays["w"] = np.ones((2, 2, 1, 1), np.float32)
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [value("x", TensorProto.FLOAT, [1, 2, 4, 4])],
            [value(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    graph = import_onnx(model)
    found = find_stated_ranges(graph, find_layers(graph).layers)
    assert all(known.origin is RangeOrigin.STATED for known in found.values())
    return {name: (known.min, known.max) for name, known in found.items()}


def node(op: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output)


CONVOLUTION = node("Conv", ["x", "w"], "c")


def test_a_fused_clip_states_the_output() -> None:
    found = stated([CONVOLUTION, node("Clip", ["c", "a", "b"], "y")], ("y",), a=0.0, b=6.0)
    assert found == {"y": (0.0, 6.0)}


def test_a_relu_states_nothing() -> None:
    assert stated([CONVOLUTION, node("Relu", ["c"], "y")], ("y",)) == {}


def test_relu_then_clip_states_what_both_leave() -> None:
    nodes = [CONVOLUTION, node("Relu", ["c"], "r"), node("Clip", ["r", "a", "b"], "y")]
    assert stated(nodes, ("y",), a=-1.0, b=3.0) == {"y": (0.0, 3.0)}


def test_an_input_that_only_clips_read_has_their_range() -> None:
    nodes = [node("Clip", ["x", "a", "b"], "q"), node("Conv", ["q", "w"], "y")]
    assert stated(nodes, ("y",), a=-2.0, b=2.0) == {"x": (-2.0, 2.0), "q": (-2.0, 2.0)}


def test_a_feature_that_others_read_too_is_measured() -> None:
    nodes = [
        CONVOLUTION,
        node("Clip", ["c", "a", "b"], "q"),
        node("Add", ["c", "q"], "y"),
    ]
    assert stated(nodes, ("y",), a=-2.0, b=2.0) == {"q": (-2.0, 2.0)}


@pytest.mark.parametrize("bound", [65504.0, 32768.0])
def test_an_overflow_guard_states_nothing(bound: float) -> None:
    nodes = [CONVOLUTION, node("Clip", ["c", "a", "b"], "y")]
    assert stated(nodes, ("y",), a=-bound, b=bound) == {}


def test_learnt_ranges_are_many_and_differ() -> None:
    learnt = {
        name: Range(0, high, RangeOrigin.STATED) for name, high in {"a": 1, "b": 2, "c": 4}.items()
    }
    assert is_trained_for(learnt, "abc")
    assert is_trained_for(learnt, "abcdef")
    assert not is_trained_for(learnt, "abcdefg")
    relu6 = {name: Range(0, 6, RangeOrigin.STATED) for name in "abc"}
    assert not is_trained_for(relu6, "abc")
    assert not is_trained_for({}, "")
