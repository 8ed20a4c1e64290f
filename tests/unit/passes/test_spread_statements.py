"""Statements pass over nodes that select elements, exactly and in both directions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from oracle.float_reference import text_model
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.spread_statements import SpreadStatements
from tidlq.passes.stated import state_feature, stated_feature
from tidlq.spec import FeatureQuant, IntegerType

A = FeatureQuant(IntegerType(8, signed=False), 0.5, 10)
B = FeatureQuant(IntegerType(8, signed=True), 0.25, 0)
CONSTANTS = {
    "w": np.ones((4, 4, 1, 1), np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 0, 0]),
    "half": np.float32(0.5).reshape(()),
    "third": np.float32(1 / 3).reshape(()),
    "far": np.float32(1e6).reshape(()),
}


def spread(body: str, **features: FeatureQuant) -> dict[str, FeatureQuant | None]:
    text = f"g (float[1, 4, 6, 6] x) => (float[N] y) {{ {body} }}"
    proto = text_model(text, CONSTANTS)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = ir.from_proto(proto)
    InferShapes()(model)
    values = {value.name: value for value in model.graph.inputs}
    values |= {value.name: value for node in model.graph for value in node.outputs}
    for name, quant in features.items():
        state_feature(values[name], quant)
    SpreadStatements()(model)
    values = {value.name: value for value in model.graph.inputs}
    values |= {value.name: value for node in model.graph for value in node.outputs}
    return {name or "": stated_feature(value) for name, value in values.items()}


SELECTING = [
    "Flatten(x)",
    "Transpose(x)",
    "MaxPool<kernel_shape = [2, 2], pads = [1, 1, 1, 1]>(x)",
    "GlobalMaxPool(x)",
    "Pad(x, pads)",
    "Pad(x, pads, half)",
    'Pad<mode = "edge">(x, pads)',
    "DepthToSpace<blocksize = 2>(x)",
]


@pytest.mark.parametrize("call", SELECTING)
def test_what_is_selected_is_quantized_as_its_origin(call: str) -> None:
    assert spread(f"y = {call}", x=A)["y"] == A


@pytest.mark.parametrize("call", SELECTING)
def test_what_is_selected_alone_is_quantized_as_the_selection(call: str) -> None:
    call = call.replace("(x", "(s")
    assert spread(f"s = Sigmoid(x) y = {call}", y=A)["s"] == A


@pytest.mark.parametrize(
    "call", ["Relu(x)", "Clip(x, half)", "Clip(x, , half)", "Clip(x, half, far)"]
)
def test_a_clamp_keeps_the_form_of_its_input(call: str) -> None:
    assert spread(f"y = {call}", x=A)["y"] == A


@pytest.mark.parametrize(
    "call",
    ["Sigmoid(x)", "Clip(x, third)", "Clip(x, far)", "Pad(x, pads, third)", "Pad(x, pads, far)"],
)
def test_new_values_are_not_stated(call: str) -> None:
    assert spread(f"y = {call}", x=A)["y"] is None


def test_a_tensor_with_other_readers_is_not_stated_by_one() -> None:
    found = spread("s = Sigmoid(x) f = Flatten(s) t = Tanh(s) g = Flatten(t) y = Add(f, g)", f=A)
    assert found["s"] is None


def test_a_layer_that_takes_in_a_clamp_is_not_stated_before_it() -> None:
    assert spread("c = Conv(x, w) y = Relu(c)", y=A)["c"] is None


def test_a_clamp_behind_a_concat_states_its_parts() -> None:
    body = "s = Sigmoid(x) t = Tanh(x) c = Concat<axis = 1>(s, t) y = Relu(c)"
    found = spread(body, y=A)
    assert [found[name] for name in ("c", "s", "t")] == [A, A, A]


def test_a_concat_of_equal_forms_keeps_them_and_of_different_ones_states_nothing() -> None:
    body = "s = Sigmoid(x) t = Tanh(x) y = Concat<axis = 1>(s, t)"
    assert spread(body, s=A, t=A)["y"] == A
    assert spread(body, s=A, t=B)["y"] is None
    assert spread(body, s=A)["y"] is None


def test_statements_travel_along_chains() -> None:
    found = spread("p = Sigmoid(x) q = Flatten(p) r = Relu(q) y = Identity(r)", y=A)
    assert [found[name] for name in ("p", "q", "r")] == [A, A, A]


def test_a_selection_between_two_forms_is_followed_by_an_identity() -> None:
    found = spread("y = Flatten(x)", x=A, y=B)
    assert found == {"x": A, "y_selected": A, "y": B}


def test_integers_are_never_stated() -> None:
    assert spread("i = Cast<to = 6>(x) y = Flatten(i)", x=A) == {"x": A, "i": None, "y": None}
