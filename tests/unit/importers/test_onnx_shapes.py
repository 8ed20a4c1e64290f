"""Free sizes: what becomes 1, what must be given, and what the interface shows."""

from __future__ import annotations

import numpy as np
import pytest

from oracle.float_reference import text_model
from tidlq.errors import ModelError
from tidlq.importers.onnx_model import import_onnx

MISSING_SIZE = (
    r"axis 2 \('H'\) of input 'image' has no fixed size in Nx3xHxW; "
    r"give it with --input-shape image=1x3x<H>x<W> \(input_shapes in Python\)\."
)
FLAT = {"s": np.array([0, -1])}
TO_ONE = {"s": np.array([1, -1])}


def shapes(
    text: str, constants: dict[str, np.ndarray] | None = None, **given: list[int]
) -> tuple[bool, dict[str, tuple[int | str, ...]]]:
    graph = import_onnx(text_model(text, constants), input_shapes=given)
    for signature in (*graph.inputs, *graph.outputs):
        assert all(isinstance(size, int) for size in signature.shape)
    ends = (*graph.inputs, *graph.outputs)
    return graph.free_batch, {end.name: end.interface_shape for end in ends}


def test_a_free_batch_becomes_one_and_stays_in_the_interface() -> None:
    text = "g (float[N, 3, 4] x) => (float[M, 12] y) { y = Reshape(x, s) }"
    assert shapes(text, FLAT) == (True, {"x": ("N", 3, 4), "y": ("M", 12)})


def test_fixed_shapes_stay() -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }"
    assert shapes(text) == (False, {"x": (2, 3), "y": (2, 3)})


def test_every_input_and_output_must_carry_the_batch() -> None:
    fixed = "g (float[N, 3] x, float[1, 3] k) => (float[N, 3] y) { y = Add(x, k) }"
    assert shapes(fixed) == (False, {"x": (1, 3), "k": (1, 3), "y": (1, 3)})
    free = "g (float[N, 3] x, float[N, 3] k) => (float[N, 3] y) { y = Add(x, k) }"
    assert shapes(free)[0]


def test_an_output_without_the_batch_makes_it_fixed() -> None:
    text = "g (float[N, 3] x) => (float[3] y) { y = ReduceSum<keepdims = 0>(x, axes) }"
    assert shapes(text, {"axes": np.array([0])}) == (False, {"x": (1, 3), "y": (3,)})


def test_an_output_whose_leading_axis_is_something_else_makes_it_fixed() -> None:
    text = "g (float[N, 3, 4] x) => (float[R, 4] y) { y = Reshape(x, rows) }"
    assert shapes(text, {"rows": np.array([-1, 4])}) == (False, {"x": (1, 3, 4), "y": (3, 4)})


def test_an_output_declared_with_size_one_makes_it_fixed() -> None:
    text = "g (float[N, 3, 4] x) => (float[1, 12] y) { y = Reshape(x, s) }"
    assert not shapes(text, TO_ONE)[0]


@pytest.mark.parametrize(("constants", "free"), [(FLAT, True), (TO_ONE, False)])
def test_an_undeclared_output_is_judged_by_inference(
    constants: dict[str, np.ndarray], free: bool
) -> None:
    proto = text_model("g (float[N, 3, 4] x) => (float[M, 12] y) { y = Reshape(x, s) }", constants)
    proto.graph.output[0].ClearField("type")
    assert import_onnx(proto).free_batch is free


@pytest.mark.parametrize("size", [0, -1])
def test_zero_and_negative_sizes_are_free(size: int) -> None:
    proto = text_model("g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }")
    for info in (proto.graph.input[0], proto.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = size
    graph = import_onnx(proto)
    assert graph.free_batch
    assert graph.inputs[0].interface_shape == ("batch", 3)


@pytest.mark.parametrize("word", ["?", "None", "-1"])
def test_a_placeholder_is_no_name(word: str) -> None:
    proto = text_model("g (float[A, 3, B, C] x) => (float[A, 3, B, C] y) { y = Relu(x) }")
    for info in (proto.graph.input[0], proto.graph.output[0]):
        for axis in (0, 2, 3):
            info.type.tensor_type.shape.dim[axis].dim_param = word
    graph = import_onnx(proto, input_shapes={"x": [1, 3, 8, 6]})
    assert graph.inputs[0].interface_shape == ("batch", 3, 8, 6)
    with pytest.raises(ModelError, match=r"axis 2 of input 'x' has no fixed size in \?x3x\?x\?"):
        import_onnx(proto)


def test_given_sizes_bind_the_same_name_everywhere() -> None:
    text = """g (float[N, 3, H, W] x, float[N, 3, H, W] k) => (float[N, 3, H, W] y)
    { y = Add(x, k) }"""
    free, found = shapes(text, x=[1, 3, 8, 6])
    assert free
    assert found == dict.fromkeys("xky", ("N", 3, 8, 6))


def test_a_given_batch_is_fixed() -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }"
    assert shapes(text, x=[4, 3]) == (False, {"x": (4, 3), "y": (4, 3)})


def test_declared_shapes_inside_do_not_contradict_given_ones() -> None:
    text = """g (float[N, 3, H, H] x) => (float[N, 3, H, H] y) <float[N, 3, H, H] a>
    { a = Relu(x) y = Neg(a) }"""
    graph = import_onnx(text_model(text), input_shapes={"x": [1, 3, 5, 5]})
    assert graph.shape("y") == (1, 3, 5, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, MISSING_SIZE),
        (
            {"imag": [1, 3, 8, 8]},
            r"there is no input 'imag'; inputs are 'image'\. Did you mean 'image'\?",
        ),
        (
            {"image": [3, 8, 8]},
            r"input 'image' has 4 axes \(Nx3xHxW\); the given shape 3x8x8 has 3",
        ),
        (
            {"image": [1, 4, 8, 8]},
            r"axis 1 of input 'image' is fixed at 3; the given shape 1x4x8x8 has 4",
        ),
        ({"image": [1, 3, 0, 8]}, r"the shape 1x3x0x8 given for input 'image' must have whole"),
        ({"image": [1, 3, 8.5, 8]}, r"must have whole sizes"),
        ({"image": [1, 3, 1 << 40, 8]}, r"sizes from 1 to 2147483647"),
        (
            {"image": [1, 3, 65536, 65536]},
            r"tensor 'image' has shape 1x3x65536x65536, 12884901888 elements; at most 2147483647",
        ),
    ],
)
def test_a_shape_that_does_not_fit_is_explained(given: dict[str, list[int]], message: str) -> None:
    proto = text_model("g (float[N, 3, H, W] image) => (float[N, 3, H, W] y) { y = Relu(image) }")
    with pytest.raises(ModelError, match=message):
        import_onnx(proto, input_shapes=given)


def test_one_name_cannot_have_two_sizes() -> None:
    proto = text_model("g (float[N, A] x, float[N, A] k) => (float[N, A] y) { y = Add(x, k) }")
    message = r"axis 1 \('A'\) of input 'k' is given as 4, but 'A' is 3 elsewhere"
    with pytest.raises(ModelError, match=message):
        import_onnx(proto, input_shapes={"x": [1, 3], "k": [1, 4]})


def test_an_input_without_a_shape_needs_one() -> None:
    proto = text_model("g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="input 'x' has no shape; give it with --input-shape x="):
        import_onnx(proto)
    assert import_onnx(proto, input_shapes={"x": [2, 3]}).inputs[0].shape == (2, 3)


def test_an_absurd_declared_size_is_refused() -> None:
    proto = text_model("g (float[1, 3] x) => (float[N, M] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40
    with pytest.raises(ModelError, match="axis 1 of input 'x' has size 1099511627776"):
        import_onnx(proto)


def test_an_absurd_size_inside_is_refused() -> None:
    proto = text_model(
        "g (float[1, 65536] x) => (float[N, M] y) { a = Transpose(x) b = Mul(a, x) "
        "y = ReduceSum(b) }"
    )
    with pytest.raises(ModelError, match="tensor 'b' has shape 65536x65536"):
        import_onnx(proto)


def test_sizes_that_only_data_decide_are_left_open() -> None:
    proto = text_model("g (float[1, 3] x) => (int64[2, K] y) { y = NonZero(x) }")
    graph = import_onnx(proto)
    assert graph.shape("y") is None
    assert isinstance(ir_dims(graph.model.graph.outputs[0].shape)[1], str | None)


def ir_dims(shape: object) -> list[object]:
    return [getattr(size, "value", size) for size in shape]  # type: ignore[attr-defined]


def test_shape_arithmetic_follows_the_given_size() -> None:
    text = """g (float[N, T] x) => (float[N, T] y)
    { s = Shape(x) c = ConstantOfShape(s) y = Add(x, c) }"""
    graph = import_onnx(text_model(text), input_shapes={"x": [1, 7]})
    assert [node.op_type for node in graph.nodes] == ["Add"]
    assert graph.shape("c") == (1, 7)
