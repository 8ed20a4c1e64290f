"""Networks whose inputs and outputs are integers keep them, and take real values as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import tidlq
from tidlq.errors import DataError

SCALE, ZERO = np.float32(0.05), 7


def quantized_interface(low: int) -> onnx.ModelProto:
    """int8 or uint8 in, DQ, a max pool Q, the same type out."""
    dtype = np.int8 if low else np.uint8
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        helper.make_node("MaxPool", ["xf"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    scale, zero = np.array(SCALE), np.array(ZERO, dtype)
    graph = helper.make_graph(
        nodes,
        "interface",
        [value("x", kind, ["N", 3, 8, 8])],
        [value("y", kind, ["N", 3, 4, 4])],
        [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(zero, "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert kind in (TensorProto.INT8, TensorProto.UINT8)
    return model


@pytest.mark.parametrize("low", [-128, 0])
def test_an_integer_interface_stays_and_takes_real_values(low: int, tmp_path: Path) -> None:
    model = quantized_interface(low)
    compiled = tidlq.compile(model)
    assert compiled.partition.layers
    compiled.save(tmp_path / "artifacts")
    session = tidlq.InferenceSession(tmp_path / "artifacts")
    kind = "int8" if low else "uint8"
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == f"tensor({kind})"
    x = np.random.default_rng(0).integers(low, low + 256, (5, 3, 8, 8)).astype(kind)
    (expected,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    (found,) = session.run(None, {"x": x})
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, expected)
    real = (x.astype(np.float32) - ZERO) * SCALE
    (from_real,) = session.run(None, {"x": real})
    np.testing.assert_array_equal(from_real, expected)
    with pytest.raises(DataError, match="has dtype int32"):
        session.run(None, {"x": x.astype(np.int32)})
