"""The oracle's own arithmetic against plain Python, fractions and ONNX Runtime."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import helper

from oracle.bigint import evaluate
from oracle.bigint.integers import exact_matmul, round_to_float32
from oracle.bigint.products import exact_products
from oracle.bigint.requantization import requantize_accumulators, round_half_even, round_shift
from oracle.bigint.tensors import DTYPES, limits_of
from oracle.networks import NetworkBuilder, draws, frames, single_layers
from oracle.networks.pairs import every_pair
from oracle.onnx_nodes import dequantize_node, quantize_node, run_node, run_nodes
from tidlq.lowering import network_pb2 as pb

integers = st.integers(-(2**70), 2**70)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_packed_product_equals_the_sum_of_products(m: int, k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.choice([-65535, -1, 0, 1, 65535, *rng.integers(-65535, 65536, 3)], (m, k))
    right = rng.choice([-32768, -1, 0, 1, 32767, *rng.integers(-32768, 32768, 3)], (k, n))
    plain = [
        [sum(int(left[i, x]) * int(right[x, j]) for x in range(k)) for j in range(n)]
        for i in range(m)
    ]
    assert exact_matmul(left, right).tolist() == plain


def test_packed_product_refuses_sums_that_could_leave_their_field() -> None:
    huge = np.full((1, 4), 2**31 - 1, np.int64)
    with pytest.raises(OverflowError):
        exact_matmul(huge, huge.T)


halfway = st.builds(
    lambda mantissa, exponent: (2 * mantissa + 1) << exponent,
    st.integers(2**23, 2**24 - 1),
    st.integers(0, 45),
)


@given(st.one_of(integers, halfway, halfway.map(lambda value: -value)))
def test_integer_becomes_the_nearest_float32(value: int) -> None:
    rounded = np.float32(round_to_float32(np.array([value], dtype=object))[0])
    error = abs(Fraction(float(rounded)) - value)
    for other in (np.nextafter(rounded, -np.inf), np.nextafter(rounded, np.inf)):
        distance = abs(Fraction(float(other)) - value)
        assert error < distance or (error == distance and rounded.view(np.uint32) % 2 == 0)


@given(integers, st.integers(1, 62))
def test_shift_rounds_halves_towards_plus_infinity(whole: int, shift: int) -> None:
    half = (2 * whole + 1) << (shift - 1)
    around = np.array([half - 1, half, half + 1], dtype=object)
    expected = [whole, whole + 1, whole + 1]
    assert round_shift(around, shift).tolist() == expected


@given(integers, st.integers(0, 62))
def test_shift_is_the_nearest_integer(value: int, shift: int) -> None:
    expected = math.floor(Fraction(value, 1 << shift) + Fraction(1, 2))
    assert round_shift(np.array([value], dtype=object), shift)[0] == expected


@given(st.floats(width=32, min_value=-(2.0**50), max_value=2.0**50))
def test_float_rounds_halves_to_even(value: float) -> None:
    assert round_half_even(np.array([value], np.float32))[0] == round(Fraction(value))


def test_infinite_product_saturates_at_the_clamps() -> None:
    layer = pb.Requantize(mode=pb.Requantize.MODE_FLOAT, scale=[3e38], clamp_min=-7, clamp_max=9)
    acc = np.array([-(2**40), 0, 2**40], dtype=object)
    assert requantize_accumulators(acc, layer).tolist() == [-7, 0, 9]


@given(st.data())
def test_quantize_equals_quantize_linear(data: st.DataObject) -> None:
    kind = data.draw(draws.integer_types)
    scale = data.draw(st.composite(draws.scales)())
    x = data.draw(st.composite(draws.float_values)((64,), scale))
    x = np.where(np.isnan(x), np.float32(1.5), x)
    net = NetworkBuilder()
    source = net.input(pb.ELEMENT_TYPE_F32, x.shape)
    zero_point = data.draw(st.composite(draws.zero_points)(kind))
    output = net.feature(kind, x.shape, scale, zero_point)
    net.layer([source], output, quantize=pb.Quantize())
    ours = evaluate(net.finish(), {"t0": x})["t1"]
    dtype = DTYPES[kind]
    theirs = run_node(
        "QuantizeLinear",
        {"x": x, "scale": np.array(scale, np.float32), "zero": np.array(zero_point, dtype)},
        dtype,
    )
    np.testing.assert_array_equal(ours, theirs)


@given(st.data())
def test_dequantize_equals_dequantize_linear(data: st.DataObject) -> None:
    kind = data.draw(draws.integer_types)
    q = data.draw(st.composite(draws.integer_values)(kind, (64,)))
    scale = data.draw(st.composite(draws.scales)())
    zero_point = data.draw(st.composite(draws.zero_points)(kind))
    net = NetworkBuilder()
    source = net.input(kind, q.shape, scale, zero_point)
    net.layer([source], net.feature(pb.ELEMENT_TYPE_F32, q.shape), dequantize=pb.Dequantize())
    ours = evaluate(net.finish(), {"t0": q})["t1"]
    theirs = run_node(
        "DequantizeLinear",
        {"q": q, "scale": np.array(scale, np.float32), "zero": np.array(zero_point, q.dtype)},
        np.dtype(np.float32),
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kind", "op_type"), [("sum", "Add"), ("difference", "Sub"), ("product", "Mul")]
)
def test_every_pair_equals_the_operator_between_dequantize_and_quantize(
    kind: str, op_type: str, seed: int
) -> None:
    network, arrays = every_pair(kind, seed)
    feeds = dict(arrays)
    for i, tensor in enumerate(network.tensors):
        feeds[f"s{i}"] = np.array(tensor.scale, np.float32)
        feeds[f"z{i}"] = np.array(tensor.zero_point, DTYPES[tensor.element_type])
    nodes = [
        dequantize_node("t0", "x0", "s0", "z0"),
        dequantize_node("t1", "x1", "s1", "z1"),
        helper.make_node(op_type, ["x0", "x1"], ["x2"]),
        quantize_node("x2", "t2", "s2", "z2"),
    ]
    theirs = run_nodes(nodes, feeds, "t2", np.dtype(np.int16))
    np.testing.assert_array_equal(evaluate(network, arrays)["t2"], theirs)


@given(st.data(), st.integers(-8, 8))
def test_rescale_by_a_power_of_two_equals_dequantize_then_quantize(
    data: st.DataObject, exponent: int
) -> None:
    kinds = [data.draw(draws.integer_types) for _ in range(2)]
    zeros = [data.draw(st.composite(draws.zero_points)(kind)) for kind in kinds]
    dtypes = [DTYPES[kind] for kind in kinds]
    q = data.draw(st.composite(draws.integer_values)(kinds[0], (64,)))
    net = NetworkBuilder()
    net.input(kinds[0], q.shape, 1.0, zeros[0])
    net.feature(kinds[1], q.shape, 1.0, zeros[1])
    info = np.iinfo(dtypes[1])
    requantize = pb.Requantize(
        mode=pb.Requantize.MODE_FLOAT,
        scale=[2.0**exponent],
        zero_point=zeros[1],
        clamp_min=int(info.min),
        clamp_max=int(info.max),
    )
    net.layer([0], 1, rescale=pb.Rescale(requantize=requantize))
    ours = evaluate(net.finish(), {"t0": q})["t1"]
    parameters = {
        "s0": np.array(2.0**exponent, np.float32),
        "z0": np.array(zeros[0], dtypes[0]),
        "s1": np.array(1, np.float32),
        "z1": np.array(zeros[1], dtypes[1]),
    }
    nodes = [dequantize_node("t0", "x", "s0", "z0"), quantize_node("x", "t1", "s1", "z1")]
    theirs = run_nodes(nodes, {"t0": q, **parameters}, "t1", dtypes[1])
    np.testing.assert_array_equal(ours, theirs)


@given(st.data())
def test_prelu_is_within_half_a_step_of_the_real_value(data: st.DataObject) -> None:
    q = data.draw(st.composite(draws.integer_values)(pb.ELEMENT_TYPE_U8, (7, 3)))
    slopes = data.draw(st.composite(draws.integer_values)(pb.ELEMENT_TYPE_S8, (3,)))
    zero_point = data.draw(st.integers(0, 255))
    net = NetworkBuilder()
    net.input(pb.ELEMENT_TYPE_U8, q.shape, 1.0, zero_point)
    net.constant(slopes)
    net.feature(pb.ELEMENT_TYPE_S16, q.shape, 1.0, 5)
    ends = {"zero_point": 5, "clamp_min": -32768, "clamp_max": 32767}
    fixed = pb.Requantize.MODE_FIXED
    positive = pb.Requantize(mode=fixed, multiplier=[96], shift=[5], **ends)
    negative = pb.Requantize(mode=fixed, multiplier=[96], shift=[12], **ends)
    layer = pb.PRelu(slope=1, positive=positive, negative=negative)
    net.layer([0], 2, prelu=layer)
    ours = evaluate(net.finish(), {"t0": q})["t2"]
    real = q.astype(np.float64) - zero_point
    real = np.where(real >= 0, real, real * slopes / 128) * 3
    assert np.abs(ours - 5 - real).max() <= 0.5


@given(st.data())
def test_softmax_equals_onnx_runtime_within_float_rounding(data: st.DataObject) -> None:
    kind = data.draw(draws.integer_types)
    scale = data.draw(st.floats(2.0**-10, 1.0, width=32))
    q = data.draw(st.composite(draws.integer_values)(kind, (3, 10)))
    distance = np.arange(256 if q.dtype.itemsize == 1 else 65536, dtype=np.float64)
    table = np.exp(-distance * scale).astype(np.float32)
    net = NetworkBuilder()
    net.input(kind, q.shape, scale, 0)
    net.feature(pb.ELEMENT_TYPE_F32, q.shape)
    net.layer([0], 1, softmax=pb.Softmax(exponential=table.tolist()))
    ours = evaluate(net.finish(), {"t0": q})["t1"]
    x = (q.astype(np.float64) - float(q.max())) * scale
    assume(np.abs(x).max() < 1e4)
    theirs = run_node("Softmax", {"x": x.astype(np.float32)}, np.dtype(np.float32), axis=-1)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-6)


@given(st.data())
def test_a_scattered_product_is_the_exact_one_rounded_once(data: st.DataObject) -> None:
    network = data.draw(single_layers("scattered_product"))
    arrays = data.draw(frames(network))
    layer = network.layers[0]
    sources, output = [network.tensors[i] for i in layer.inputs], network.tensors[layer.output]
    xs = [arrays[tensor.name] for tensor in sources]
    found = evaluate(network, arrays)[output.name].reshape(-1)
    low, high = (end - output.zero_point for end in limits_of(output.element_type))
    exact, counts = exact_products(layer.scattered_product, xs, sources)
    for q, product, count in zip(found.tolist(), exact, counts, strict=True):
        slack = (count + 2) * abs(product) * Fraction(1, 2**53)
        allowed = Fraction(1, 2) + (slack if low <= product <= high else 0)
        assert abs(q - output.zero_point - min(max(product, low), high)) <= allowed
