"""What exporters of quantized models really write becomes a float Graph with true statements."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from oracle.float_reference import random_feeds, run_float, run_ir, text_model
from oracle.stated_reference import run_stated
from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureQuant, IntegerType, Requantization, StatedParameter

DRAW = np.random.default_rng(4)
INT8, UINT8 = IntegerType(8, signed=True), IntegerType(8, signed=False)
Arrays = dict[str, NDArray[np.generic]]


def scalar(value: float, dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
    return np.asarray(value, dtype)


SX, SW, SY = 0.03125, 0.0078125, 0.0625
COMMON: Arrays = {
    "sx": scalar(SX),
    "zx": scalar(3, np.uint8),
    "sw": scalar(SW),
    "zw": scalar(0, np.int8),
    "sy": scalar(SY),
    "zy": scalar(-5, np.int8),
    "w": DRAW.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
}
INPUT = "float[1, 2, 5, 5] x"
FEATURES = {"x": FeatureQuant(UINT8, SX, 3), "y": FeatureQuant(INT8, SY, -5)}
PAIR = "q = QuantizeLinear(x, sx, zx) d = DequantizeLinear(q, sx, zx)"
END = "p = QuantizeLinear(a, sy, zy) y = DequantizeLinear(p, sy, zy)"


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def import_text(body: str, arrays: Arrays, *, opset: int = 13, given: str = INPUT) -> Graph:
    return import_onnx(network(body, arrays, opset=opset, given=given))


def network(
    body: str, arrays: Arrays, *, opset: int = 13, given: str = INPUT, output: str = "float[N] y"
) -> onnx.ModelProto:
    proto = text_model(f"g ({given}) => ({output}) {{ {body} }}", None, opset=opset)
    named = {name for node in proto.graph.node for name in node.input}
    for name, array in {**COMMON, **arrays}.items():
        if name in named:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    return proto


def assert_same_as_original(proto: onnx.ModelProto) -> Graph:
    """The Graph with its statements put back gives what the model gives, exactly."""
    graph = import_onnx(proto)
    for seed in range(4):
        feeds = random_feeds(graph, seed)
        expected, found = run_float(proto, feeds), run_stated(graph, feeds)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    return graph


def test_pairs_become_statements_and_the_output_keeps_its_name() -> None:
    body = f"{PAIR} v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"
    graph = assert_same_as_original(network(body, {}))
    assert ops(graph) == ["Conv"]
    stated = graph.stated
    assert stated is not None
    assert stated.features == FEATURES
    assert stated.parameters == {"v": StatedParameter(INT8, (SW,), (0,))}
    assert stated.biases == {}
    assert stated.requantization is Requantization.FLOAT
    np.testing.assert_array_equal(graph.constant("v"), COMMON["w"] * np.float32(SW))
    assert [signature.name for signature in graph.outputs] == ["y"]


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


def test_initializers_listed_as_inputs_are_constants() -> None:
    proto = network(f"{PAIR} v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}", {})
    for tensor in proto.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    graph = import_onnx(proto)
    assert [signature.name for signature in graph.inputs] == ["x"]
    assert graph.stated is not None
    assert graph.stated.features == FEATURES


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


def test_nothing_folds_across_a_quantized_tensor() -> None:
    body = f"""{PAIR} v = DequantizeLinear(w, sw, zw) n = Conv(d, v)
        o = QuantizeLinear(n, sy, zy) e = DequantizeLinear(o, sy, zy) a = Mul(e, k) {END}"""
    graph = assert_same_as_original(network(body, {"k": scalar(0.75)}))
    assert ops(graph) == ["Conv", "Mul"]


def test_an_axis_on_a_scalar_scale_is_ignored() -> None:
    body = f"""q = QuantizeLinear<axis = 1>(x, sx, zx) d = DequantizeLinear<axis = 1>(q, sx, zx)
        v = DequantizeLinear<axis = 3>(w, sw, zw) a = Conv(d, v) {END}"""
    graph = import_text(body, {"sx": np.float32([SX]), "zx": np.uint8([3])})
    assert graph.stated is not None
    assert graph.stated.features == FEATURES


def test_a_missing_zero_point_is_uint8_zero() -> None:
    body = "q = QuantizeLinear(x, sx) y = DequantizeLinear(q, sx)"
    graph = assert_same_as_original(network(body, {}, opset=10))
    quant = FeatureQuant(UINT8, SX, 0)
    assert ops(graph) == ["Identity"]
    assert graph.stated is not None
    assert graph.stated.features == {"x": quant, "y": quant}


def test_a_residual_sum_may_be_quantized_on_one_side_only() -> None:
    body = f"""{PAIR} v = DequantizeLinear(w, sw, zw) n = Conv<pads = [1, 1, 1, 1]>(d, v)
        o = QuantizeLinear(n, sy, zy) e = DequantizeLinear(o, sy, zy)
        l = Slice(d, from, to, axes) r = Pad(l, pads) a = Add(e, r) {END}"""
    arrays: Arrays = {
        "w": DRAW.integers(-127, 128, (2, 2, 3, 3)).astype(np.int8),
        "from": np.array([0]),
        "to": np.array([1]),
        "axes": np.array([1]),
        "pads": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
    }
    graph = assert_same_as_original(network(body, arrays))
    assert graph.stated is not None
    # Slice and Pad with zero select elements: what they write is as quantized as what they read.
    assert graph.stated.features == {
        **FEATURES,
        "n": FEATURES["y"],
        "l": FEATURES["x"],
        "r": FEATURES["x"],
    }


def test_pads_computed_by_shape_arithmetic_fold() -> None:
    body = f"""{PAIR} more = ConstantOfShape<value = int64[1] {{0}}>(count)
        all = Concat<axis = 0>(some, more) grid = Reshape(all, two)
        turned = Slice(grid, minus, far, zero, minus) flat = Transpose(turned)
        list = Reshape(flat, minus) pads = Cast<to = 7>(list)
        a = Pad(d, pads) {END}"""
    arrays: Arrays = {
        "count": np.array([4]),
        "some": np.array([1, 1, 1, 1]),
        "two": np.array([-1, 2]),
        "minus": np.array([-1]),
        "far": np.array([-(2**62)]),
        "zero": np.array([0]),
    }
    graph = assert_same_as_original(network(body, arrays))
    # Pad keeps the form of its input; the other form that the model asks for is one more step.
    assert ops(graph) == ["Pad", "Identity"]
    assert graph.stated is not None
    assert graph.stated.features == {**FEATURES, "y_selected": FEATURES["x"]}


def test_an_integer_interface_stays() -> None:
    body = """d = DequantizeLinear(x, sx, zx) v = DequantizeLinear(w, sw, zw) a = Conv(d, v)
        y = QuantizeLinear(a, sy, zy)"""
    given, output = "uint8[1, 2, 5, 5] x", "int8[N] y"
    graph = assert_same_as_original(network(body, {}, given=given, output=output))
    assert ops(graph) == ["DequantizeLinear", "Conv", "QuantizeLinear"]
    assert [signature.dtype for signature in graph.inputs] == [np.uint8]
    assert [signature.dtype for signature in graph.outputs] == [np.int8]
    assert graph.stated is not None
    assert graph.stated.features == {"d": FEATURES["x"], "a": FEATURES["y"]}


def test_an_integer_input_may_be_transposed_first() -> None:
    body = f"""t = Transpose<perm = [0, 3, 1, 2]>(x) d = DequantizeLinear(t, sx, zx)
        v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"""
    graph = assert_same_as_original(network(body, {}, given="uint8[1, 5, 5, 2] x"))
    assert ops(graph) == ["DequantizeLinear", "Transpose", "Conv"]
    assert graph.stated is not None
    assert FEATURES["x"] in graph.stated.features.values()


def test_the_same_pair_twice_is_one() -> None:
    body = f"""{PAIR} r = QuantizeLinear(d, sx, zx) e = DequantizeLinear(r, sx, zx)
        v = DequantizeLinear(w, sw, zw) a = Conv(e, v) {END}"""
    assert ops(assert_same_as_original(network(body, {}))) == ["Conv"]


def test_two_quantizations_in_a_row_keep_an_identity() -> None:
    body = f"""{PAIR} r = QuantizeLinear(d, sy, zy) e = DequantizeLinear(r, sy, zy)
        v = DequantizeLinear(w, sw, zw) a = Conv(e, v) {END}"""
    graph = assert_same_as_original(network(body, {}))
    assert ops(graph) == ["Identity", "Conv"]
    assert graph.stated is not None
    assert graph.stated.features == {**FEATURES, "x_requantized": FEATURES["y"]}


def test_two_readers_that_quantize_differently_see_two_tensors() -> None:
    body = f"""{PAIR} r = QuantizeLinear(x, sy, zy) e = DequantizeLinear(r, sy, zy)
        a = Add(d, e) {END}"""
    graph = import_text(body, {})
    assert ops(graph) == ["Identity", "Add"]
    assert graph.stated is not None
    # The wider range comes first: the other form is made of it.
    assert graph.stated.features["x"] == FEATURES["y"]
    assert graph.stated.features["x_requantized"] == FEATURES["x"]


def test_a_raw_reader_of_a_quantized_tensor_reads_it_quantized() -> None:
    body = f"{PAIR} s = Sigmoid(d) t = Tanh(x) a = Add(s, t) {END}"
    graph = import_text(body, {})
    assert ops(graph) == ["Sigmoid", "Tanh", "Add"]
    assert [node.inputs[0].name for node in list(graph.nodes)[:2]] == ["x", "x"]


def test_two_outputs_of_one_quantized_tensor_keep_both_names() -> None:
    body = """a = Relu(x) p = QuantizeLinear(a, sy, zy) y = DequantizeLinear(p, sy, zy)
        z = DequantizeLinear(p, sy, zy)"""
    proto = network(body, {}, output="float[N] y, float[N] z")
    graph = assert_same_as_original(proto)
    assert [signature.name for signature in graph.outputs] == ["y", "z"]
    assert ops(graph) == ["Relu", "Identity"]


def test_operators_of_onnx_runtime_are_understood() -> None:
    body = f"""q = com.microsoft.QuantizeLinear(x, sx, wide)
        d = com.microsoft.DequantizeLinear(q, sx, wide)
        v = com.microsoft.DequantizeLinear<axis = 0>(w, sc, zc) a = Conv(d, v) {END}"""
    arrays: Arrays = {
        "wide": scalar(-9, np.int16),
        "sc": np.float32([1, 2, 3, 4]),
        "zc": np.zeros(4, np.int8),
    }
    graph = assert_same_as_original(with_microsoft(network(body, arrays)))
    assert ops(graph) == ["Conv"]
    assert graph.stated is not None
    assert graph.stated.features["x"] == FeatureQuant(IntegerType(16, signed=True), SX, -9)


def with_microsoft(proto: onnx.ModelProto) -> onnx.ModelProto:
    proto.opset_import.add(domain="com.microsoft", version=1)
    return proto


def test_channels_of_a_feature_map_stay_nodes() -> None:
    body = """q = QuantizeLinear<axis = 1>(x, sc) d = DequantizeLinear<axis = 1>(q, sc)
        y = Relu(d)"""
    graph = assert_same_as_original(network(body, {"sc": np.float32([1, 2])}))
    assert ops(graph) == ["QuantizeLinear", "DequantizeLinear", "Relu"]
    assert graph.stated is None


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


def test_an_input_shift_stays_before_a_quantized_convolution() -> None:
    body = f"""s = Sub(x, mean) q = QuantizeLinear(s, sx, zx) d = DequantizeLinear(q, sx, zx)
        v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"""
    graph = assert_same_as_original(network(body, {"mean": scalar(0.5)}))
    assert ops(graph) == ["Sub", "Conv"]


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


def test_the_graph_alone_is_the_model_without_rounding() -> None:
    body = f"{PAIR} v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"
    proto = network(body, {})
    graph = import_onnx(proto)
    feeds = random_feeds(graph)
    # 18 products, each off by at most half a step of the input, and half a step of the output.
    bound = 18 * SX / 2 * 127 * SW + SY / 2
    feeds = {name: np.clip(array, -0.09, 0.4) for name, array in feeds.items()}
    difference = run_ir(graph.model, feeds)["y"] - run_float(proto, feeds)["y"]
    assert 0 < np.abs(difference).max() <= bound
