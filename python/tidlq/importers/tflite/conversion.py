"""A TFLite network as an ONNX graph, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from tidlq.errors import ModelError, nearest_names
from tidlq.importers.onnx_shapes import BatchAxis, fix_shapes
from tidlq.importers.tflite.atrous import Atrous, find_atrous
from tidlq.importers.tflite.builder import GraphBuilder
from tidlq.importers.tflite.constants import ELEMENT_TYPES
from tidlq.importers.tflite.contents import OptionValue, StoredModel, StoredOperator, StoredTensor
from tidlq.importers.tflite.linear_forms import add_dequantize, add_quantize
from tidlq.importers.tflite.operators.registry import (
    CUSTOM_IMPORTERS,
    IMPORTERS,
    REFUSALS,
    Importer,
    LayoutUse,
)
from tidlq.importers.tflite.quantization import feature_quant
from tidlq.importers.tflite.reading import default_options
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.importers.tflite.tensors import Tensors, graph_type, tensor_names

_FREE = -1
# What a model of opset 21 needs, and what one of opset 18 may have.
_IR_VERSION = 10


@dataclass(frozen=True, eq=False)
class Converted:
    """A network as an ONNX model.

    Attributes:
        model: with static shapes; statements are on its values.
        batch: which inputs and outputs have a free leading axis.
    """

    model: ir.Model
    batch: BatchAxis


def convert(model: StoredModel, input_shapes: Mapping[str, Sequence[int]]) -> Converted:
    """Rewrites a TFLite network as ONNX operators.

    Args:
        model: the network.
        input_shapes: sizes of inputs that are free, by input name.

    Raises:
        ModelError: Names the operator and the tensor that cannot be imported.
    """
    _check_ends(model)
    importers = [_importer(model, operator) for operator in model.operators]
    names = tensor_names(model)
    builder = GraphBuilder(model.name or "network", names)
    atrous = find_atrous(model)
    tensors = Tensors(model, names, builder, _wanted(model, importers, atrous))
    batch = _add_inputs(model, builder, tensors, input_shapes)
    skipped = {index for found in atrous.values() for index in found.others}
    for operator, importer in zip(model.operators, importers, strict=True):
        if operator.index not in skipped:
            _rewrite(operator, importer, tensors, builder, atrous.get(operator.index))
    _add_outputs(model, builder, tensors)
    return Converted(ir.Model(builder.graph, ir_version=_IR_VERSION), batch)


def _check_ends(model: StoredModel) -> None:
    for what, ends in (("inputs", model.inputs), ("outputs", model.outputs)):
        if -1 in ends:
            raise ModelError(f"one of its {what} is absent.")
    if not model.outputs:
        raise ModelError("the network has no outputs.")
    if len(set(model.inputs)) != len(model.inputs):
        raise ModelError("the network lists one tensor twice among its inputs.")


def _importer(model: StoredModel, operator: StoredOperator) -> Importer:
    known = CUSTOM_IMPORTERS if operator.is_custom else IMPORTERS
    found = known.get(operator.code)
    if -1 in operator.outputs or not operator.outputs:
        raise ModelError(f"{operator.label} has no output, or one that is absent.")
    if found is not None:
        return found
    kind = "the custom operator" if operator.is_custom else "the operator"
    name = model.tensors[operator.outputs[0]].name
    reason = REFUSALS.get(operator.code, "")
    reason = f": it {reason}" if reason else ""
    raise ModelError(
        f"{kind} {operator.code} (operator {operator.index}), which writes {name!r}, is not "
        f"supported{reason}.{'' if reason else nearest_names(operator.code, known)}"
    )


def _rewrite(
    operator: StoredOperator,
    importer: Importer,
    tensors: Tensors,
    builder: GraphBuilder,
    atrous: Atrous | None,
) -> None:
    if atrous is not None:
        operator = replace(
            operator, inputs=(atrous.source, *operator.inputs[1:]), outputs=(atrous.result,)
        )
    options: Mapping[str, OptionValue] = {}
    if importer.options:
        is_there = operator.table == importer.options
        options = operator.options if is_there else default_options(importer.options)
    rewrite = Rewrite(operator, options, tensors, builder, atrous)
    try:
        importer.rewrite(rewrite)
    except ModelError as error:
        if str(error).startswith(operator.label):
            raise
        raise rewrite.fault(f"is refused: {error}") from error.__cause__


def _wanted(
    model: StoredModel, importers: Sequence[Importer], atrous: Mapping[int, Atrous]
) -> frozenset[int]:
    """Tensors that a layer with channels first reads, at once or behind operators that follow."""
    wanted: set[int] = set()
    ends = {index for found in atrous.values() for index in found.others}
    for operator, importer in zip(reversed(model.operators), reversed(importers), strict=True):
        is_first = importer.layout is LayoutUse.CHANNELS_FIRST or operator.index in ends
        follows = importer.layout is LayoutUse.FOLLOWS
        if is_first or (follows and not wanted.isdisjoint(operator.outputs)):
            wanted.update(operator.inputs)
    return frozenset(wanted)


def _symbolic(tensor: StoredTensor) -> ir.Shape:
    return ir.Shape([None if size == _FREE else size for size in tensor.signature])


def _add_inputs(
    model: StoredModel,
    builder: GraphBuilder,
    tensors: Tensors,
    input_shapes: Mapping[str, Sequence[int]],
) -> BatchAxis:
    """Adds the network's inputs, with static shapes."""
    ends: dict[int, ir.Value] = {}
    for index in (*model.inputs, *model.outputs):
        if index not in ends:
            shape = _symbolic(model.tensors[index])
            ends[index] = ir.Value(name=tensors.names[index], shape=shape)
    given = set(model.inputs)
    interface = ir.Graph(
        [ends[index] for index in model.inputs],
        [value for index, value in ends.items() if index not in given],
        nodes=[],
    )
    batch = fix_shapes(ir.Model(interface, ir_version=_IR_VERSION), input_shapes)
    for index in model.inputs:
        tensor, value = model.tensors[index], ends[index]
        if tensor.data is not None or tensor.is_variable:
            raise ModelError(f"input {tensors.names[index]!r} is a constant or a variable.")
        sizes = value.shape.numpy() if value.shape is not None else ()
        if 0 in sizes:
            raise ModelError(f"input {tensors.names[index]!r} of shape {list(sizes)} is empty.")
        dtype = ELEMENT_TYPES.get(tensor.type)
        if dtype is None:
            graph_type(tensor)
            raise ModelError(f"input {tensors.names[index]!r} is of type {tensor.type}.")
        name = builder.claim_name(tensors.names[index], "input")
        _define_input(builder, tensors, index, builder.add_input(name, dtype, sizes))
    return batch


def _define_input(builder: GraphBuilder, tensors: Tensors, index: int, value: ir.Value) -> None:
    """Lets an input stand for its tensor, behind a node where that is of another type."""
    tensor = tensors.model.tensors[index]
    name = f"{value.name}_float"
    if (quant := feature_quant(tensor)) is not None:
        value = add_dequantize(builder, value, quant, name)
    elif value.dtype != ir.DataType.from_numpy(graph_type(tensor)):
        to = int(ir.DataType.from_numpy(graph_type(tensor)))
        value = builder.add_node("Cast", [value], [name], {"to": to}, name)[0]
    tensors.define_input(index, value)


def _add_outputs(model: StoredModel, builder: GraphBuilder, tensors: Tensors) -> None:
    """Adds the network's outputs, in TFLite's layout, under their own names and types."""
    for index in model.outputs:
        value = tensors.read(index)
        name = builder.take_name(f"{tensors.names[index]}_end")
        dtype = ELEMENT_TYPES.get(model.tensors[index].type, np.dtype(np.float32))
        if (quant := feature_quant(model.tensors[index])) is not None:
            value = add_quantize(builder, value, quant, name)
        elif value.dtype != ir.DataType.from_numpy(dtype):
            to = int(ir.DataType.from_numpy(dtype))
            value = builder.add_node("Cast", [value], [name], {"to": to}, name)[0]
        elif value.name != tensors.names[index] or not _may_leave(value):
            value = builder.add_node("Identity", [value], [name], {}, name)[0]
        if value.name != tensors.names[index]:
            builder.rename(value, builder.claim_name(tensors.names[index], "output"))
        builder.graph.outputs.append(value)


def _may_leave(value: ir.Value) -> bool:
    """Whether a value can be an output of the network as it is."""
    is_bound = value.is_graph_input() or value.is_graph_output() or value.is_initializer()
    return not is_bound
