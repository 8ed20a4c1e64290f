"""Layers with weights against LiteRT's reference kernels, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import NDArray

import tidlq
from litert_cases import LitertCase, assert_same_as_litert, quant
from oracle.litert_draws import ACTIVATIONS, activated, generator
from tflite_models import run_reference
from tidlq.spec import FeatureQuant

Array = NDArray[np.generic]

FORMS = ("s8", "u8", "s16", "s16 with bias of 32 bits")
SAME, VALID = 0, 1


def feature(draw: DrawFn, form: str, rng: np.random.Generator, scale: float) -> FeatureQuant:
    scale *= float(2.0 ** rng.uniform(-1, 1))
    if form == "s8":
        return quant(np.int8, scale, draw(st.integers(-128, 127)))
    if form == "u8":
        return quant(np.uint8, scale, draw(st.integers(0, 255)))
    return quant(np.int16, scale)


def weight_of(
    form: str, rng: np.random.Generator, shape: tuple[int, ...], channels: int
) -> tuple[Array, list[float], list[int]]:
    """Integers, scales and zero points of a weight."""
    if form == "u8":
        scale = [float(2.0 ** rng.uniform(-8, -3))]
        return rng.integers(0, 256, shape).astype(np.uint8), scale, [int(rng.integers(0, 256))]
    scales = (2.0 ** rng.uniform(-9, -3, rng.choice([1, channels]))).tolist()
    return rng.integers(-127, 128, shape).astype(np.int8), scales, [0] * len(scales)


def bias_of(
    form: str, source: FeatureQuant, scales: list[float]
) -> tuple[list[float], type[np.generic]]:
    wide = form == "s16"
    return [source.scale * scale for scale in scales], np.int64 if wide else np.int32


def windowed(
    size: int, kernel: int, stride: int, dilation: int, padding: int
) -> tuple[int, int, int]:
    """Output size and pads of one axis."""
    reach = (kernel - 1) * dilation + 1
    if padding == VALID:
        return (size - reach) // stride + 1, 0, 0
    out = -(-size // stride)
    total = max((out - 1) * stride + reach - size, 0)
    return out, total // 2, total - total // 2


def output_scale(source: FeatureQuant, scales: list[float], terms: int) -> float:
    """A step that leaves most sums inside the type."""
    spread = 70.0 if source.type.bits == 8 else 70.0 * 256
    steps = 2.0 ** (source.type.bits - 3)
    return float(source.scale * max(scales) * np.sqrt(terms) * spread * 60 / steps)


@st.composite
def convolutions(draw: DrawFn, *, depthwise: bool = False) -> tuple[LitertCase, str]:
    rng, form = generator(draw), draw(st.sampled_from(FORMS))
    if depthwise and form.endswith("bits"):
        form = "s16"
    case = LitertCase()
    size = (draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    kernel = (draw(st.integers(1, min(3, size[0]))), draw(st.integers(1, min(3, size[1]))))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    padding = draw(st.sampled_from([SAME, VALID]))
    dilation = (1, 1)
    if stride == (1, 1) and padding == SAME:
        dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    channels, multiple = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    outputs = channels * multiple if depthwise else draw(st.sampled_from([1, 3, 16, 17, 33]))
    groups = 1
    if not depthwise and form != "u8" and draw(st.booleans()):
        groups = draw(st.integers(2, 3))
        outputs *= groups
    source = feature(draw, form, rng, 0.05)
    x = case.input((1, *size, channels * groups), source)
    inner = 1 if depthwise else channels
    own_shape = (1, *kernel, outputs) if depthwise else (outputs, *kernel, inner)
    integers, scales, zeros = weight_of(form, rng, own_shape, outputs)
    axis = 3 if depthwise else 0
    to_graph = (
        (lambda array: np.transpose(array, (3, 0, 1, 2)))
        if depthwise
        else (lambda array: np.moveaxis(array, -1, 1))
    )
    w = case.parameter(integers, scales, zeros, axis=axis, to_graph=to_graph)
    steps, dtype = bias_of(form, source, scales)
    b = case.bias(rng.integers(-3000, 3000, outputs).astype(dtype), steps)
    axes = [windowed(*axis, padding) for axis in zip(size, kernel, stride, dilation, strict=True)]
    target = feature(draw, form, rng, output_scale(source, scales, kernel[0] * kernel[1] * inner))
    activation = draw(st.sampled_from(ACTIVATIONS))
    value = case.net.node(
        "Conv",
        x,
        w,
        b,
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        pads=[axes[0][1], axes[1][1], axes[0][2], axes[1][2]],
        group=channels if depthwise else groups,
    )
    y = activated(case, value, activation)
    options = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "fusedActivationFunction": activation,
    }
    if depthwise:
        options["depthMultiplier"] = multiple
    if form.endswith("bits"):
        options["quantizedBiasType"] = 2
    op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    case.output(y, (1, axes[0][0], axes[1][0], outputs), target, op, (x, w, b), options)
    return case, y


@st.composite
def fully_connected(draw: DrawFn) -> tuple[LitertCase, str]:
    rng, form = generator(draw), draw(st.sampled_from(FORMS))
    case = LitertCase()
    rows, depth = draw(st.integers(1, 3)), draw(st.sampled_from([1, 5, 64]))
    outputs = draw(st.sampled_from([1, 7, 33]))
    source = feature(draw, form, rng, 0.05)
    x = case.input((rows, depth), source)
    integers, scales, zeros = weight_of(form, rng, (outputs, depth), outputs)
    w = case.parameter(integers, scales, zeros)
    steps, dtype = bias_of(form, source, scales)
    b = case.bias(rng.integers(-3000, 3000, outputs).astype(dtype), steps)
    target = feature(draw, form, rng, output_scale(source, scales, depth))
    activation = draw(st.sampled_from(ACTIVATIONS))
    y = activated(case, case.net.node("Gemm", x, w, b, transB=1), activation)
    options = {"fusedActivationFunction": activation}
    if form.endswith("bits"):
        options["quantizedBiasType"] = 2
    case.output(y, (rows, outputs), target, "FULLY_CONNECTED", (x, w, b), options)
    return case, y


@st.composite
def matrix_product(draw: DrawFn) -> tuple[LitertCase, str]:
    rng, form = generator(draw), draw(st.sampled_from(FORMS[:1] + FORMS[2:3]))
    case = LitertCase()
    depth, outputs = draw(st.integers(1, 40)), draw(st.sampled_from([1, 3, 17]))
    source = feature(draw, form, rng, 0.05)
    x = case.input((draw(st.integers(1, 5)), depth), source)
    own = np.int8 if form == "s8" else np.int16
    integers = rng.integers(-127, 128, (depth, outputs)).astype(own)
    scales = [float(2.0 ** rng.uniform(-9, -3))]
    w = case.parameter(integers, scales)
    target = feature(draw, form, rng, output_scale(source, scales, depth))
    y = case.net.node("MatMul", x, w)
    case.output(y, (case.tensors[0].shape[0], outputs), target, "BATCH_MATMUL", (x, w))
    return case, y


@st.composite
def transposed(draw: DrawFn) -> tuple[LitertCase, str]:
    rng, form = generator(draw), draw(st.sampled_from(FORMS))
    case = LitertCase()
    size = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = draw(st.sampled_from([SAME, VALID]))
    channels, outputs = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 17]))
    outs, begin, end, more = [], [], [], []
    for n, k, s in zip(size, kernel, stride, strict=True):
        # What a convolution of the output would make into the input.
        least = (n - 1) * s + 1 if padding == SAME else (n - 1) * s + k
        out = least + draw(st.integers(0, s - 1))
        total = max((n - 1) * s + k - out, 0) if padding == SAME else 0
        outs.append(out)
        begin.append(total // 2)
        spare = (n - 1) * s + k - total // 2 - out
        end.append(max(spare, 0))
        more.append(max(-spare, 0))
    source = feature(draw, form, rng, 0.05)
    x = case.input((1, *size, channels), source)
    integers, scales, zeros = weight_of(form, rng, (outputs, *kernel, channels), outputs)
    w = case.parameter(
        integers, scales, zeros, to_graph=lambda a: np.transpose(a, (3, 0, 1, 2)), graph_axis=1
    )
    steps, dtype = bias_of(form, source, scales)
    b = case.bias(rng.integers(-3000, 3000, outputs).astype(dtype), steps)
    target = feature(
        draw, form, rng, output_scale(source, scales, kernel[0] * kernel[1] * channels)
    )
    activation = draw(st.sampled_from(ACTIVATIONS))
    value = case.net.node(
        "ConvTranspose",
        x,
        w,
        b,
        kernel_shape=kernel,
        strides=stride,
        pads=[*begin, *end],
        output_padding=more,
    )
    y = activated(case, value, activation)
    shape = (1, *outs, outputs)
    listed = case.plain(np.array(shape, np.int32))
    options = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "fusedActivationFunction": activation,
    }
    if form.endswith("bits"):
        options["quantizedBiasType"] = 2
    case.output(y, shape, target, "TRANSPOSE_CONV", (listed, w, x, b), options)
    return case, y


@given(matrix_product(), st.integers(0, 2**32 - 1))
def test_a_product_of_matrices_equals_litert(made: tuple[LitertCase, str], seed: int) -> None:
    assert_same_as_litert(*made, np.random.default_rng(seed))


@given(transposed(), st.integers(0, 2**32 - 1))
def test_a_transposed_convolution_equals_litert(made: tuple[LitertCase, str], seed: int) -> None:
    assert_same_as_litert(*made, np.random.default_rng(seed))


@given(convolutions(), st.integers(0, 2**32 - 1))
def test_a_convolution_equals_litert(made: tuple[LitertCase, str], seed: int) -> None:
    assert_same_as_litert(*made, np.random.default_rng(seed))


@given(convolutions(depthwise=True), st.integers(0, 2**32 - 1))
def test_a_depthwise_convolution_equals_litert(made: tuple[LitertCase, str], seed: int) -> None:
    assert_same_as_litert(*made, np.random.default_rng(seed))


@given(fully_connected(), st.integers(0, 2**32 - 1))
def test_a_fully_connected_layer_equals_litert(made: tuple[LitertCase, str], seed: int) -> None:
    assert_same_as_litert(*made, np.random.default_rng(seed))


@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_model_rounds_by_the_type_of_its_bias(form: str, tmp_path: Path) -> None:
    """Accumulators are biases; those of 32 and of 64 bits are multiplied differently."""
    rng, count = np.random.default_rng(8), 2000
    case = LitertCase()
    dtype = {"s8": np.int8, "u8": np.uint8}.get(form, np.int16)
    x = case.input((1, 1, 1, 1), quant(dtype, 0.5))
    scales = [0.001] if form == "u8" else (10.0 ** rng.uniform(-5, -3, count)).tolist()
    weights = np.ones((count, 1, 1, 1), np.uint8 if form == "u8" else np.int8)
    w = case.parameter(weights, scales, to_graph=lambda array: np.moveaxis(array, -1, 1))
    wide = np.int64 if form == "s16" else np.int32
    b = case.bias(rng.integers(-(2**20), 2**20, count).astype(wide), [0.5 * s for s in scales])
    y = case.net.node("Conv", x, w, b)
    target = quant(dtype, 2.0 if dtype is not np.int16 else 0.013, 0)
    options = {"strideH": 1, "strideW": 1}
    if form.endswith("bits"):
        options["quantizedBiasType"] = 2
    case.output(y, (1, 1, 1, count), target, "CONV_2D", (x, w, b), options)
    path = tmp_path / "model.tflite"
    path.write_bytes(case.model(y))
    session = tidlq.InferenceSession(tidlq.compile(path).artifacts)
    feeds = case.random_inputs(rng)
    (found,) = session.run(None, feeds)
    np.testing.assert_array_equal(found, run_reference(case.model(y), feeds)[y])


@pytest.mark.parametrize("form", ["s8", "s16"])
def test_extreme_ratios_and_accumulators_equal_litert(form: str) -> None:
    """A bias per channel is the accumulator; scales run from dead channels to saturated ones."""
    rng, count = np.random.default_rng(5), 4000
    case = LitertCase()
    dtype = np.int8 if form == "s8" else np.int16
    source = quant(dtype, 0.5)
    x = case.input((1, 1, 1, 1), source)
    scales = (10.0 ** rng.uniform(-9, 0 if form == "s8" else -3, count)).tolist()
    weights = np.zeros((count, 1, 1, 1), np.int8)
    w = case.parameter(weights, scales, to_graph=lambda array: np.moveaxis(array, -1, 1))
    wide = np.int32 if form == "s8" else np.int64
    accumulators = rng.integers(-(2**20), 2**20, count).astype(wide)
    b = case.bias(accumulators, [0.5 * scale for scale in scales])
    y = case.net.node("Conv", x, w, b)
    target = quant(dtype, 0.013, -5 if form == "s8" else 0)
    case.output(y, (1, 1, 1, count), target, "CONV_2D", (x, w, b), {"strideH": 1, "strideW": 1})
    assert_same_as_litert(case, y, rng)
