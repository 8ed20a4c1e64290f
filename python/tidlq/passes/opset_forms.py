"""How the operators of opsets 7 to 17 are written at opset 18, node by node.

Each function rewrites one node in place to the newer form with the same meaning, or raises
`CannotRaiseError`. Source: the ONNX operator change log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.node_editing import FreshNames, add_constant
from tidlq.passes.node_reading import (
    constant_array,
    input_at,
    int_attribute,
    ints_attribute,
    rank_of,
    sizes_product,
    static_shape,
    string_attribute,
)


class CannotRaiseError(Exception):
    """The node has no equal at the newer opset."""


@dataclass(frozen=True)
class FormContext:
    """What a rewrite needs beside its node.

    Attributes:
        names: source of names that are free.
        opset: the node's own opset.
    """

    names: FreshNames
    opset: int

    def set_input(self, node: ir.Node, index: int, array: NDArray[np.generic], role: str) -> None:
        """Gives the node a new constant input named after its output and role."""
        graph = node.graph
        assert graph is not None
        name = self.names.take(f"{node.outputs[0].name or node.name}_{role}")
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, add_constant(graph, name, array))


Form = Callable[[ir.Node, FormContext], None]


def _move_ints(node: ir.Node, context: FormContext, attribute: str, index: int) -> None:
    values = ints_attribute(node, attribute)
    if values is None:
        return
    del node.attributes[attribute]
    if values:
        context.set_input(node, index, np.asarray(values, np.int64), attribute)


def _raise_axes(node: ir.Node, context: FormContext) -> None:
    if len(node.inputs) < 2:
        _move_ints(node, context, "axes", 1)


def _raise_split(node: ir.Node, context: FormContext) -> None:
    if context.opset < 13:
        _move_ints(node, context, "split", 1)
    if input_at(node, 1) is None and "num_outputs" not in node.attributes:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


def _scalar_of(node: ir.Node, value: float) -> NDArray[np.generic]:
    data = node.inputs[0]
    if data is None or data.dtype is None:
        raise CannotRaiseError
    return np.asarray(value, data.dtype.numpy())


def _raise_clip(node: ir.Node, context: FormContext) -> None:
    for index, name in ((1, "min"), (2, "max")):
        if name in node.attributes:
            bound = node.attributes.pop(name).as_float()
            context.set_input(node, index, _scalar_of(node, bound), name)


def _raise_pad(node: ir.Node, context: FormContext) -> None:
    _move_ints(node, context, "pads", 1)
    if "value" in node.attributes:
        value = node.attributes.pop("value").as_float()
        if value and string_attribute(node, "mode", "constant") == "constant":
            context.set_input(node, 2, _scalar_of(node, value), "value")


def _raise_slice(node: ir.Node, context: FormContext) -> None:
    for index, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        _move_ints(node, context, name, index)


def _raise_top_k(node: ir.Node, context: FormContext) -> None:
    if "k" in node.attributes:
        count = node.attributes.pop("k").as_int()
        context.set_input(node, 1, np.asarray([count], np.int64), "k")


def _raise_dropout(node: ir.Node, _context: FormContext) -> None:
    # The ratio is without effect at inference, and the mask changed its type.
    if any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        raise CannotRaiseError
    node.resize_outputs(1)
    node.attributes.pop("ratio", None)


def _raise_batch_norm(node: ir.Node, context: FormContext) -> None:
    if int_attribute(node, "spatial", 1) != 1:
        raise CannotRaiseError
    node.attributes.pop("spatial", None)
    if context.opset < 14:
        if any(extra.name for extra in node.outputs[1:]):
            raise CannotRaiseError
        node.resize_outputs(1)


def _raise_upsample(node: ir.Node, context: FormContext) -> None:
    if context.opset < 9:
        scales = node.attributes.pop("scales").as_floats()
        context.set_input(node, 1, np.asarray(scales, np.float32), "scales")
    node.op_type = "Resize"
    _raise_first_resize(node, context)


def _raise_first_resize(node: ir.Node, _context: FormContext) -> None:
    # Resize-10 samples output i at i / scale, rounded down where it enlarges and up where it
    # shrinks; the newer form rounds all axes alike.
    scales = node.inputs[1]
    array = constant_array(scales)
    factors = np.asarray([0.5, 2.0] if array is None else array, np.float64)
    shrinks = bool((factors < 1).any())
    if shrinks and (factors > 1).any() and _is_nearest(node):
        raise CannotRaiseError
    node.resize_inputs(3)
    node.replace_input_with(1, None)
    node.replace_input_with(2, scales)
    mode = string_attribute(node, "mode", "nearest")
    node.attributes["mode"] = ir.AttrString("mode", "linear" if mode == "bilinear" else mode)
    node.attributes["coordinate_transformation_mode"] = ir.AttrString(
        "coordinate_transformation_mode", "asymmetric"
    )
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "ceil" if shrinks else "floor")


def _is_nearest(node: ir.Node) -> bool:
    return string_attribute(node, "mode", "nearest") == "nearest"


def _raise_resize(node: ir.Node, context: FormContext) -> None:
    if context.opset == 10:
        _raise_first_resize(node, context)
        return
    mode = string_attribute(node, "coordinate_transformation_mode", "half_pixel")
    if mode == "tf_half_pixel_for_nn":
        raise CannotRaiseError
    # At opset 11 an absent input was an empty tensor.
    for index in (1, 2, 3):
        array = constant_array(input_at(node, index))
        unread = index == 1 and mode != "tf_crop_and_resize"
        empty = array is not None and array.size == 0
        if (unread or empty) and index < len(node.inputs):
            node.replace_input_with(index, None)


def _raise_softmax(node: ir.Node, context: FormContext) -> None:
    # Up to opset 12 the axes from `axis` on were one.
    rank, axis = rank_of(node.inputs[0]), int_attribute(node, "axis", 1)
    if rank is None:
        raise CannotRaiseError
    axis = axis + rank if axis < 0 else axis
    if axis == rank - 1 or (rank == 1 and axis == 1):
        node.attributes["axis"] = ir.AttrInt64("axis", rank - 1)
        return
    shape = static_shape(node.inputs[0])
    if shape is None or axis >= rank:
        raise CannotRaiseError
    long = [i for i in range(axis, rank) if shape[i] != 1]
    if len(long) <= 1:
        node.attributes["axis"] = ir.AttrInt64("axis", long[0] if long else axis)
        return
    _flatten_around(node, context, axis, shape)


def _flatten_around(node: ir.Node, context: FormContext, axis: int, shape: Sequence[int]) -> None:
    graph, result = node.graph, node.outputs[0]
    assert graph is not None
    name = node.name or result.name or node.op_type
    flat = ir.node(
        "Flatten", [node.inputs[0]], {"axis": axis}, name=context.names.take(f"{name}_flatten")
    )
    flat.outputs[0].name = context.names.take(f"{result.name}_flattened")
    sizes = ir.Shape([sizes_product(shape[:axis]), sizes_product(shape[axis:])])
    flat.outputs[0].type, flat.outputs[0].shape = result.type, sizes
    graph.insert_before(node, flat)
    inner = ir.node(node.op_type, [flat.outputs[0]], {"axis": -1}, name=node.name)
    inner.outputs[0].name = context.names.take(f"{result.name}_flat")
    inner.outputs[0].type, inner.outputs[0].shape = result.type, sizes
    graph.insert_before(node, inner)
    # The node itself becomes the reshape back, so that the result stays the same value.
    node.op_type = "Reshape"
    node.name = context.names.take(f"{name}_reshape")
    node.attributes.clear()
    node.replace_input_with(0, inner.outputs[0])
    context.set_input(node, 1, np.asarray(shape, np.int64), "shape")


def _raise_scatter(node: ir.Node, _context: FormContext) -> None:
    node.op_type = "ScatterElements"


def _refuse(_node: ir.Node, _context: FormContext) -> None:
    raise CannotRaiseError


def _raise_roi_align(node: ir.Node, _context: FormContext) -> None:
    name = "coordinate_transformation_mode"
    node.attributes.setdefault(name, ir.AttrString(name, "output_half_pixel"))


_REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)

# Operator -> (first opset that has the newer form, rewrite).
FORMS: MappingProxyType[str, tuple[int, Form]] = MappingProxyType(
    {
        "BatchNormalization": (14, _raise_batch_norm),
        "Clip": (11, _raise_clip),
        "Dropout": (12, _raise_dropout),
        "Hardmax": (13, _raise_softmax),
        "LogSoftmax": (13, _raise_softmax),
        "Pad": (11, _raise_pad),
        "ReduceSum": (13, _raise_axes),
        "Resize": (13, _raise_resize),
        "RoiAlign": (16, _raise_roi_align),
        "Scan": (9, _refuse),
        "Scatter": (11, _raise_scatter),
        "Slice": (10, _raise_slice),
        "Softmax": (13, _raise_softmax),
        "Split": (18, _raise_split),
        "Squeeze": (13, _raise_axes),
        "TopK": (10, _raise_top_k),
        "Unsqueeze": (13, _raise_axes),
        "Upsample": (10, _raise_upsample),
        **dict.fromkeys(_REDUCTIONS, (18, _raise_axes)),
    }
)
