"""Removal of nodes that return their input.

What: removes Identity, Dropout, and any Cast, Pad, Slice, Reshape, Transpose, Expand, Tile, Resize,
    pooling, Concat, Sum or arithmetic with a neutral constant that leaves its input as it is.
When: once shapes are inferred and constants folded.
Before -> After: `y = Dropout(x); z = Conv(y, w)` -> `z = Conv(x, w)`.
Numerics: exact (x + 0 turns -0 into +0, which compares equal).

A node whose output is a graph output goes only when its input can take that name.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import onnx_ir as ir

from tidlq.passes.node_editing import bypass
from tidlq.passes.node_reading import (
    all_equal,
    constant_array,
    input_at,
    int_attribute,
    ints_attribute,
    is_constant,
    is_op,
    static_shape,
    string_attribute,
)


class RemoveNoOps(ir.passes.InPlacePass):
    """Bypasses every node that returns its input unchanged."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        modified = False
        for node in model.graph:
            kept = _kept_input(node)
            if kept is not None:
                modified |= bypass(node, kept)
        return ir.passes.PassResult(model, modified=modified)


def _kept_input(node: ir.Node) -> ir.Value | None:
    """The input that the node's only used output equals, if any."""
    if node.domain or not node.outputs or not node.inputs:
        return None
    if any(extra.uses() or extra.is_graph_output() for extra in node.outputs[1:]):
        return None
    if is_op(node, "Add", "Mul"):
        neutral = 0.0 if node.op_type == "Add" else 1.0
        for index in (0, 1):
            if all_equal(constant_array(node.inputs[index]), neutral):
                return _if_same_form(node, node.inputs[1 - index])
        return None
    test = _TESTS.get(node.op_type)
    if test is None or not test(node):
        return None
    data = node.inputs[0]
    return data if node.op_type in _ALWAYS_SAME_FORM else _if_same_form(node, data)


def _if_same_form(node: ir.Node, data: ir.Value | None) -> ir.Value | None:
    output = node.outputs[0]
    if data is None or is_constant(data) or data.dtype is None or data.dtype != output.dtype:
        return None
    shape = static_shape(data)
    return data if shape is not None and shape == static_shape(output) else None


def _always(_node: ir.Node) -> bool:
    return True


def _single_input(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _single_output(node: ir.Node) -> bool:
    return len(node.outputs) == 1


def _is_inference_dropout(node: ir.Node) -> bool:
    mode = input_at(node, 2)
    return mode is None or all_equal(constant_array(mode), 0)


def _pads_nothing(node: ir.Node) -> bool:
    pads = ints_attribute(node, "pads")
    return not any(pads) if pads is not None else all_equal(constant_array(input_at(node, 1)), 0)


def _steps_by_one(node: ir.Node) -> bool:
    steps = input_at(node, 4)
    return steps is None or all_equal(constant_array(steps), 1)


def _keeps_order(node: ir.Node) -> bool:
    perm = ints_attribute(node, "perm")
    return perm is not None and perm == tuple(range(len(perm)))


def _neutral_second(neutral: float) -> Callable[[ir.Node], bool]:
    return lambda node: all_equal(constant_array(node.inputs[1]), neutral)


def _resizes_by_one(node: ir.Node) -> bool:
    if string_attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return False
    scales = input_at(node, 2 if len(node.inputs) > 2 else 1)
    array = constant_array(scales)
    if array is not None and array.size:
        return all_equal(array, 1)
    return constant_array(input_at(node, 3)) is not None


def _is_point_pool(node: ir.Node) -> bool:
    kernel = ints_attribute(node, "kernel_shape") or ()
    return all(size == 1 for size in kernel) and not any(ints_attribute(node, "pads") or ())


def _is_unbounded(node: ir.Node) -> bool:
    bounded = any(value is not None for value in node.inputs[1:])
    return not bounded and not {"min", "max"} & set(node.attributes)


def _casts_to_itself(node: ir.Node) -> bool:
    data = node.inputs[0]
    return (
        data is not None
        and data.dtype is not None
        and int(data.dtype) == int_attribute(node, "to", 0)
    )


# What remains to be the same after the test: dtype and static shape.
_TESTS: MappingProxyType[str, Callable[[ir.Node], bool]] = MappingProxyType(
    {
        "AveragePool": _is_point_pool,
        "Cast": _casts_to_itself,
        "Clip": _is_unbounded,
        "Concat": _single_input,
        "Div": _neutral_second(1.0),
        "Dropout": _is_inference_dropout,
        "Expand": _always,
        "Flatten": _always,
        "Identity": _always,
        "Max": _single_input,
        "MaxPool": _is_point_pool,
        "Mean": _single_input,
        "Min": _single_input,
        "Pad": _pads_nothing,
        "Reshape": _always,
        "Resize": _resizes_by_one,
        "Slice": _steps_by_one,
        "Split": _single_output,
        "Squeeze": _always,
        "Sub": _neutral_second(0.0),
        "Sum": _single_input,
        "Tile": _always,
        "Transpose": _keeps_order,
        "Unsqueeze": _always,
    }
)
_ALWAYS_SAME_FORM = frozenset(
    {
        "Cast",
        "Concat",
        "Dropout",
        "Identity",
        "Max",
        "Mean",
        "Min",
        "Sum",
        "Transpose",
    }
)
