"""Passes that move or change tensors take their statements along, or withdraw them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from oracle.float_reference import text_model
from tidlq.passes.detach_constant_outputs import DetachConstantOutputs
from tidlq.passes.fold_affine import FoldAffine
from tidlq.passes.fold_constants import FoldConstants
from tidlq.passes.fold_input_affine import FoldInputAffine
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.matmul_to_gemm import MatMulToGemm
from tidlq.passes.node_editing import FreshNames, replace_constant
from tidlq.passes.remove_no_ops import RemoveNoOps
from tidlq.passes.stated import (
    state_bias,
    state_feature,
    state_parameter,
    stated_bias,
    stated_feature,
    stated_parameter,
)
from tidlq.spec import FeatureQuant, IntegerType, StatedParameter

INT8 = IntegerType(8, signed=True)
A, B = FeatureQuant(INT8, 0.5), FeatureQuant(INT8, 0.25)
ONE = StatedParameter(INT8, (0.5,), (0,))


def model_of(text: str, **arrays: np.ndarray) -> ir.Model:
    model = ir.from_proto(text_model(text, arrays))
    InferShapes()(model)
    return model


def value_of(model: ir.Model, name: str) -> ir.Value:
    values = {value.name: value for value in model.graph.inputs}
    values |= {value.name: value for node in model.graph for value in node.outputs}
    values |= dict(model.graph.initializers)
    return values[name]


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


IDENTITY = "g (float[1, 4] x) => (float[1, 4] y) { s = Sigmoid(x) i = Identity(s) y = Tanh(i) }"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(None, None, None), (A, None, A), (None, A, A), (A, A, A)],
)
def test_a_bypassed_tensor_hands_its_statement_on(
    before: FeatureQuant | None, after: FeatureQuant | None, expected: FeatureQuant | None
) -> None:
    model = model_of(IDENTITY)
    state_feature(value_of(model, "s"), before)
    state_feature(value_of(model, "i"), after)
    RemoveNoOps()(model)
    assert ops(model) == ["Sigmoid", "Tanh"]
    assert stated_feature(value_of(model, "s")) == expected


def test_an_identity_between_two_forms_stays() -> None:
    model = model_of(IDENTITY)
    state_feature(value_of(model, "s"), A)
    state_feature(value_of(model, "i"), B)
    assert not RemoveNoOps()(model).modified


def weighted(text: str, axis: int, scales: tuple[float, ...], shape: tuple[int, ...]) -> ir.Model:
    integers = np.arange(np.prod(shape)).reshape(shape) % 7 - 3
    sizes = [-1 if index == axis else 1 for index in range(len(shape))]
    real = (integers * np.reshape(scales, sizes if len(scales) > 1 else ())).astype(np.float32)
    model = model_of(text, w=real, k=np.float32([2, -0.5, 0, 3]))
    parameter = StatedParameter(INT8, scales, (0,) * len(scales), axis)
    state_parameter(value_of(model, "w"), parameter)
    return model


PRODUCT = "g (float[1, 3] x) => (float[1, 4] y) {{ c = Gemm{}(x, w) y = Mul(c, k) }}"
CASES = {
    "columns": (PRODUCT.format(""), 1, (3, 4)),
    "rows": (PRODUCT.format("<transB = 1>"), 0, (4, 3)),
}


@pytest.mark.parametrize("scales", [(0.5,), (0.5, 1.0, 2.0, 4.0)])
@pytest.mark.parametrize("case", ["columns", "rows"])
def test_a_factor_per_channel_scales_the_statement(case: str, scales: tuple[float, ...]) -> None:
    text, axis, shape = CASES[case]
    model = weighted(text, axis, scales, shape)
    before = value_of(model, "w").const_value.numpy()
    FoldAffine()(model)
    (node,) = model.graph
    stated = stated_parameter(node.inputs[1])
    assert stated is not None
    assert stated.axis == axis
    expected = np.broadcast_to(scales, 4) * [2, 0.5, 1, 3]
    assert stated.scales == tuple(expected)
    steps = np.asarray(stated.scales)
    steps = steps.reshape(-1, 1) if axis == 0 else steps
    factor = np.sign([2, -0.5, 0, 3])
    factor = factor.reshape(-1, 1) if axis == 0 else factor
    first = np.asarray(scales).reshape(-1, 1) if axis == 0 and len(scales) > 1 else scales
    after = node.inputs[1].const_value.numpy()
    np.testing.assert_array_equal(np.rint(after / steps), np.rint(before / first) * factor)


def test_one_factor_for_all_keeps_one_scale() -> None:
    text = "g (float[1, 3] x) => (float[1, 4] y) { c = Gemm(x, w) y = Mul(c, k) }"
    model = model_of(text, w=np.ones((3, 4), np.float32), k=np.float32(-3).reshape(()))
    state_parameter(value_of(model, "w"), ONE)
    FoldAffine()(model)
    assert stated_parameter(model.graph[0].inputs[1]) == StatedParameter(INT8, (1.5,), (0,))


def test_scales_along_another_axis_lose_the_statement() -> None:
    text, _, shape = CASES["columns"]
    model = weighted(text, 0, (1.0, 2.0, 3.0), shape)
    FoldAffine()(model)
    (node,) = model.graph
    assert stated_parameter(node.inputs[1]) is None


def test_a_factor_that_leaves_no_normal_scale_loses_the_statement() -> None:
    text = "g (float[1, 3] x) => (float[1, 4] y) { c = Gemm(x, w) y = Mul(c, k) }"
    model = model_of(text, w=np.ones((3, 4), np.float32), k=np.float32(2.0**-140).reshape(()))
    state_parameter(value_of(model, "w"), ONE)
    FoldAffine()(model)
    assert ops(model) == ["Gemm"]
    assert stated_parameter(model.graph[0].inputs[1]) is None


def test_a_folded_bias_is_no_longer_stated() -> None:
    text = "g (float[1, 3] x) => (float[1, 4] y) { c = Gemm(x, w, b) y = Add(c, k) }"
    ones = np.ones(4, np.float32)
    model = model_of(text, w=np.ones((3, 4), np.float32), b=ones, k=ones)
    state_parameter(value_of(model, "w"), ONE)
    state_bias(value_of(model, "b"), (1, 2, 3, 4))
    FoldAffine()(model)
    (node,) = model.graph
    assert stated_bias(node.inputs[2]) is None
    assert stated_parameter(node.inputs[1]) == ONE


@pytest.mark.parametrize("fold", [FoldAffine, MatMulToGemm])
def test_nothing_is_folded_into_a_layer_whose_output_is_stated(
    fold: type[ir.passes.InPlacePass],
) -> None:
    operator = "Gemm" if fold is FoldAffine else "MatMul"
    text = f"g (float[1, 3] x) => (float[1, 4] y) {{ c = {operator}(x, w) y = Add(c, k) }}"
    model = model_of(text, w=np.ones((3, 4), np.float32), k=np.ones(4, np.float32))
    state_feature(value_of(model, "y"), B)
    assert fold()(model.clone()).modified
    state_feature(value_of(model, "c"), A)
    assert not fold()(model).modified


def test_the_result_of_a_fold_states_what_the_folded_node_did() -> None:
    text = "g (float[1, 3] x) => (float[1, 4] y) { c = MatMul(x, w) y = Add(c, k) }"
    model = model_of(text, w=np.ones((3, 4), np.float32), k=np.ones(4, np.float32))
    state_feature(value_of(model, "y"), B)
    state_parameter(value_of(model, "w"), ONE)
    MatMulToGemm()(model)
    assert stated_feature(value_of(model, "y")) == B
    assert stated_parameter(value_of(model, "w")) == ONE


INPUT_AFFINE = """g (float[1, 3, 4, 4] x) => (float[1, 2, 4, 4] y)
    { s = Mul(x, k) y = Conv(s, w) }"""


@pytest.mark.parametrize("named", ["x", "s", "w"])
def test_an_input_scale_stays_where_something_is_stated(named: str) -> None:
    arrays = {"k": np.float32(2).reshape(()), "w": np.ones((2, 3, 1, 1), np.float32)}
    assert FoldInputAffine()(model_of(INPUT_AFFINE, **arrays)).modified
    model = model_of(INPUT_AFFINE, **arrays)
    if named == "w":
        state_parameter(value_of(model, "w"), ONE)
    else:
        state_feature(value_of(model, named), A)
    assert not FoldInputAffine()(model).modified


CHANNELS = StatedParameter(INT8, (1.0, 2.0, 3.0), (0, 1, 2), 1)


@pytest.mark.parametrize(
    ("call", "axis"),
    [
        ("Transpose<perm = [1, 0, 2]>(w)", 0),
        ("Transpose(w)", 1),
        ("Reshape(w, [2, 1, 3, 4])", 2),
        ("Reshape(w, [2, 3, 2, 2])", 1),
        ("Reshape(w, [6, 4])", None),
        ("Reshape(w, [2, 12])", None),
        ("Unsqueeze(w, [0])", 2),
        ("Slice(w, [0], [1], [0])", None),
        ("Neg(w)", None),
    ],
)
def test_a_moved_constant_knows_its_axis(call: str, axis: int | None) -> None:
    arrays = {"w": np.arange(24, dtype=np.float32).reshape(2, 3, 4)}
    start = call.find("(w, ") + 4
    if start > 3:
        lists = call[start:-1].split("], ")
        names = [f"n{index}" for index in range(len(lists))]
        for name, text in zip(names, lists, strict=True):
            arrays[name] = np.array([int(item) for item in text.strip("[]").split(", ")])
        call = f"{call[:start]}{', '.join(names)})"
    model = model_of(f"g (float[1] x) => (float[N] y) {{ m = {call} y = Add(m, x) }}", **arrays)
    state_parameter(value_of(model, "w"), CHANNELS)
    FoldConstants()(model)
    found = stated_parameter(value_of(model, "m"))
    if axis is None:
        assert found is None
    else:
        assert found == StatedParameter(INT8, CHANNELS.scales, CHANNELS.zero_points, axis)


def test_one_scale_for_all_survives_every_move_in_one_go() -> None:
    text = """g (float[1] x) => (float[N] y)
        { a = Transpose(w) b = Flatten(a) m = Slice(b, s, e) y = Add(m, x) }"""
    arrays = {"s": np.array([1]), "e": np.array([3])}
    model = model_of(text, w=np.arange(24, dtype=np.float32).reshape(2, 3, 4), **arrays)
    state_parameter(value_of(model, "w"), ONE)
    FoldConstants()(model)
    assert ops(model) == ["Add"]
    assert stated_parameter(value_of(model, "m")) == ONE


def test_other_values_withdraw_the_statements_of_a_constant() -> None:
    model = model_of(PRODUCT.format(""), w=np.ones((3, 4), np.float32), k=np.ones(4, np.float32))
    constant = value_of(model, "w")
    state_parameter(constant, ONE)
    state_bias(constant, (1,))
    replace_constant(
        model.graph[0], 1, np.zeros((3, 4), np.float32), FreshNames(model.graph), "weight"
    )
    assert stated_parameter(constant) is None
    assert stated_bias(constant) is None


def test_a_constant_that_is_an_output_keeps_its_statement_behind_an_identity() -> None:
    model = model_of(
        "g (float[2] x) => (float[2] y, float[2] c) { y = Add(x, c) }", c=np.ones(2, np.float32)
    )
    state_parameter(value_of(model, "c"), ONE)
    DetachConstantOutputs()(model)
    assert stated_parameter(value_of(model, "c_value")) == ONE
