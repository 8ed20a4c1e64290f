"""Pools, means, interpolation, joins, softmax against LiteRT's reference kernels, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from litert_cases import LitertCase, assert_same_as_litert, quant
from oracle.litert_draws import ACTIVATIONS, DTYPES, activated, drawn_quant, generator
from tidlq.spec import FeatureQuant

Made = tuple[LitertCase, str]
SAME, VALID = 0, 1

channels = st.sampled_from([1, 3, 16, 33])
seeds = st.integers(0, 2**32 - 1)


def check(made: Made, seed: int) -> None:
    assert_same_as_litert(*made, np.random.default_rng(seed))


@st.composite
def pools(draw: DrawFn, op: str, node: str) -> Made:
    case = LitertCase()
    own = drawn_quant(draw, draw(st.sampled_from(DTYPES)))
    size = (draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    kernel = (draw(st.integers(1, size[0])), draw(st.integers(1, size[1])))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = draw(st.sampled_from([SAME, VALID]))
    count = draw(channels)
    outs, begin, end = [], [], []
    for n, k, s in zip(size, kernel, stride, strict=True):
        out = -(-n // s) if padding == SAME else (n - k) // s + 1
        total = max((out - 1) * s + k - n, 0) if padding == SAME else 0
        outs.append(out)
        begin.append(total // 2)
        end.append(total - total // 2)
    x = case.input((1, *size, count), own)
    value = case.net.node(node, x, kernel_shape=kernel, strides=stride, pads=[*begin, *end])
    activation = draw(st.sampled_from(ACTIVATIONS))
    y = activated(case, value, activation)
    options = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "filterHeight": kernel[0],
        "filterWidth": kernel[1],
        "fusedActivationFunction": activation,
    }
    case.output(y, (1, *outs, count), own, op, (x,), options)
    return case, y


@st.composite
def means(draw: DrawFn, op: str = "MEAN", node: str = "ReduceMean") -> Made:
    case = LitertCase()
    dtype = draw(st.sampled_from(DTYPES))
    size, count = (draw(st.integers(1, 9)), draw(st.integers(1, 9))), draw(channels)
    own = drawn_quant(draw, dtype)
    x = case.input((2, *size, count), own)
    keeps = draw(st.booleans())
    y = case.net.node(node, x, case.net.integers([2, 3]), keepdims=int(keeps))
    shape = (2, 1, 1, count) if keeps else (2, count)
    axes = case.plain(np.array([1, 2], np.int32))
    target = drawn_quant(draw, dtype) if op == "MEAN" else own
    case.output(y, shape, target, op, (x, axes), {"keepDims": keeps})
    return case, y


@st.composite
def resizes(draw: DrawFn, op: str) -> Made:
    case = LitertCase()
    own = drawn_quant(draw, draw(st.sampled_from(DTYPES)))
    size = (draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    out = (draw(st.integers(1, 15)), draw(st.integers(1, 15)))
    count = draw(channels)
    mode = draw(st.sampled_from(["asymmetric", "half_pixel", "align_corners"]))
    x = case.input((1, *size, count), own)
    sizes = case.net.integers([1, count, *out])
    y = case.net.node(
        "Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode=mode
    )
    target = case.plain(np.array(out, np.int32))
    options = {
        "alignCorners": mode == "align_corners",
        "halfPixelCenters": mode == "half_pixel",
    }
    case.output(y, (1, *out, count), own, op, (x, target), options)
    return case, y


@st.composite
def softmaxes(draw: DrawFn) -> Made:
    case = LitertCase()
    dtype = draw(st.sampled_from(DTYPES))
    # LiteRT aborts where 512 exponentials of 8-bit integers are all near 1.
    size = draw(st.sampled_from([1, 2, 10, 33, 500]))
    source = drawn_quant(draw, dtype, -12, 2)
    x = case.input((3, size), source)
    y = case.net.node("Softmax", x, axis=1)
    limits = np.iinfo(dtype)
    target = quant(np.int16, 1 / 32768) if dtype is np.int16 else None
    target = target or quant(dtype, 1 / 256, int(limits.min))
    case.output(y, (3, size), target, "SOFTMAX", (x,), {"beta": 1.0})
    return case, y


@st.composite
def joins(draw: DrawFn) -> Made:
    case = LitertCase()
    dtype = draw(st.sampled_from(DTYPES))
    target = drawn_quant(draw, dtype)
    parts: list[str] = []
    total = 0
    for _ in range(draw(st.integers(2, 4))):
        differs = dtype is np.uint8 and draw(st.booleans())
        own: FeatureQuant = drawn_quant(draw, dtype) if differs else target
        count = draw(st.integers(1, 9))
        parts.append(case.input((1, 3, 4, count), own))
        total += count
    y = case.net.node("Concat", *parts, axis=1)
    case.output(y, (1, 3, 4, total), target, "CONCATENATION", parts, {"axis": 3})
    return case, y


@st.composite
def pads(draw: DrawFn) -> Made:
    case, rng = LitertCase(), generator(draw)
    own = drawn_quant(draw, draw(st.sampled_from(DTYPES)))
    table = np.array([[0, 0], rng.integers(0, 3, 2), rng.integers(0, 3, 2), [0, 0]], np.int32)
    x = case.input((1, 3, 4, 5), own)
    first = table[[0, 3, 1, 2]]
    listed = case.net.integers([*first[:, 0].tolist(), *first[:, 1].tolist()])
    y = case.net.node("Pad", x, listed)
    shape = tuple(int(n) for n in np.array([1, 3, 4, 5]) + table.sum(axis=1))
    case.output(y, shape, own, "PAD", (x, case.plain(table)))
    return case, y


@given(pools("AVERAGE_POOL_2D", "AveragePool"), seeds)
def test_an_average_pool_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(pools("MAX_POOL_2D", "MaxPool"), seeds)
def test_a_max_pool_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(means(), seeds)
def test_a_mean_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(means("REDUCE_MAX", "ReduceMax"), seeds)
def test_the_greatest_of_an_image_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(resizes("RESIZE_BILINEAR"), seeds)
def test_linear_interpolation_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(softmaxes(), seeds)
def test_softmax_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(joins(), seeds)
def test_a_concatenation_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@given(pads(), seeds)
def test_padding_equals_litert(made: Made, seed: int) -> None:
    check(made, seed)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_every_scale_equals_litert(dtype: type[np.generic]) -> None:
    rng = np.random.default_rng(11)
    limits = np.iinfo(dtype)
    for exponent in np.linspace(-14, 3, 120):
        case = LitertCase()
        wide = dtype is np.int16
        x = case.input((8, 20), quant(dtype, 2.0**exponent / (256 if wide else 1)))
        y = case.net.node("Softmax", x, axis=1)
        target = quant(dtype, 1 / 32768) if wide else quant(dtype, 1 / 256, int(limits.min))
        case.output(y, (8, 20), target, "SOFTMAX", (x,), {"beta": 1.0})
        assert_same_as_litert(case, y, rng)
