"""Affine nodes: y = scale * x + shift with one constant pair per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.node_reading import (
    constant_array,
    float_attribute,
    int_attribute,
    is_op,
    static_shape,
)

AFFINE_OPS = ("BatchNormalization", "Mul", "Div", "Add", "Sub")


@dataclass(frozen=True, eq=False)
class Affine:
    """What an affine node does to its data input.

    Attributes:
        data: the tensor that it reads.
        scale, shift: float64 [C], or [1] where all channels are treated alike.
    """

    data: ir.Value
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def per_channel(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scale and shift, both float64 [channels]."""
        return np.broadcast_to(self.scale, channels), np.broadcast_to(self.shift, channels)


def times(array: NDArray[np.float32], factor: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Product array * factor in float64, rounded once to float32; None where it is not finite.

    Args:
        array: float32 [...].
        factor: float64, of a shape that broadcasts to the array's.
    """
    with np.errstate(all="ignore"):
        product = np.multiply(
            array, factor, out=np.empty_like(array), dtype=np.float64, casting="same_kind"
        )
    return product if np.isfinite(product).all() else None


def rounded(array: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """The array as float32; None where that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.isfinite(narrow).all() else None


def affine_of(node: ir.Node, axis: int) -> Affine | None:
    """Reads a node as affine per channel.

    Args:
        node: any node.
        axis: the channel axis of its data, 0 or more.

    Returns:
        None where the node is not affine, or varies along another axis, or changes the shape.
    """
    if is_op(node, "BatchNormalization"):
        return _batch_norm(node) if axis == 1 else None
    if not is_op(node, *AFFINE_OPS):
        return None
    for index in (0, 1):
        data, constant = node.inputs[index], constant_array(node.inputs[1 - index])
        if data is None or constant is None or constant_array(data) is not None:
            continue
        factor = _along(constant, data, node.outputs[0], axis)
        return None if factor is None else _binary(node.op_type, data, factor, index == 0)
    return None


def _batch_norm(node: ir.Node) -> Affine | None:
    data = node.inputs[0]
    arrays = [constant_array(value) for value in node.inputs[1:5]]
    extra = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    trains = int_attribute(node, "training_mode", 0) != 0 or int_attribute(node, "spatial", 1) != 1
    if data is None or len(arrays) != 4 or extra or trains:
        return None
    shapes = {None if array is None else array.shape for array in arrays}
    if None in shapes or len(shapes) != 1 or len(next(iter(shapes)) or ()) != 1:
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
        shift = beta - mean * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return None
    return Affine(data, scale, shift)


def _along(
    constant: NDArray[np.generic], data: ir.Value, output: ir.Value, axis: int
) -> NDArray[np.float64] | None:
    """The constant as [C] or [1], where it varies along the axis alone."""
    shape = static_shape(data)
    if shape is None or shape != static_shape(output) or constant.dtype.kind != "f":
        return None
    if constant.ndim > len(shape) or axis >= len(shape) or not constant.size:
        return None
    sizes = (1,) * (len(shape) - constant.ndim) + constant.shape
    if any(size != 1 for index, size in enumerate(sizes) if index != axis):
        return None
    return np.asarray(constant, np.float64).reshape(-1)


def _binary(
    op_type: str, data: ir.Value, constant: NDArray[np.float64], data_first: bool
) -> Affine | None:
    one, zero = np.ones(1), np.zeros(1)
    match op_type:
        case "Add":
            return Affine(data, one, constant)
        case "Sub":
            return Affine(data, one, -constant) if data_first else Affine(data, -one, constant)
        case "Mul":
            return Affine(data, constant, zero)
        case "Div" if data_first and np.all(constant != 0):
            return Affine(data, 1.0 / constant, zero)
        case _:
            return None
