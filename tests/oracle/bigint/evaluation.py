"""Walks a Network's layers in order and keeps every tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oracle.bigint import (
    deformable,
    elementwise,
    floats,
    movement,
    order,
    powers,
    products,
    real,
    reductions,
    rows,
    sampling,
    softmax,
    windows,
)
from oracle.bigint.tensors import Array, constant_of, dtype_of, shape_of
from tidlq.lowering import network_pb2 as pb


def evaluate(network: pb.Network, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Computes every tensor of a Network for one frame.

    Args:
        network: the integer program.
        inputs: one array per network input, by tensor name, of the tensor's dtype and shape.

    Returns:
        Every tensor, constants and inputs included, by name.
    """
    arrays: dict[int, Array] = {}
    for index, tensor in enumerate(network.tensors):
        if tensor.HasField("constant"):
            arrays[index] = constant_of(tensor)
    for index in network.inputs:
        tensor = network.tensors[index]
        arrays[index] = _checked(np.asarray(inputs[tensor.name]), tensor)
    for layer in network.layers:
        output = network.tensors[layer.output]
        arrays[layer.output] = _checked(_run_layer(network, layer, arrays), output)
    return {network.tensors[index].name: array for index, array in arrays.items()}


def _checked(array: Array, tensor: pb.Tensor) -> Array:
    if array.shape != shape_of(tensor) or array.dtype != dtype_of(tensor):
        raise ValueError(
            f"tensor {tensor.name!r} is {dtype_of(tensor)}{shape_of(tensor)}, "
            f"found {array.dtype}{array.shape}"
        )
    return array


def _run_layer(network: pb.Network, layer: pb.Layer, arrays: Mapping[int, Array]) -> Array:
    kind = layer.WhichOneof("op")
    op = getattr(layer, kind)
    tensors = network.tensors
    sources, xs = [tensors[i] for i in layer.inputs], [arrays[i] for i in layer.inputs]
    output = tensors[layer.output]
    match kind:
        case "quantize":
            return floats.quantize(op, xs[0], output)
        case "dequantize":
            return floats.dequantize(xs[0], sources[0])
        case "softmax":
            is_real = op.HasField("requantize")
            return real.softmax(op, xs[0], output) if is_real else floats.softmax(op, xs[0])
        case "integer_softmax":
            return softmax.integer_softmax(op, xs[0], output)
        case "extremum":
            return elementwise.extremum(op, xs, output)
        case "matrix_product":
            return rows.matrix_product(op, xs, sources, output)
        case "grid_sample":
            return sampling.grid_sample(op, xs, sources, output)
        case "deformable_convolution":
            return deformable.deformable_convolution(op, xs, sources, tensors[op.weight], output)
        case "normalization":
            return rows.normalization(op, xs[0], sources[0], output)
        case "transposed_convolution":
            weight = tensors[op.weight]
            return windows.transposed_convolution(op, xs[0], sources[0], weight, output)
        case "rescale":
            return elementwise.rescale(op, xs[0], sources[0], output)
        case "sum":
            if op.requantize.mode == pb.Requantize.MODE_REAL:
                return real.sum_operands(op, xs, output)
            return elementwise.sum_operands(op, xs, sources, output)
        case "product":
            return elementwise.product(op, xs, sources, output)
        case "lookup":
            return elementwise.lookup(op, xs[0], sources[0], output)
        case "prelu":
            return elementwise.prelu(op, xs[0], sources[0], tensors[op.slope], output)
        case "convolution":
            return windows.convolution(op, xs[0], sources[0], tensors[op.weight], output)
        case "inner_product":
            return windows.inner_product(op, xs[0], sources[0], tensors[op.weight], output)
        case "max_pool":
            return windows.max_pool(op, xs[0], output)
        case "average_pool":
            return windows.average_pool(op, xs[0], sources[0], output)
        case "concat":
            return movement.concat(op, xs)
        case "reshape":
            return movement.reshape(xs[0], output)
        case "transpose":
            return movement.transpose(op, xs[0])
        case "pad":
            return movement.pad(op, xs[0], output)
        case "slice":
            return movement.slice_axes(op, xs[0], output)
        case "gather":
            return movement.gather(op, xs[0])
        case "reduce":
            return reductions.reduce(op, xs[0], sources[0], output)
        case "top_k":
            return order.top_k(op, xs[0], output)
        case "power":
            return powers.power(op, xs, sources, output)
        case "scattered_product":
            return products.scattered_product(op, xs, sources, output)
        case "division":
            return reductions.division(op, xs, sources, output)
        case "windowed_resize":
            return movement.windowed_resize(op, xs[0], sources[0], output)
        case "resize":
            is_real = op.requantize.mode == pb.Requantize.MODE_REAL
            return (real if is_real else movement).resize(op, xs[0], sources[0], output)
    raise ValueError(f"layer {layer.name!r} has no known kind")
