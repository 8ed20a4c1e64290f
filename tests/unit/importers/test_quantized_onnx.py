"""Feature maps of quantized models as exporters write them: a float Graph with true statements."""

from __future__ import annotations

import numpy as np
import onnx

from oracle.float_reference import random_feeds, run_float, run_ir
from oracle.quantized_networks import (
    COMMON,
    DRAW,
    END,
    FEATURES,
    INT8,
    PAIR,
    SW,
    SX,
    SY,
    UINT8,
    Arrays,
    assert_same_as_original,
    import_text,
    network,
    ops,
    scalar,
)
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureQuant, IntegerType, Requantization, StatedParameter


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


def test_initializers_listed_as_inputs_are_constants() -> None:
    proto = network(f"{PAIR} v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}", {})
    for tensor in proto.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    graph = import_onnx(proto)
    assert [signature.name for signature in graph.inputs] == ["x"]
    assert graph.stated is not None
    assert graph.stated.features == FEATURES


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


def test_weights_that_read_a_quantized_tensor_raw_leave_it_raw() -> None:
    body = f"""{PAIR} v = DequantizeLinear(w, sw, zw) s = Conv(d, v) t = Conv(x, v)
        a = Add(s, t) {END}"""
    graph = assert_same_as_original(network(body, {}))
    assert ops(graph) == ["Identity", "Conv", "Conv", "Add"]
    assert graph.stated is not None
    assert "x" not in graph.stated.features
    quantized = next(iter(graph.nodes)).outputs[0].name
    assert graph.stated.features[quantized or ""] == FEATURES["x"]
    assert [node.inputs[0].name for node in list(graph.nodes)[1:3]] == [quantized, "x"]


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


def test_an_input_shift_stays_before_a_quantized_convolution() -> None:
    body = f"""s = Sub(x, mean) q = QuantizeLinear(s, sx, zx) d = DequantizeLinear(q, sx, zx)
        v = DequantizeLinear(w, sw, zw) a = Conv(d, v) {END}"""
    graph = assert_same_as_original(network(body, {"mean": scalar(0.5)}))
    assert ops(graph) == ["Sub", "Conv"]


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
