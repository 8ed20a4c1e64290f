"""What folds, what does not, and that folding computes what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from oracle.float_reference import run_float, run_ir, text_model
from tidlq.passes.fold_constants import FoldConstants
from tidlq.passes.infer_shapes import InferShapes


def fold(model: ir.Model) -> ir.Model:
    for _ in range(8):
        InferShapes()(model)
        if not FoldConstants()(model).modified:
            break
    return model


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_shape_arithmetic_becomes_the_target_shape() -> None:
    proto = text_model(
        """g (float[2, 3, 4] x) => (float[2, 12] y)
        { s = Shape(x)  n = Gather(s, zero)  u = Unsqueeze(n, axis)  t = Concat<axis = 0>(u, rest)
          y = Reshape(x, t) }""",
        {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])},
    )
    model = fold(ir.from_proto(proto))
    assert ops(model) == ["Reshape"]
    np.testing.assert_array_equal(model.graph.initializers["t"].const_value.numpy(), [2, -1])


def test_part_of_a_shape_and_the_size_fold() -> None:
    proto = text_model(
        """g (float[2, 3, 4] x) => (int64[1] y, int64 z)
        { s = Shape<start = -2, end = -1>(x)  y = Mul(s, s)  n = Size(x)  z = Neg(n) }"""
    )
    model = fold(ir.from_proto(proto))
    assert ops(model) == ["Mul", "Neg"]
    feeds = {"x": np.zeros((2, 3, 4), np.float32)}
    assert run_ir(model, feeds)["y"].tolist() == [9]
    assert run_ir(model, feeds)["z"] == -24


def test_a_constant_graph_output_keeps_its_node() -> None:
    proto = text_model(
        "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(c)  y = Neg(a)  z = Relu(x) }",
        {"c": np.array([1, 2], np.float32)},
    )
    model = fold(ir.from_proto(proto))
    assert ops(model) == ["Neg", "Relu"]
    assert run_ir(model, {"x": np.zeros(2, np.float32)})["y"].tolist() == [1, 2]


def test_a_folded_tensor_keeps_its_name_and_bits() -> None:
    values = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    proto = text_model(
        """g (float[7, 5] x) => (float[7, 5] y)
        { t = Transpose(c)  w = Softmax<axis = 0>(t)  y = Add(x, w) }""",
        {"c": values},
    )
    feeds = {"x": np.zeros((7, 5), np.float32)}
    model = fold(ir.from_proto(proto))
    assert ops(model) == ["Add"]
    np.testing.assert_array_equal(
        model.graph.initializers["w"].const_value.numpy(), run_float(proto, feeds)["y"]
    )


def test_random_numbers_are_not_folded() -> None:
    proto = text_model(
        "g (float[2] x) => (float[2] y) { r = RandomNormalLike(c)  y = Add(x, r) }",
        {"c": np.zeros(2, np.float32)},
    )
    assert ops(fold(ir.from_proto(proto))) == ["RandomNormalLike", "Add"]


def test_a_huge_result_of_a_tiny_constant_is_not_computed() -> None:
    proto = text_model(
        """g (float[1] x) => (float[N] y)
        { big = ConstantOfShape(s)  flat = ReduceSum<keepdims = 0>(big)  y = Add(x, flat) }""",
        {"s": np.array([1 << 20, 1 << 20])},
    )
    assert ops(fold(ir.from_proto(proto))) == ["ConstantOfShape", "ReduceSum", "Add"]


def test_one_node_that_cannot_run_does_not_stop_the_others() -> None:
    proto = text_model(
        """g (float[2] x) => (float[2] y, uint8[2] z)
        { n = Neg(c)  y = Add(x, n)  m = Mul(b, b)  k = BitShift<direction = "LEFT">(h, h)
          k8 = Cast<to = 2>(k)  z = Add(m, k8) }""",
        {
            "c": np.array([1, 2], np.float32),
            "b": np.array([1, 2], np.uint8),
            "h": np.array([1, 2], np.uint16),
        },
    )
    left = ops(fold(ir.from_proto(proto)))
    assert "Neg" not in left
    assert "Add" in left


def test_sizes_that_depend_on_data_fold_in_turn() -> None:
    proto = text_model(
        """g (float[2, 2] x) => (float[1, 3] y)
        { i = NonZero(mask)  t = Transpose(i)  n = Shape(t)  k = Gather(n, zero)
          f = Flatten(x)  y = GatherND(x, t)  }""".replace("[1, 3]", "[3]"),
        {"mask": np.array([[1, 0], [1, 1]], np.float32), "zero": np.array([0])},
    )
    model = fold(ir.from_proto(proto))
    assert "NonZero" not in ops(model)
    assert "Transpose" not in ops(model)
    feeds = {"x": np.array([[1, 2], [3, 4]], np.float32)}
    assert run_ir(model, feeds)["y"].tolist() == [1, 3, 4]


QUANTIZED = """g (float[2, 3] x) => (float[2, 2] y)
{ w = DequantizeLinear(q, s, z)  y = MatMul(x, w) }"""
QUANTIZED_CONSTANTS = {
    "q": np.arange(6, dtype=np.int8).reshape(3, 2),
    "s": np.array(0.5, np.float32),
    "z": np.array(1, np.int8),
}


def test_quantization_is_left_to_another_pass() -> None:
    proto = text_model(QUANTIZED, QUANTIZED_CONSTANTS)
    assert ops(fold(ir.from_proto(proto))) == ["DequantizeLinear", "MatMul"]


def test_a_constant_read_inside_a_nested_graph_is_still_read_there() -> None:
    proto = text_model(
        """g (bool c, float[2] x) => (float[2] y)
        { n = Neg(k)
          y = If(c) <then_branch = t () => (float[2] a) { a = Add(x, n) },
                     else_branch = e () => (float[2] b) { b = Sub(x, n) }> }""",
        {"k": np.array([1, 2], np.float32)},
    )
    model = fold(ir.from_proto(proto))
    assert ops(model) == ["If"]
    feeds = {"x": np.zeros(2, np.float32), "c": np.array(True)}
    assert run_ir(model, feeds)["y"].tolist() == [-1, -2]
