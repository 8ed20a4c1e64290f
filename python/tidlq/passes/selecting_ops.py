"""Operators whose outputs are made of elements of their input: a statement passes through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tidlq.passes.node_reading import (
    constant_array,
    float_attribute,
    input_at,
    ints_attribute,
    is_op,
    static_shape,
    string_attribute,
)
from tidlq.spec import FeatureQuant, StatedParameter

_SELECTING = frozenset(
    {
        "DepthToSpace",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
_RESHAPING = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")


def is_selecting(node: ir.Node) -> bool:
    """Whether every element of the node's outputs is one of its first input, or its padding."""
    if node.domain:
        return False
    if node.op_type in ("Resize", "Upsample"):
        mode = string_attribute(node, "coordinate_transformation_mode", "")
        return string_attribute(node, "mode", "nearest") == "nearest" and (
            mode != "tf_crop_and_resize"
        )
    return node.op_type in _SELECTING or node.op_type == "Pad"


def keeps_grid(node: ir.Node, quant: FeatureQuant) -> bool:
    """Whether a selecting node's outputs, or a clamp's, are multiples that `quant` can hold.

    Its input holds such multiples; what the node adds are a Pad's value and a Clip's bounds.
    """
    if is_op(node, "Pad"):
        if string_attribute(node, "mode", "constant") != "constant":
            return True
        given = input_at(node, 2)
        array = constant_array(given)
        values = [float_attribute(node, "value", 0.0)] if given is None else _reals(array)
    elif is_op(node, "Relu"):
        values = [0.0]
    elif is_op(node, "Clip"):
        low, high = _bounds(node, 1, "min"), _bounds(node, 2, "max")
        # A bound beyond all that the integers can be is none.
        values = [value for value in low if not value <= _real(quant.type.lowest, quant)]
        values += [value for value in high if not value >= _real(quant.type.highest, quant)]
    else:
        return True
    return all(_is_on_grid(value, quant) for value in values)


def _bounds(node: ir.Node, index: int, name: str) -> list[float]:
    given = input_at(node, index)
    if given is not None:
        return _reals(constant_array(given))
    return [float_attribute(node, name, 0.0)] if name in node.attributes else []


def _reals(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None) -> list[float]:
    return [float("nan")] if array is None else [float(item) for item in array.reshape(-1)]


def _is_on_grid(value: float, quant: FeatureQuant) -> bool:
    if np.isnan(value):
        return False
    return bool(_real(quant.quantize(value), quant) == np.float32(value))


def _real(integer: int, quant: FeatureQuant) -> np.float32:
    """What the integer stands for, as ONNX Runtime computes it."""
    return np.float32(integer - quant.zero_point) * np.float32(quant.scale)


def moved_parameter(node: ir.Node, stated: StatedParameter) -> StatedParameter | None:
    """The statement about what a node makes of a constant; None where there is none to make.

    Args:
        node: reads the constant as its first input; shapes are known.
        stated: about that constant.
    """
    if not is_selecting(node) or is_op(node, "Pad"):
        return None
    if len(stated.scales) == 1:
        return stated
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None:
        return None
    if is_op(node, "Transpose"):
        perm = ints_attribute(node, "perm") or tuple(reversed(range(len(before))))
        return _with_axis(stated, perm.index(stated.axis))
    if is_op(node, *_RESHAPING):
        axis = _reshaped_axis(before, after, stated.axis)
        return None if axis is None else _with_axis(stated, axis)
    return None


def _with_axis(stated: StatedParameter, axis: int) -> StatedParameter:
    return StatedParameter(stated.type, stated.scales, stated.zero_points, axis)


def _reshaped_axis(before: Sequence[int], after: Sequence[int], axis: int) -> int | None:
    """Where an axis is after a reshape that leaves it whole."""
    ahead = int(np.prod(before[:axis], dtype=np.int64))
    for index, size in enumerate(after):
        if size == before[axis] and int(np.prod(after[:index], dtype=np.int64)) == ahead:
            return index
    return None
