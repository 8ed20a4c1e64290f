"""The oracle's windows against ONNX Runtime's quantized and float operators."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oracle.bigint import evaluate
from oracle.bigint.tensors import DTYPES
from oracle.networks import NetworkBuilder, draws
from oracle.networks.geometry import NO_AXIS, Axis, convolution_axes, pool_axes, split_axes
from oracle.onnx_nodes import channels_first, channels_last, run_node
from tidlq.lowering import network_pb2 as pb

Array = NDArray[np.generic]

EIGHT_BITS = [pb.ELEMENT_TYPE_U8, pb.ELEMENT_TYPE_S8]
# ONNX Runtime adds two products in 16 saturating bits on CPUs without VNNI; these never reach it.
SMALL_WEIGHT = 63


def _axes(data: st.DataObject, rank: int, axes: object) -> list[tuple[Axis, int]]:
    """Geometry and input size of height and width; height is trivial for rank 3."""
    sizes = [data.draw(draws.spatial_sizes) for _ in range(2)]
    pair = [(data.draw(st.composite(axes)(size)), size) for size in sizes]
    return [(NO_AXIS, 1), pair[1]] if rank == 3 else pair


def _spatial(values: list[int], rank: int) -> list[int]:
    return values[4 - rank :]


def _onnx_window(axes: list[tuple[Axis, int]], rank: int) -> dict[str, list[int]]:
    split = split_axes((axes[0][0], axes[1][0]))
    return {
        "kernel_shape": _spatial(split["kernel"], rank),
        "strides": _spatial(split["stride"], rank),
        "dilations": _spatial(split["dilation"], rank),
    }


def _feature_shape(axes: list[tuple[Axis, int]], rank: int, channels: int) -> tuple[int, ...]:
    return (2, *_spatial([size for _, size in axes], rank), channels)


def _full_range(dtype: np.dtype[np.generic]) -> dict[str, int]:
    return {"clamp_min": int(np.iinfo(dtype).min), "clamp_max": int(np.iinfo(dtype).max)}


@given(st.data(), st.sampled_from([3, 4]))
def test_float_convolution_equals_qlinearconv(data: st.DataObject, rank: int) -> None:
    kind = data.draw(st.sampled_from(EIGHT_BITS))
    dtype = DTYPES[kind]
    axes = _axes(data, rank, convolution_axes)
    groups, per_in, per_out = (data.draw(st.integers(1, top)) for top in (4, 5, 6))
    channels, features = groups * per_in, groups * per_out
    rng = data.draw(st.composite(draws.generator)())
    shape = _feature_shape(axes, rank, channels)
    x = data.draw(st.composite(draws.integer_values)(kind, shape))
    kernel = [axis.kernel for axis, _ in axes]
    weight = rng.integers(-SMALL_WEIGHT, SMALL_WEIGHT + 1, (features, *kernel, per_in))
    bias = rng.integers(-5000, 5000, features)
    count = features if data.draw(st.booleans()) else 1
    scale = (2.0 ** rng.uniform(-10, -3, count)).astype(np.float32)
    zeros = [data.draw(st.composite(draws.zero_points)(kind)) for _ in range(2)]

    net = NetworkBuilder()
    net.input(kind, shape, 1.0, zeros[0])
    net.constant(weight.astype(np.int8))
    outputs = _spatial([axis.outputs for axis, _ in axes], rank)
    net.feature(kind, (2, *outputs, features), 1.0, zeros[1])
    requantize = pb.Requantize(mode=pb.Requantize.MODE_FLOAT, scale=scale.tolist())
    requantize.MergeFrom(pb.Requantize(zero_point=zeros[1], **_full_range(dtype)))
    layer = pb.Convolution(
        weight=1,
        bias=bias.tolist(),
        stride=[axis.stride for axis, _ in axes],
        dilation=[axis.dilation for axis, _ in axes],
        pad=[axis.before for axis, _ in axes],
        groups=groups,
        requantize=requantize,
    )
    net.layer([0], 2, convolution=layer)
    ours = evaluate(net.finish(), {"t0": x})["t2"]

    window = _onnx_window(axes, rank)
    pads = [[axis.before for axis, _ in axes], [max(0, _pad_after(*pair)) for pair in axes]]
    inputs = {
        "x": channels_first(x),
        "x_scale": np.array(1, np.float32),
        "x_zero": np.array(zeros[0], dtype),
        "w": channels_first(weight.astype(np.int8)).reshape(
            (features, per_in, *window["kernel_shape"])
        ),
        "w_scale": scale if count > 1 else scale.reshape(()),
        "w_zero": np.zeros(count, np.int8) if count > 1 else np.array(0, np.int8),
        "y_scale": np.array(1, np.float32),
        "y_zero": np.array(zeros[1], dtype),
        "bias": bias.astype(np.int32),
    }
    flat_pads = _spatial(pads[0], rank) + _spatial(pads[1], rank)
    theirs = run_node("QLinearConv", inputs, dtype, group=groups, pads=flat_pads, **window)
    kept = channels_last(theirs)[(slice(None), *(slice(0, size) for size in outputs))]
    np.testing.assert_array_equal(ours, kept)


def _pad_after(axis: Axis, size: int) -> int:
    """Padding below or right that gives exactly the outputs of an axis; may be negative."""
    reach = (axis.kernel - 1) * axis.dilation + 1
    return (axis.outputs - 1) * axis.stride + reach - size - axis.before


@given(st.data())
def test_float_inner_product_equals_qlinearmatmul(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(EIGHT_BITS))
    dtype = DTYPES[kind]
    inner, columns = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 20))
    x = data.draw(st.composite(draws.integer_values)(kind, (2, 3, inner)))
    rng = data.draw(st.composite(draws.generator)())
    weight = rng.integers(-SMALL_WEIGHT, SMALL_WEIGHT + 1, (columns, inner)).astype(np.int8)
    count = columns if data.draw(st.booleans()) else 1
    scale = (2.0 ** rng.uniform(-10, -3, count)).astype(np.float32)
    zeros = [data.draw(st.composite(draws.zero_points)(kind)) for _ in range(2)]

    net = NetworkBuilder()
    net.input(kind, x.shape, 1.0, zeros[0])
    net.constant(weight)
    net.feature(kind, (2, 3, columns), 1.0, zeros[1])
    requantize = pb.Requantize(mode=pb.Requantize.MODE_FLOAT, scale=scale.tolist())
    requantize.MergeFrom(pb.Requantize(zero_point=zeros[1], **_full_range(dtype)))
    layer = pb.InnerProduct(weight=1, bias=[0] * columns, requantize=requantize)
    net.layer([0], 2, inner_product=layer)
    ours = evaluate(net.finish(), {"t0": x})["t2"]

    inputs = {
        "a": x,
        "a_scale": np.array(1, np.float32),
        "a_zero": np.array(zeros[0], dtype),
        "b": np.ascontiguousarray(weight.T),
        "b_scale": scale if count > 1 else scale.reshape(()),
        "b_zero": np.zeros(count, np.int8) if count > 1 else np.array(0, np.int8),
        "y_scale": np.array(1, np.float32),
        "y_zero": np.array(zeros[1], dtype),
    }
    np.testing.assert_array_equal(ours, run_node("QLinearMatMul", inputs, dtype))


@given(st.data(), st.sampled_from([3, 4]))
def test_max_pool_equals_onnx_runtime(data: st.DataObject, rank: int) -> None:
    kind = data.draw(st.sampled_from(EIGHT_BITS))
    axes = _axes(data, rank, pool_axes)
    assume(all(max(a.before, _pad_after(a, s)) < a.kernel for a, s in axes))
    x = data.draw(st.composite(draws.integer_values)(kind, _feature_shape(axes, rank, 3)))
    outputs = _spatial([axis.outputs for axis, _ in axes], rank)
    net = NetworkBuilder()
    net.input(kind, x.shape, 1.0, 1)
    net.feature(kind, (2, *outputs, 3), 1.0, 1)
    window = split_axes((axes[0][0], axes[1][0]))
    net.layer([0], 1, max_pool=pb.MaxPool(pad=[axis.before for axis, _ in axes], **window))
    ours = evaluate(net.finish(), {"t0": x})["t1"]

    pads = [[axis.before for axis, _ in axes], [max(0, _pad_after(*pair)) for pair in axes]]
    flat_pads = _spatial(pads[0], rank) + _spatial(pads[1], rank)
    theirs = run_node(
        "MaxPool", {"x": channels_first(x)}, x.dtype, pads=flat_pads, **_onnx_window(axes, rank)
    )
    kept = channels_last(theirs)[(slice(None), *(slice(0, size) for size in outputs))]
    np.testing.assert_array_equal(ours, kept)


@given(st.data(), st.sampled_from([3, 4]), st.booleans())
def test_average_pool_is_within_half_a_step_of_onnx_runtime(
    data: st.DataObject, rank: int, include_pad: bool
) -> None:
    axes = _axes(data, rank, pool_axes)
    assume(all(max(a.before, a.after) < a.kernel and a.outputs == _floor(a, s) for a, s in axes))
    kind, zero_point = pb.ELEMENT_TYPE_U8, data.draw(st.integers(0, 255))
    x = data.draw(st.composite(draws.integer_values)(kind, _feature_shape(axes, rank, 3)))
    outputs = _spatial([axis.outputs for axis, _ in axes], rank)
    counts = [a.count_within(s, *((a.before, a.after) if include_pad else (0, 0))) for a, s in axes]
    divisors = np.unique(np.outer(*counts))
    gain = 100.0
    net = NetworkBuilder()
    net.input(kind, x.shape, 1.0, zero_point)
    net.feature(pb.ELEMENT_TYPE_S16, (2, *outputs, 3), 1.0, 7)
    requantize = pb.Requantize(
        mode=pb.Requantize.MODE_FLOAT,
        scale=(gain / divisors).tolist(),
        zero_point=7,
        **_full_range(np.dtype(np.int16)),
    )
    pads = [[axis.before for axis, _ in axes], [axis.after for axis, _ in axes]]
    layer = pb.AveragePool(
        pad=pads[0] + pads[1],
        count_include_pad=include_pad,
        count=divisors.tolist(),
        requantize=requantize,
        **split_axes((axes[0][0], axes[1][0])),
    )
    net.layer([0], 1, average_pool=layer)
    ours = evaluate(net.finish(), {"t0": x})["t1"].astype(np.float64) - 7

    real = channels_first(x.astype(np.float32) - zero_point)
    theirs = run_node(
        "AveragePool",
        {"x": real},
        np.dtype(np.float32),
        pads=_spatial(pads[0], rank) + _spatial(pads[1], rank),
        count_include_pad=int(include_pad),
        **_onnx_window(axes, rank),
    )
    assert np.abs(ours - channels_last(theirs).astype(np.float64) * gain).max() <= 0.5 + 1e-2


def _floor(axis: Axis, size: int) -> int:
    reach = (axis.kernel - 1) * axis.dilation + 1
    return (size + axis.before + axis.after - reach) // axis.stride + 1
