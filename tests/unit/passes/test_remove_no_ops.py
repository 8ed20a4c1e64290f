"""Nodes that return their input go; nodes that only look like it stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from oracle.float_reference import run_float, run_ir, text_model
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.remove_no_ops import RemoveNoOps

X = np.random.default_rng(3).normal(size=(1, 2, 4, 4)).astype(np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def reals(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


CONSTANTS = {
    "none": ints(0, 0, 0, 0, 0, 0, 0, 0),
    "same": ints(1, 2, 4, 4),
    "keep": ints(0, 0, -1, 4),
    "zero4": ints(0, 0, 0, 0),
    "far": ints(99, 99, 99, 99),
    "back": ints(-99, -99, -99, -99),
    "axes": ints(0, 1, 2, 3),
    "ones": ints(1, 1, 1, 1),
    "minus": ints(1, 1, 1, -1),
    "last": ints(0, 0, 0, 3),
    "before": ints(99, 99, 99, -99),
    "unit": reals(1, 1, 1, 1),
    "near": reals(1, 1, 1.1, 1.1),
    "one": reals(1),
    "zero": reals(0),
    "wide": np.ones((3, 1, 1, 1), np.float32),
    "other": ints(2, 1, 4, 4),
    "ratio": np.array(0.5, np.float32),
    "no": np.array(False),
}
NO_OPS = [
    "Identity(a)",
    "Dropout(a)",
    "Dropout(a, ratio, no)",
    "Cast<to = 1>(a)",
    "Pad(a, none)",
    'Pad<mode = "reflect">(a, none)',
    "Slice(a, zero4, far, axes, ones)",
    "Slice(a, zero4, far)",
    "Concat<axis = 1>(a)",
    "Sum(a)",
    "Max(a)",
    "Reshape(a, same)",
    "Reshape(a, keep)",
    "Expand(a, ones)",
    "Tile(a, ones)",
    "Transpose<perm = [0, 1, 2, 3]>(a)",
    "Mul(a, one)",
    "Mul(one, a)",
    "Div(a, one)",
    "Add(a, zero)",
    "Sub(a, zero)",
    "Resize(a, , unit)",
    'Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(a, , , same)',
    "MaxPool<kernel_shape = [1, 1]>(a)",
    "AveragePool<kernel_shape = [1, 1]>(a)",
    "Split<axis = 1, num_outputs = 1>(a)",
    "Clip(a)",
]
REAL_OPS = [
    "Slice(a, last, before, axes, minus)",
    "Transpose<perm = [0, 1, 3, 2]>(a)",
    "Mul(a, wide)",
    "Add(a, one)",
    "Sub(zero, a)",
    "Div(one, a)",
    "Resize(a, , near)",
    "MaxPool<kernel_shape = [1, 1], strides = [2, 2]>(a)",
    "MaxPool<kernel_shape = [2, 2], pads = [0, 0, 1, 1]>(a)",
    "Flatten(a)",
    "Reshape(a, other)",
]


def model_of(call: str) -> tuple[ir.Model, dict[str, NDArray[np.generic]]]:
    constants = {name: array for name, array in CONSTANTS.items() if name in call}
    result = "float[N, M] y" if call.startswith("Flatten") else "float[N, M, H, W] y"
    body = f"a = Relu(x) b = {call} y = Neg(b)"
    proto = text_model(f"g (float[1, 2, 4, 4] x) => ({result}) {{ {body} }}", constants)
    model = ir.from_proto(proto)
    InferShapes()(model)
    return model, run_float(proto, {"x": X})


@pytest.mark.parametrize("call", NO_OPS)
def test_a_node_without_effect_goes(call: str) -> None:
    model, expected = model_of(call)
    assert RemoveNoOps()(model).modified
    assert [node.op_type for node in model.graph] == ["Relu", "Neg"]
    np.testing.assert_array_equal(run_ir(model, {"x": X})["y"], expected["y"])


@pytest.mark.parametrize("call", REAL_OPS)
def test_a_node_with_an_effect_stays(call: str) -> None:
    model, expected = model_of(call)
    assert not RemoveNoOps()(model).modified
    np.testing.assert_array_equal(run_ir(model, {"x": X})["y"], expected["y"])


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Relu(x) y = Identity(a) z = Neg(a)", ["Relu", "Neg"]),
        ("y = Relu(x) z = Identity(y)", ["Relu", "Identity"]),
        ("y = Identity(x) z = Neg(x)", ["Identity", "Neg"]),
        ("a = Relu(x) y = Identity(a) z = Identity(a)", ["Relu", "Identity"]),
        ("y = Identity(c) z = Neg(x)", ["Identity", "Neg"]),
    ],
)
def test_outputs_keep_their_names_and_order(body: str, left: list[str]) -> None:
    text = f"g (float[2] x) => (float[2] y, float[2] z) {{ {body} }}"
    proto = text_model(text, {"c": reals(1, 2)})
    model = ir.from_proto(proto)
    InferShapes()(model)
    RemoveNoOps()(model)
    feeds = {"x": reals(-1, 2)}
    expected, found = run_float(proto, feeds), run_ir(model, feeds)
    assert [node.op_type for node in model.graph] == left
    assert list(found) == ["y", "z"]
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


def test_a_dropout_whose_mask_is_read_stays() -> None:
    proto = text_model(
        "g (float[2] x) => (float[2] y, bool[2] m) { a = Relu(x) b, m = Dropout(a) y = Neg(b) }"
    )
    model = ir.from_proto(proto)
    InferShapes()(model)
    assert not RemoveNoOps()(model).modified
