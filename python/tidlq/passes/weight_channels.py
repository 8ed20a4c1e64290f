"""Which axis of a weight holds the output channels."""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.node_reading import input_at, int_attribute, is_op, static_shape


def output_axis(node: ir.Node) -> int | None:
    """The axis of a weighted node's second input along which its output channels lie.

    None where no single axis holds them (a grouped ConvTranspose that is not depthwise), or the
    node has no weight.
    """
    shape = static_shape(input_at(node, 1))
    if shape is None:
        return None
    if is_op(node, "Conv", "DeformConv", "BatchNormalization"):
        return 0
    if is_op(node, "ConvTranspose"):
        groups = int_attribute(node, "group", 1)
        return 1 if groups == 1 else 0 if tuple(shape[:2]) == (groups, 1) else None
    if is_op(node, "Gemm"):
        return 0 if int_attribute(node, "transB", 0) else 1
    if is_op(node, "MatMul") and len(shape) > 1:
        return len(shape) - 1
    return None


def output_channels(node: ir.Node) -> int | None:
    """Output channels of a weighted node, where known."""
    shape, axis = static_shape(input_at(node, 1)), output_axis(node)
    if shape is None:
        return None
    if axis is not None:
        return shape[axis]
    if is_op(node, "ConvTranspose"):
        return shape[1] * int_attribute(node, "group", 1)
    return None
