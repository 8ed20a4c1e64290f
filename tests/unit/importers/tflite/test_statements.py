"""What a TFLite file says about quantization is what the Graph states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from oracle.float_reference import run_ir
from tflite_models import TfliteOperator, TfliteTensor, constant, run_reference, tflite_model
from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.importers.tflite.model import import_tflite
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    Requantization,
    StatedParameter,
    StatedQuantization,
)

S8, U8, S16 = IntegerType(8, True), IntegerType(8, False), IntegerType(16, True)
STRIDES = {"strideW": 1, "strideH": 1}
IMAGE = (1, 4, 4, 2)


def int8(name: str, shape: tuple[int, ...], scale: float = 0.5, zero: int = 3) -> TfliteTensor:
    return TfliteTensor(name, shape, np.int8, (scale,), (zero,))


def real(name: str, shape: tuple[int, ...] = IMAGE) -> TfliteTensor:
    return TfliteTensor(name, shape)


def build(
    tensors: Sequence[TfliteTensor],
    operators: Sequence[TfliteOperator],
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
) -> Graph:
    return import_tflite(tflite_model(tensors, operators, inputs, outputs))


def stated(graph: Graph) -> StatedQuantization:
    assert graph.stated is not None
    return graph.stated


def convolution(
    weight: TfliteTensor,
    bias: TfliteTensor,
    channels: int = 3,
    op: str = "CONV_2D",
    **options: object,
) -> Graph:
    tensors = [int8("x", IMAGE), weight, bias, int8("y", (1, 4, 4, channels), 0.25, -5)]
    operator = TfliteOperator(op, ("x", weight.name, bias.name), ("y",), {**STRIDES, **options})
    return build(tensors, [operator])


def test_a_convolution_states_features_weight_and_bias() -> None:
    weight = np.arange(-27, 27, dtype=np.int8).reshape(3, 3, 3, 2)
    integers = np.array([100, -7, 2**30], np.int32)
    scales = (0.5, 0.125, 2.0)
    graph = convolution(constant("w", weight, scales), constant("b", integers, [0.25, 0.0625, 1.0]))
    found = stated(graph)
    assert found.requantization is Requantization.TWICE_ROUNDED
    assert found.parameters == {"w": StatedParameter(S8, scales, (0, 0, 0), 0)}
    assert found.biases == {"b": (100, -7, 2**30)}
    x, y = FeatureQuant(S8, 0.5, 3), FeatureQuant(S8, 0.25, -5)
    assert found.features == {"x_float": x, "x_nchw": x, "y_nchw": y, "y_nhwc": y}
    own = weight.transpose(0, 3, 1, 2) * np.array(scales, np.float32).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(graph.constant("w"), own)
    np.testing.assert_array_equal(graph.constant("b"), np.float32([25.0, -0.4375, 2.0**30]))


def test_the_interface_keeps_integers_names_and_layout() -> None:
    graph = convolution(
        constant("w", np.ones((3, 1, 1, 2), np.int8), [1.0]),
        constant("b", np.zeros(3, np.int32), [0.5]),
    )
    nodes = list(graph.nodes)
    assert (nodes[0].op_type, nodes[-1].op_type) == ("DequantizeLinear", "QuantizeLinear")
    assert [(s.name, s.dtype, s.shape) for s in (*graph.inputs, *graph.outputs)] == [
        ("x", np.dtype(np.int8), IMAGE),
        ("y", np.dtype(np.int8), (1, 4, 4, 3)),
    ]


def test_an_activation_stands_behind_a_tensor_that_states_nothing() -> None:
    graph = convolution(
        constant("w", np.ones((3, 1, 1, 2), np.int8), [1.0]),
        constant("b", np.zeros(3, np.int32), [0.5]),
        fusedActivationFunction=1,
    )
    assert "y_conv" in graph.values
    assert "y_conv" not in stated(graph).features
    assert stated(graph).features["y_nchw"] == FeatureQuant(S8, 0.25, -5)


def test_the_axis_of_a_depthwise_weight_moves_with_it() -> None:
    weight = np.arange(18, dtype=np.int8).reshape(1, 3, 3, 2)
    graph = convolution(
        constant("w", weight, [0.5, 0.25], axis=3),
        constant("b", np.zeros(2, np.int32), [0.25, 0.125]),
        channels=2,
        op="DEPTHWISE_CONV_2D",
        depthMultiplier=1,
    )
    assert stated(graph).parameters["w"] == StatedParameter(S8, (0.5, 0.25), (0, 0), 0)
    np.testing.assert_array_equal(
        graph.constant("w"), (weight * np.float32([0.5, 0.25])).transpose(3, 0, 1, 2)
    )


def test_the_axis_of_a_transposed_convolution_s_weight_is_the_second() -> None:
    tensors = [
        constant("size", np.array([1, 8, 8, 3], np.int32)),
        constant("w", np.ones((3, 2, 2, 2), np.int8), [0.5, 0.25, 0.125]),
        int8("x", IMAGE),
        int8("y", (1, 8, 8, 3)),
    ]
    options = {"strideW": 2, "strideH": 2}
    graph = build(tensors, [TfliteOperator("TRANSPOSE_CONV", ("size", "w", "x"), ("y",), options)])
    assert stated(graph).parameters["w"] == StatedParameter(S8, (0.5, 0.25, 0.125), (0,) * 3, 1)


def test_unsigned_weights_keep_their_zero_point() -> None:
    tensors = [
        TfliteTensor("x", (1, 2), np.uint8, (0.5,), (128,)),
        constant("w", np.array([[10, 200], [120, 0]], np.uint8), [0.25], [120]),
        constant("b", np.array([8, -8], np.int32), [0.125]),
        TfliteTensor("y", (1, 2), np.uint8, (1.0,), (0,)),
    ]
    graph = build(tensors, [TfliteOperator("FULLY_CONNECTED", ("x", "w", "b"), ("y",))])
    assert stated(graph).parameters["w"] == StatedParameter(U8, (0.25,), (120,), 0)
    np.testing.assert_array_equal(graph.constant("w"), np.float32([[-27.5, 20], [0, -30]]))
    assert stated(graph).features["y_float"] == FeatureQuant(U8, 1.0, 0)
    assert stated(graph).biases == {"b": (8, -8)}


def test_a_channel_with_scale_zero_holds_zeros_and_adds_nothing() -> None:
    graph = convolution(
        constant("w", np.full((3, 1, 1, 2), 9, np.int8), [0.5, 0.0, 0.5]),
        constant("b", np.array([1, 2, 3], np.int32), [0.25, 0.0, 0.25]),
    )
    assert stated(graph).parameters["w"].scales == (0.5, 1.0, 0.5)
    assert stated(graph).biases["b"] == (1, 0, 3)
    weight = graph.constant("w")
    assert weight is not None
    assert not weight[1].any()


def test_sixteen_bits_with_wide_biases() -> None:
    tensors = [
        TfliteTensor("x", (1, 2), np.int16, (0.5,)),
        constant("w", np.array([[1, 2], [3, 4]], np.int8), [0.25, 0.5]),
        constant("b", np.array([2**40, -5], np.int64), [0.125, 0.25]),
        TfliteTensor("y", (1, 2), np.int16, (1.0,)),
    ]
    graph = build(tensors, [TfliteOperator("FULLY_CONNECTED", ("x", "w", "b"), ("y",))])
    assert stated(graph).biases == {"b": (2**40, -5)}
    assert stated(graph).features["x_float"] == FeatureQuant(S16, 0.5, 0)
    # QuantizeLinear of 16 bits is of that opset.
    assert graph.model.graph.opset_imports[""] == 21
    feeds = {"x": np.array([[-32768, 32767]], np.int16)}
    assert run_ir(graph.model, feeds)["y"].dtype == np.int16


def test_a_layer_on_rows_states_its_product() -> None:
    tensors = [
        int8("x", (2, 3, 4)),
        constant("w", np.ones((5, 4), np.int8), [1.0]),
        int8("y", (2, 3, 5), 0.25),
    ]
    options = {"keepNumDims": True, "fusedActivationFunction": 1}
    graph = build(tensors, [TfliteOperator("FULLY_CONNECTED", ("x", "w"), ("y",), options)])
    features = stated(graph).features
    assert features["x_float"] == features["y_rows"]
    assert features["y_relu"] == FeatureQuant(S8, 0.25, 3)
    assert "y_gemm" not in features


@pytest.mark.parametrize("op", ["ADD", "MUL", "SUB", "PRELU"])
def test_a_constant_operand_states_how_it_is_stored(op: str) -> None:
    tensors = [
        int8("x", IMAGE),
        constant("c", np.array([[[-4, 6]]], np.int8), [0.5], [2]),
        int8("y", IMAGE, 0.25),
    ]
    graph = build(tensors, [TfliteOperator(op, ("x", "c"), ("y",))])
    assert stated(graph).parameters == {"c": StatedParameter(S8, (0.5,), (2,), 0)}
    np.testing.assert_array_equal(np.ravel(graph.constant("c")), np.float32([-3, 2]))


def test_quantize_of_the_input_is_a_statement() -> None:
    tensors = [real("x"), int8("q", IMAGE), int8("p", IMAGE, 0.25), real("y")]
    graph = build(
        tensors,
        [
            TfliteOperator("QUANTIZE", ("x",), ("q",)),
            TfliteOperator("LOGISTIC", ("q",), ("p",)),
            TfliteOperator("DEQUANTIZE", ("p",), ("y",)),
        ],
    )
    assert [node.op_type for node in graph.nodes] == ["Sigmoid"]
    assert stated(graph).features == {
        "x": FeatureQuant(S8, 0.5, 3),
        "y": FeatureQuant(S8, 0.25, 3),
    }


def test_two_quantizations_in_a_row_keep_an_identity() -> None:
    tensors = [
        TfliteTensor("x", IMAGE, np.uint8, (0.5,), (131,)),
        int8("q", IMAGE, 0.5, 3),
        int8("p", IMAGE, 0.25),
        int8("y", IMAGE, 0.75),
    ]
    graph = build(
        tensors,
        [
            TfliteOperator("QUANTIZE", ("x",), ("q",)),
            TfliteOperator("LOGISTIC", ("q",), ("p",)),
            TfliteOperator("QUANTIZE", ("p",), ("y",)),
        ],
    )
    kinds = [node.op_type for node in graph.nodes]
    assert kinds == ["DequantizeLinear", "Identity", "Sigmoid", "Identity", "QuantizeLinear"]
    assert stated(graph).features == {
        "x_float": FeatureQuant(U8, 0.5, 131),
        "q": FeatureQuant(S8, 0.5, 3),
        "p": FeatureQuant(S8, 0.25, 3),
        "y_float": FeatureQuant(S8, 0.75, 3),
    }


def test_float_features_make_a_quantized_weight_a_float_one() -> None:
    weight = np.array([[1, -2], [3, 4]], np.int8)
    tensors = [real("x", (1, 2)), constant("w", weight, [0.5, 0.25]), real("y", (1, 2))]
    graph = build(tensors, [TfliteOperator("FULLY_CONNECTED", ("x", "w"), ("y",))])
    assert graph.stated is None
    np.testing.assert_array_equal(graph.constant("w"), np.float32([[0.5, -1], [0.75, 1]]))


def test_half_precision_weights_become_float() -> None:
    half = np.array([[0.1, -2], [3, 4]], np.float16)
    tensors = [real("x", (1, 2)), constant("w", half), real("f", (2, 2)), real("y", (1, 2))]
    operators = [
        TfliteOperator("DEQUANTIZE", ("w",), ("f",)),
        TfliteOperator("FULLY_CONNECTED", ("x", "f"), ("y",)),
    ]
    graph = build(tensors, operators)
    assert [node.op_type for node in graph.nodes] == ["Gemm"]
    np.testing.assert_array_equal(graph.constant("f"), half.astype(np.float32))


def test_integers_that_move_keep_their_value_under_another_scale() -> None:
    tensors = [
        int8("x", (2, 3)),
        constant("s", np.array([3, 2], np.int32)),
        int8("r", (3, 2), 0.25, -7),
    ]
    data = tflite_model(tensors, [TfliteOperator("RESHAPE", ("x", "s"), ("r",))], ["x"], ["r"])
    feeds = {"x": np.array([[-128, 127, 0], [1, 2, 3]], np.int8)}
    np.testing.assert_array_equal(
        run_ir(import_tflite(data).model, feeds)["r"], run_reference(data, feeds)["r"]
    )


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_a_pool_with_an_activation_states_both_tensors(scale: float) -> None:
    tensors = [int8("x", IMAGE), int8("y", (1, 2, 2, 2), scale)]
    options = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    operator = TfliteOperator(
        "MAX_POOL_2D", ("x",), ("y",), {**options, "fusedActivationFunction": 1}
    )
    features = stated(build(tensors, [operator])).features
    assert features["y_maxpool"] == FeatureQuant(S8, 0.5, 3)
    assert features["y_nchw"] == FeatureQuant(S8, scale, 3)


def test_every_step_of_a_rearrangement_states_the_same() -> None:
    tensors = [
        int8("x", (1, 3, 4, 2)),
        constant("block", np.array([2, 2], np.int32)),
        constant("pads", np.array([[1, 0], [0, 0]], np.int32)),
        int8("y", (4, 2, 2, 2)),
    ]
    operator = TfliteOperator("SPACE_TO_BATCH_ND", ("x", "block", "pads"), ("y",))
    graph = build(tensors, [operator])
    made = [value for node in graph.nodes for value in node.outputs if value.name != "y"]
    assert len(made) == 5
    assert {stated(graph).features[value.name or ""] for value in made} == {
        FeatureQuant(S8, 0.5, 3)
    }


def test_integers_without_a_scale_are_integers() -> None:
    tensors = [TfliteTensor("x", (2,), np.int8), TfliteTensor("y", (2,), np.int32)]
    operator = TfliteOperator("CAST", ("x",), ("y",), {"inDataType": 9, "outDataType": 2})
    graph = build(tensors, [operator])
    assert [node.op_type for node in graph.nodes] == ["Cast"]
    assert graph.stated is None


def test_cast_sees_the_integers_themselves() -> None:
    tensors = [int8("x", (3,)), real("y", (3,))]
    operator = TfliteOperator("CAST", ("x",), ("y",), {"inDataType": 9, "outDataType": 0})
    data = tflite_model(tensors, [operator], ["x"], ["y"])
    feeds = {"x": np.array([-128, 0, 127], np.int8)}
    found = run_ir(import_tflite(data).model, feeds)["y"]
    np.testing.assert_array_equal(found, np.float32([-128, 0, 127]))


@pytest.mark.parametrize("scales", [(0.0,), (-1.0,), (float("nan"),), (float("inf"),), (1.0, 2.0)])
def test_a_feature_map_needs_one_positive_scale(scales: tuple[float, ...]) -> None:
    tensors = [TfliteTensor("x", (2,), np.int8, scales), int8("y", (2,))]
    with pytest.raises(ModelError, match=r"'x' has (scale|2 scales)"):
        build(tensors, [TfliteOperator("LOGISTIC", ("x",), ("y",))])


def test_a_zero_point_must_be_one_of_the_type() -> None:
    tensors = [int8("x", (2,), 0.5, 128), int8("y", (2,))]
    with pytest.raises(ModelError, match="zero point 128; it must be from -128 to 127"):
        build(tensors, [TfliteOperator("LOGISTIC", ("x",), ("y",))])


def test_scales_of_a_weight_must_fit_its_shape() -> None:
    weight = constant("w", np.ones((3, 1, 1, 2), np.int8), [1.0, 1.0])
    with pytest.raises(ModelError, match="has 2 scales for axis 0"):
        convolution(weight, constant("b", np.zeros(3, np.int32), [0.5]))
