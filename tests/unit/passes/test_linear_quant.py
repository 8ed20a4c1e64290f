"""Quantizing and dequantizing constants is what ONNX Runtime does; bad parameters are refused."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oracle.float_reference import run_float, text_model
from tidlq.errors import ModelError
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.linear_quant import LinearQuant, is_dequantize, is_quantize, read_linear_quant
from tidlq.spec import FeatureQuant, IntegerType, StatedParameter

DTYPES = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16, "uint16": np.uint16}


def node_of(text: str, arrays: dict[str, NDArray[np.generic]], *, opset: int = 21) -> ir.Node:
    model = ir.from_proto(text_model(text, arrays, opset=opset))
    InferShapes()(model)
    return model.graph[0]


def read(
    operator: str,
    arrays: dict[str, NDArray[np.generic]],
    *,
    given: str = "float[2, 3] x",
    shape: str = "2, 3",
) -> LinearQuant | None:
    kind = "float" if operator.startswith("Dequantize") else "int8"
    names = ", ".join(["x", *(name for name in ("s", "z") if name in arrays)])
    text = f"g ({given}) => ({kind}[{shape}] y) {{ y = {operator}({names}) }}"
    return read_linear_quant(node_of(text, arrays))


@given(
    kind=st.sampled_from(sorted(DTYPES)),
    values=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=True), min_size=1, max_size=20
    ),
    scale=st.floats(2.0**-40, 2.0**40, width=32),
    data=st.data(),
)
def test_a_constant_is_quantized_as_onnx_runtime_does(
    kind: str, values: list[float], scale: float, data: st.DataObject
) -> None:
    dtype = DTYPES[kind]
    limits = np.iinfo(dtype)
    zero = data.draw(st.integers(int(limits.min), int(limits.max)))
    arrays = {"s": np.float32(scale).reshape(()), "z": np.asarray(zero, dtype)}
    text = f"g (float[{len(values)}] x) => ({kind}[N] y) {{ y = QuantizeLinear(x, s, z) }}"
    quant = read_linear_quant(node_of(text, arrays))
    x = np.asarray(values, np.float32)
    assert quant is not None
    expected = run_float(text_model(text, arrays, opset=21), {"x": x})["y"]
    found = quant.quantize(x)
    assert found.dtype == dtype
    # The zero point is added where float32 holds the sum exactly.
    with np.errstate(over="ignore"):
        far = np.abs(x / np.float32(scale)) > 2.0**23
    np.testing.assert_array_equal(found[~far], expected[~far])
    assert set(found[far].tolist()) <= {limits.min, limits.max}


@given(kind=st.sampled_from([*sorted(DTYPES), "int32"]), data=st.data())
def test_a_constant_is_dequantized_as_onnx_runtime_does(kind: str, data: st.DataObject) -> None:
    dtype = {**DTYPES, "int32": np.int32}[kind]
    limits = np.iinfo(dtype)
    integers = st.integers(int(limits.min), int(limits.max))
    x = np.asarray(data.draw(st.lists(integers, min_size=1, max_size=8)), dtype)
    zero = 0 if kind == "int32" else data.draw(integers)
    scale = data.draw(st.floats(2.0**-149, 2.0**40, width=32))
    arrays = {"s": np.float32(scale).reshape(()), "z": np.asarray(zero, dtype)}
    text = f"g ({kind}[{len(x)}] x) => (float[N] y) {{ y = DequantizeLinear(x, s, z) }}"
    quant = read_linear_quant(node_of(text, arrays))
    assert quant is not None
    expected = run_float(text_model(text, arrays, opset=21), {"x": x})["y"]
    np.testing.assert_array_equal(quant.dequantize(x), expected)


def test_channels_have_their_own_scale_and_zero_point() -> None:
    arrays = {"s": np.float32([0.5, 1, 2]), "z": np.int8([0, 1, -1])}
    quant = read("DequantizeLinear<axis = -1>", arrays, given="int8[2, 3] x")
    assert quant is not None
    assert quant.axis == 1
    x = np.int8([[1, 2, 3], [-1, -2, -3]])
    np.testing.assert_array_equal(quant.dequantize(x), [[0.5, 1, 8], [-0.5, -3, -4]])
    assert quant.feature() is None
    expected = StatedParameter(IntegerType(8, signed=True), (0.5, 1.0, 2.0), (0, 1, -1), 1)
    assert quant.parameter() == expected


def test_blocks_are_dequantized_and_not_stated() -> None:
    arrays = {"s": np.float32([[1, 10], [2, 20]])}
    quant = read("DequantizeLinear<axis = 1, block_size = 2>", arrays, given="int8[2, 3] x")
    assert quant is not None
    x = np.int8([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(quant.dequantize(x), [[1, 2, 30], [8, 10, 120]])
    assert quant.parameter() is None


def test_an_axis_means_nothing_where_there_is_one_scale() -> None:
    quant = read("DequantizeLinear<axis = 7>", {"s": np.float32([2])}, given="int8[2, 3] x")
    assert quant is not None
    assert quant.feature() == FeatureQuant(IntegerType(8, signed=True), 2.0, 0)


def test_equal_scales_of_all_channels_are_one() -> None:
    arrays = {"s": np.float32([2, 2, 2]), "z": np.uint8([7, 7, 7])}
    quant = read("DequantizeLinear<axis = 1>", arrays, given="uint8[2, 3] x")
    assert quant is not None
    assert quant.feature() == FeatureQuant(IntegerType(8, signed=False), 2.0, 7)


def test_the_type_without_a_zero_point_is_uint8_or_the_attribute() -> None:
    plain = read("QuantizeLinear", {"s": np.float32(1)})
    stated = read("QuantizeLinear<output_dtype = 5>", {"s": np.float32(1)})
    assert plain is not None
    assert stated is not None
    assert plain.dtype == ir.DataType.UINT8
    assert stated.dtype == ir.DataType.INT16


def test_scales_that_are_computed_are_not_read() -> None:
    text = "g (int8[3] x, float s) => (float[3] y) { y = DequantizeLinear(x, s) }"
    assert read_linear_quant(node_of(text, {})) is None


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_must_be_positive_and_finite(scale: float) -> None:
    with pytest.raises(ModelError, match=r"the scale 's' of node .* scales must be positive"):
        read("QuantizeLinear<axis = 1>", {"s": np.float32([1, scale, 1])})


@pytest.mark.parametrize(
    ("operator", "arrays", "given", "message"),
    [
        ("QuantizeLinear<axis = 1>", {"s": np.float32([1, 2])}, "float[2, 3] x", "does not fit"),
        ("QuantizeLinear<axis = 5>", {"s": np.float32([1, 2])}, "float[2, 3] x", "axis 5"),
        ("QuantizeLinear", {"s": np.float32([])}, "float[2, 3] x", "is empty"),
        (
            "QuantizeLinear",
            {"s": np.float32(1), "z": np.int8([0, 0, 0])},
            "float[2, 3] x",
            "1 scales and 3 zero points",
        ),
        (
            "DequantizeLinear",
            {"s": np.float32(1), "z": np.uint8(0)},
            "int8[2, 3] x",
            "zero point of node .* has type UINT8; it must be INT8",
        ),
        (
            "DequantizeLinear<axis = 1, block_size = 2>",
            {"s": np.float32([[1, 2, 3], [1, 2, 3]])},
            "int8[2, 3] x",
            "in blocks of 2",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    operator: str, arrays: dict[str, NDArray[np.generic]], given: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read(operator, arrays, given=given)


def test_nodes_of_both_domains_are_known_if_they_are_whole() -> None:
    x, s = ir.val("x"), ir.val("s")
    for domain in ("", "com.microsoft"):
        assert is_quantize(ir.node("QuantizeLinear", [x, s], domain=domain))
        assert is_dequantize(ir.node("DequantizeLinear", [x, s], domain=domain))
        assert not is_quantize(ir.node("QuantizeLinear", [x], domain=domain))
        assert not is_quantize(ir.node("QuantizeLinear", [x, None], domain=domain))
    assert not is_quantize(ir.node("QuantizeLinear", [x, s], domain="other"))
    assert not is_quantize(None)


def test_an_attribute_of_another_type_is_refused() -> None:
    node = node_of(
        "g (int8[2, 3] x) => (float[2, 3] y) { y = DequantizeLinear<axis = 1>(x, s) }",
        {"s": np.float32([1, 2, 3])},
    )
    node.attributes["axis"] = ir.AttrString("axis", "one")
    with pytest.raises(ModelError, match="attribute 'axis' of node"):
        read_linear_quant(node)
