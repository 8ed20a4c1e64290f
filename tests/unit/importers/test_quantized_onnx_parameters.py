"""Weights and biases of quantized models as exporters write them: real values, true statements."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from oracle.quantized_networks import (
    COMMON,
    DRAW,
    END,
    FEATURES,
    INT8,
    PAIR,
    SW,
    SX,
    UINT8,
    Arrays,
    assert_same_as_original,
    import_text,
    network,
    ops,
    scalar,
)
from tidlq.errors import ModelError
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import IntegerType, StatedParameter


def test_weights_stored_as_float_are_quantized_clipped_and_stated() -> None:
    real = (COMMON["w"] * np.float32(SW * 1.4)).astype(np.float32)
    body = f"""{PAIR} k = QuantizeLinear<axis = 0>(w, sc, zc) l = Clip(k, low, high)
        v = DequantizeLinear<axis = 0>(l, sc, zc) a = Conv(d, v) {END}"""
    scales = np.float32([SW, 2 * SW, 3 * SW, 2e-9])
    arrays = {
        "w": real,
        "sc": scales,
        "zc": np.zeros(4, np.int8),
        "low": scalar(-127, np.int8),
        "high": scalar(127, np.int8),
    }
    graph = assert_same_as_original(network(body, arrays))
    assert graph.stated is not None
    assert graph.stated.parameters == {
        "v": StatedParameter(INT8, tuple(map(float, scales)), (0,) * 4, 0)
    }
    integers = np.rint(graph.constant("v") / scales.astype(np.float64).reshape(4, 1, 1, 1))
    expected = np.clip(np.rint(real / scales.reshape(4, 1, 1, 1)), -127, 127)
    np.testing.assert_array_equal(integers, expected)


def test_stored_integers_followed_by_a_clip_are_stated_clipped() -> None:
    body = f"""{PAIR} l = Clip(w, low, high) v = DequantizeLinear(l, sw, zw)
        a = Conv(d, v) {END}"""
    arrays: Arrays = {
        "w": np.full((4, 2, 3, 3), -128, np.int8),
        "low": scalar(-127, np.int8),
        "high": scalar(127, np.int8),
    }
    graph = assert_same_as_original(network(body, arrays))
    assert set(np.unique(graph.constant("v"))) == {np.float32(-127 * SW)}


def test_integers_of_16_bits_are_clipped_too() -> None:
    body = f"""{PAIR} l = Clip(w, low) v = DequantizeLinear(l, sw, zero)
        a = Conv(d, v) {END}"""
    arrays: Arrays = {
        "w": DRAW.integers(-32768, 32767, (4, 2, 3, 3)).astype(np.int16),
        "low": scalar(-100, np.int16),
        "zero": scalar(0, np.int16),
    }
    graph = import_text(body, arrays, opset=21)
    np.testing.assert_array_equal(
        graph.constant("v"), np.maximum(arrays["w"], -100) * np.float32(SW)
    )


def test_a_weight_with_zero_points_keeps_them() -> None:
    body = f"{PAIR} v = DequantizeLinear<axis = 0>(w, sc, zc) a = Conv(d, v) {END}"
    arrays: Arrays = {
        "w": DRAW.integers(0, 256, (4, 2, 3, 3)).astype(np.uint8),
        "sc": np.float32([SW, 1, 2, 3]),
        "zc": np.uint8([128, 0, 255, 7]),
    }
    graph = assert_same_as_original(network(body, arrays))
    assert graph.stated is not None
    expected = StatedParameter(UINT8, (SW, 1.0, 2.0, 3.0), (128, 0, 255, 7), 0)
    assert graph.stated.parameters == {"v": expected}


BIASED = f"""{PAIR} v = DequantizeLinear<axis = 0>(w, sc, zc)
    c = DequantizeLinear<axis = 0>(b, sb, zb) a = Conv(d, v, c) {END}"""
CHANNELS = np.float32([SW, 0.3, 2e-9, 0.1])
BIAS: Arrays = {
    "sc": CHANNELS,
    "zc": np.zeros(4, np.int8),
    "b": np.int32([5, -7, 2**30 + 1, 0]),
    "sb": CHANNELS * np.float32(SX),
    "zb": np.zeros(4, np.int32),
}


def test_a_bias_at_the_scale_of_the_accumulator_states_its_integers() -> None:
    graph = assert_same_as_original(network(BIASED, BIAS))
    assert graph.stated is not None
    assert graph.stated.biases == {"c": (5, -7, 2**30 + 1, 0)}


def test_a_bias_scale_may_be_off_by_float32_rounding() -> None:
    scales = np.nextafter(BIAS["sb"], np.float32(1))
    graph = import_text(BIASED, {**BIAS, "sb": scales})
    assert graph.stated is not None
    assert list(graph.stated.biases) == ["c"]


def test_a_bias_at_another_scale_is_only_its_values() -> None:
    graph = assert_same_as_original(network(BIASED, {**BIAS, "sb": BIAS["sb"] * np.float32(2)}))
    assert graph.stated is not None
    assert graph.stated.biases == {}
    expected = BIAS["b"].astype(np.float32) * (BIAS["sb"] * np.float32(2))
    np.testing.assert_array_equal(graph.constant("c"), expected)


def test_a_bias_of_one_scale_serves_a_weight_of_one_scale() -> None:
    body = f"""{PAIR} v = DequantizeLinear(w, sw, zw) c = DequantizeLinear(b, sb)
        a = Conv(d, v, c) {END}"""
    graph = import_text(body, {"b": np.int32([1, 2, 3, 4]), "sb": scalar(SX * SW)})
    assert graph.stated is not None
    assert graph.stated.biases == {"c": (1, 2, 3, 4)}


def test_a_batch_norm_before_the_next_quantization_scales_the_statement() -> None:
    body = f"""{PAIR} v = DequantizeLinear(w, sw, zw) n = Conv(d, v)
        m = BatchNormalization(n, gamma, beta, mean, var) a = Relu(m) {END}"""
    gamma = np.float32([1, -2, 0, 0.5])
    arrays = {
        "w": np.clip(COMMON["w"], -127, 127),
        "gamma": gamma,
        "beta": np.float32([1, 2, 3, 4]),
        "mean": np.float32([0, 1, 0, 1]),
        "var": np.ones(4, np.float32) - np.float32(1e-5),
    }
    graph = import_text(body, arrays)
    assert ops(graph) == ["Conv", "Relu"]
    stated = graph.stated
    assert stated is not None
    (parameter,) = stated.parameters.values()
    assert parameter.type == INT8
    np.testing.assert_allclose(parameter.scales, SW * np.array([1, 2, 1, 0.5]), rtol=1e-6)
    (name,) = stated.parameters
    steps = np.array(parameter.scales).reshape(4, 1, 1, 1)
    integers = np.rint(graph.constant(name) / steps)
    signs = np.sign(gamma).reshape(4, 1, 1, 1)
    np.testing.assert_array_equal(integers, signs * arrays["w"])


def test_the_lowest_integer_of_a_negated_channel_takes_16_bits() -> None:
    body = f"""{PAIR} v = DequantizeLinear(w, sw, zw) n = Conv(d, v) a = Mul(n, k) {END}"""
    arrays: Arrays = {
        "w": np.full((4, 2, 3, 3), -128, np.int8),
        "k": np.float32([1, -1, 1, 1]).reshape(4, 1, 1),
    }
    graph = assert_same_as_original(network(body, arrays))
    assert ops(graph) == ["Conv"]
    assert graph.stated is not None
    (parameter,) = graph.stated.parameters.values()
    assert parameter == StatedParameter(IntegerType(16, signed=True), (SW,) * 4, (0,) * 4, 0)


def test_weights_alone_leave_a_float_model() -> None:
    body = "v = DequantizeLinear(w, sw, zw) y = Conv(x, v)"
    graph = import_text(body, {})
    assert ops(graph) == ["Conv"]
    assert graph.stated is None


def test_weights_of_4_bits_are_stated_as_8() -> None:
    body = f"{PAIR} v = DequantizeLinear(four, sw) a = Conv(d, v) {END}"
    proto = network(body, {}, opset=21)
    values = [-8, 7, 1, 0, 3, -3, 2, 5, -1] * 8
    proto.graph.initializer.append(
        onnx.helper.make_tensor("four", onnx.TensorProto.INT4, [4, 2, 3, 3], values)
    )
    graph = import_onnx(proto)
    assert ops(graph) == ["Conv"]
    assert graph.stated is not None
    assert graph.stated.parameters == {"v": StatedParameter(INT8, (SW,), (0,))}
    np.testing.assert_array_equal(
        graph.constant("v").reshape(-1), np.float32(SW) * np.float32(values)
    )


def test_weights_in_blocks_become_float_without_a_statement() -> None:
    body = f"{PAIR} v = DequantizeLinear<axis = 1, block_size = 2>(k, sb) a = MatMul(d, v) {END}"
    arrays: Arrays = {
        "k": DRAW.integers(-127, 128, (5, 6)).astype(np.int8),
        "sb": DRAW.uniform(0.1, 1, (5, 3)).astype(np.float32),
    }
    graph = assert_same_as_original(network(body, arrays, opset=21))
    assert ops(graph) == ["MatMul"]
    assert graph.stated is not None
    assert graph.stated.parameters == {}


def test_a_transposed_weight_keeps_its_statement() -> None:
    body = f"""{PAIR} v = DequantizeLinear<axis = 0>(k, sc) t = Transpose<perm = [1, 0]>(v)
        m = MatMul(d, t) a = Add(m, b) {END}"""
    arrays: Arrays = {
        "k": DRAW.integers(-127, 128, (3, 6)).astype(np.int8),
        "sc": np.float32([1, 2, 3]),
        "b": np.float32([4, 5, 6]),
    }
    graph = assert_same_as_original(network(body, arrays, given="float[2, 6] x"))
    assert ops(graph) == ["Gemm"]
    assert graph.stated is not None
    expected = StatedParameter(INT8, (1.0, 2.0, 3.0), (0, 0, 0), 1)
    assert list(graph.stated.parameters.values()) == [expected]


def test_a_bias_behind_a_matrix_product_keeps_its_integers() -> None:
    body = f"""{PAIR} v = DequantizeLinear(k, sw) c = DequantizeLinear(b, sb)
        m = MatMul(d, v) a = Add(m, c) {END}"""
    arrays: Arrays = {
        "k": DRAW.integers(-127, 128, (6, 3)).astype(np.int8),
        "b": np.int32([[4, 5, 6]]),
        "sb": scalar(SX * SW),
    }
    graph = assert_same_as_original(network(body, arrays, given="float[2, 6] x"))
    assert ops(graph) == ["Gemm"]
    assert graph.stated is not None
    assert list(graph.stated.biases.values()) == [(4, 5, 6)]


def test_a_matrix_product_quantized_before_its_bias_stays_one() -> None:
    body = f"""{PAIR} v = DequantizeLinear(k, sw) m = MatMul(d, v) o = QuantizeLinear(m, sy, zy)
        e = DequantizeLinear(o, sy, zy) a = Add(e, b) {END}"""
    arrays: Arrays = {
        "k": DRAW.integers(-127, 128, (6, 3)).astype(np.int8),
        "b": np.float32([1, 2, 3]),
    }
    graph = assert_same_as_original(network(body, arrays, given="float[2, 6] x"))
    assert ops(graph) == ["MatMul", "Add"]


def test_half_precision_scales_widen() -> None:
    body = """q = QuantizeLinear(x, sh, zx) d = DequantizeLinear(q, sh, zx)
        v = DequantizeLinear(w, sv, zw) y = Conv(d, v)"""
    arrays: Arrays = {"sh": scalar(SX, np.float16), "sv": scalar(SW, np.float16)}
    given, output = "float16[1, 2, 5, 5] x", "float16[N] y"
    graph = import_onnx(network(body, arrays, opset=19, given=given, output=output))
    assert ops(graph) == ["Cast", "Conv", "Cast"]
    assert graph.stated is not None
    assert list(graph.stated.features.values()) == [FEATURES["x"]]


def test_a_scale_of_zero_is_one_clear_error() -> None:
    body = f"{PAIR} v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"
    with pytest.raises(ModelError, match=r"the scale 'sw' of node 'v' .* is 0 at index 0"):
        import_text(body, {"sw": scalar(0.0)})


def test_a_denormal_scale_is_exact() -> None:
    body = f"{PAIR} v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"
    tiny = 2.0**-149
    graph = assert_same_as_original(network(body, {"sw": scalar(tiny)}))
    assert graph.stated is not None
    assert graph.stated.parameters == {"v": StatedParameter(INT8, (tiny,), (0,))}
    np.testing.assert_array_equal(np.rint(graph.constant("v").astype(float) / tiny), COMMON["w"])
