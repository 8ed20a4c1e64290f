"""The oracle's index arithmetic against ONNX Runtime, on integer-valued data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.bigint import evaluate
from oracle.bigint.tensors import Array
from oracle.networks import LAYER_KINDS, NetworkBuilder, frames, single_layers
from oracle.onnx_nodes import channels_first, channels_last, run_node
from tidlq.lowering import network_pb2 as pb

PAD_MODES = {
    pb.Pad.MODE_CONSTANT: "constant",
    pb.Pad.MODE_REFLECT: "reflect",
    pb.Pad.MODE_EDGE: "edge",
}


def _onnx_form(network: pb.Network, arrays: dict[str, Array]) -> tuple[str, dict[str, Array], dict]:
    """The ONNX operator, inputs and attributes of a Network's only layer."""
    layer = network.layers[0]
    operands = {f"x{i}": arrays[network.tensors[t].name] for i, t in enumerate(layer.inputs)}
    kind = layer.WhichOneof("op")
    if kind == "concat":
        return "Concat", operands, {"axis": layer.concat.axis}
    if kind == "transpose":
        perm = list(layer.transpose.perm)
        return "Transpose", operands, {"perm": perm} if perm else {}
    if kind == "reshape":
        shape = np.array(network.tensors[layer.output].shape, np.int64)
        return "Reshape", {**operands, "shape": shape}, {}
    if kind == "pad":
        op = layer.pad
        operands["pads"] = np.array([*op.begin, *op.end], np.int64)
        if op.mode == pb.Pad.MODE_CONSTANT:
            operands["value"] = np.array(op.value, operands["x0"].dtype)
        return "Pad", operands, {"mode": PAD_MODES[op.mode]}
    op, shape = layer.slice, network.tensors[layer.output].shape
    ends = [s + n * d for s, n, d in zip(op.start, shape, op.step, strict=True)]
    # An end before position 0 is only expressible as a very negative number.
    operands["starts"] = np.array(op.start, np.int64)
    operands["ends"] = np.array([e if e >= 0 else -(2**40) for e in ends], np.int64)
    operands["axes"] = np.arange(len(ends))
    operands["steps"] = np.array(op.step, np.int64)
    return "Slice", operands, {}


@pytest.mark.parametrize("kind", ["concat", "reshape", "transpose", "pad", "slice"])
@given(data=st.data())
def test_elements_go_where_onnx_runtime_puts_them(kind: str, data: st.DataObject) -> None:
    network = data.draw(single_layers(kind))
    ours = evaluate(network, data.draw(frames(network)))
    # Wide enough for every type, and a type that all of these operators take.
    wide = {name: array.astype(np.float32) for name, array in ours.items()}
    op_type, inputs, attributes = _onnx_form(network, wide)
    theirs = run_node(op_type, inputs, np.dtype(np.float32), **attributes)
    output = network.tensors[network.layers[0].output].name
    np.testing.assert_array_equal(wide[output], theirs)


def _positions(size: int, factor: int, transform: str) -> np.ndarray:
    """Source coordinate of each output position, as ONNX's Resize defines it."""
    i = np.arange(size * factor, dtype=np.float64)
    if transform == "asymmetric":
        return i / factor
    return (i + 0.5) / factor - 0.5


def _resize_network(
    x: Array, maps: list[pb.Resize.AxisMap], bits: int
) -> tuple[pb.Network, pb.Requantize]:
    requantize = pb.Requantize(
        mode=pb.Requantize.MODE_SHIFT, shift=[0], clamp_min=-32768, clamp_max=32767
    )
    net = NetworkBuilder()
    net.input(pb.ELEMENT_TYPE_S8, x.shape)
    height, width = (len(axis_map.low) for axis_map in maps)
    net.feature(pb.ELEMENT_TYPE_S16, (x.shape[0], height, width, x.shape[3]))
    layer = pb.Resize(height=maps[0], width=maps[1], weight_bits=bits, requantize=requantize)
    net.layer([0], 1, resize=layer)
    return net.finish(), requantize


features = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))


def _features(drawn: tuple[int, int, int]) -> Array:
    height, width, seed = drawn
    return np.random.default_rng(seed).integers(-128, 128, (2, height, width, 3)).astype(np.int8)


@given(features, st.sampled_from([1, 2, 4]), st.sampled_from(["asymmetric", "half_pixel"]))
def test_nearest_maps_equal_resize(
    drawn: tuple[int, int, int], factor: int, transform: str
) -> None:
    x = _features(drawn)
    maps = []
    for size in x.shape[1:3]:
        near = np.clip(np.floor(_positions(size, factor, transform)), 0, size - 1).astype(int)
        axis_map = pb.Resize.AxisMap(low=near, high=near, weight_high=[0] * len(near))
        maps.append(axis_map)
    network, _ = _resize_network(x, maps, 0)
    ours = evaluate(network, {"t0": x})["t1"]
    theirs = _onnx_resize(x, factor, "nearest", transform, nearest_mode="floor")
    np.testing.assert_array_equal(ours, theirs)


@given(features, st.sampled_from([2, 4]), st.sampled_from(["asymmetric", "half_pixel"]))
def test_linear_maps_equal_resize(drawn: tuple[int, int, int], factor: int, transform: str) -> None:
    x = _features(drawn)
    bits, maps = 3, []
    for size in x.shape[1:3]:
        position = np.clip(_positions(size, factor, transform), 0, size - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, size - 1)
        weight = ((position - low) * 2**bits).astype(int)
        axis_map = pb.Resize.AxisMap(low=low, high=high, weight_high=weight)
        maps.append(axis_map)
    network, _ = _resize_network(x, maps, bits)
    ours = evaluate(network, {"t0": x})["t1"]
    theirs = _onnx_resize(x, factor, "linear", transform)
    np.testing.assert_array_equal(ours, theirs * 2.0 ** (2 * bits))


def _onnx_resize(x: Array, factor: int, mode: str, transform: str, **attributes: str) -> Array:
    inputs = {
        "x": channels_first(x.astype(np.float32)),
        "roi": np.zeros(0, np.float32),
        "scales": np.array([1, 1, factor, factor], np.float32),
    }
    result = run_node(
        "Resize",
        inputs,
        np.dtype(np.float32),
        mode=mode,
        coordinate_transformation_mode=transform,
        **attributes,
    )
    return channels_last(result)


def test_every_layer_kind_of_the_contract_has_a_strategy() -> None:
    assert set(LAYER_KINDS) == {field.name for field in pb.Layer.DESCRIPTOR.oneofs[0].fields}
