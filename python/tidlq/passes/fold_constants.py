"""Constant folding.

What: computes every node whose inputs are constants, and Shape and Size of tensors whose shape is
    known, and makes their outputs constants under the same name.
When: after shape inference; repeated with it until nothing folds.
Before -> After: `Reshape(x, Concat(Gather(Shape(x), 0), -1))` -> `Reshape(x, [1, -1])`.
Numerics: exactly what ONNX Runtime computes for the same nodes without graph optimization. A
    reshaped or transposed constant keeps its statement.

Not folded: nodes that hold nested graphs, random numbers, graph outputs, results of unknown or
excessive size, quantization (see `FoldQuantization`), and whatever ONNX Runtime cannot run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.float_runtime import open_float_session
from tidlq.passes.node_editing import replace_by_constant
from tidlq.passes.node_reading import (
    QUANTIZATION_OPS,
    int_attribute,
    is_constant,
    is_op,
    reads_outer_scope,
    sizes_product,
    static_shape,
)
from tidlq.passes.selecting_ops import moved_parameter
from tidlq.passes.stated import state_parameter, stated_parameter
from tidlq.spec import StatedParameter

_RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
# Their outputs depend on data in size, but hold at most rank + 1 entries per input element.
_BOUNDED_BY_INPUT = frozenset({"NonZero", "Unique", "Compress"})
# A result may be as large as the constants that it is made of, or as this many elements.
_LARGEST_RESULT = 1 << 24
_RUNNABLE_KINDS = "fiub"


class FoldConstants(ir.passes.InPlacePass):
    """Replaces computable tensors by constants."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Folds all that one reading of the shapes allows."""
        folded: dict[ir.Value, NDArray[np.generic]] = {}
        chosen: list[ir.Node] = []
        known: set[ir.Value] = set()
        for node in model.graph:
            shape = _shape_result(node)
            if shape is not None and not node.outputs[0].is_graph_output():
                folded[node.outputs[0]] = shape
                known.add(node.outputs[0])
            elif _is_foldable(node, known):
                chosen.append(node)
                known.update(node.outputs)
        folded |= _compute(model, chosen, folded)
        stated = _moved_statements(chosen)
        for value, array in folded.items():
            state_parameter(replace_by_constant(model.graph, value, array), stated.get(value))
        spent = set(chosen)
        for node in reversed(model.graph):
            if node in spent and not any(output.uses() for output in node.outputs):
                model.graph.remove(node, safe=True)
        return ir.passes.PassResult(model, modified=bool(folded))


def _is_foldable(node: ir.Node, known: set[ir.Value]) -> bool:
    inputs = [value for value in node.inputs if value is not None]
    if node.domain or not inputs or node.op_type in QUANTIZATION_OPS or node.op_type in _RANDOM:
        return False
    if not all(value in known or is_constant(value) for value in inputs):
        return False
    if reads_outer_scope(node) or any(output.is_graph_output() for output in node.outputs):
        return False
    if not all(_is_runnable(value) for value in inputs):
        return False
    allowed = max([_LARGEST_RESULT, *(_count(value) or 0 for value in inputs)])
    if node.op_type in _BOUNDED_BY_INPUT:
        return all((_count(value) or 0) <= _LARGEST_RESULT for value in inputs)
    counts = [_count(output) for output in node.outputs if output.name]
    return all(count is not None and count <= allowed for count in counts)


def _moved_statements(nodes: Iterable[ir.Node]) -> dict[ir.Value, StatedParameter]:
    """What the results of nodes state that only move the elements of a stated constant."""
    found: dict[ir.Value, StatedParameter] = {}
    for node in nodes:
        source = node.inputs[0]
        stated = stated_parameter(source) if source not in found else found[source]
        moved = None if stated is None else moved_parameter(node, stated)
        if moved is not None:
            found |= dict.fromkeys(node.outputs, moved)
    return found


def _is_runnable(value: ir.Value) -> bool:
    # Types outside numpy's own cannot be fed.
    return value.dtype is not None and value.dtype.numpy().kind in _RUNNABLE_KINDS


def _count(value: ir.Value) -> int | None:
    shape = static_shape(value)
    return None if shape is None else sizes_product(shape)


def _shape_result(node: ir.Node) -> NDArray[np.generic] | None:
    """Shape and Size need only the shape of a tensor, not its values."""
    if not is_op(node, "Shape", "Size"):
        return None
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    if node.op_type == "Size":
        return np.asarray(sizes_product(shape), np.int64)
    start = int_attribute(node, "start", 0)
    end = int_attribute(node, "end", len(shape))
    return np.asarray(shape[start:end], np.int64)


def _compute(
    model: ir.Model, nodes: Sequence[ir.Node], ready: Mapping[ir.Value, NDArray[np.generic]]
) -> dict[ir.Value, NDArray[np.generic]]:
    """Runs the nodes at once; node by node where one of them cannot be run."""
    if not nodes:
        return {}
    with contextlib.suppress(Exception):  # ONNX Runtime raises more than it documents
        inside = set(nodes)
        leaving = [
            output
            for node in nodes
            for output in node.outputs
            if any(use.node not in inside for use in output.uses())
        ]
        return _run(model, nodes, leaving, ready)
    found = dict(ready)
    for node in nodes:
        if all(value is None or value in found or is_constant(value) for value in node.inputs):
            with contextlib.suppress(Exception):
                used = [output for output in node.outputs if output.uses()]
                found |= _run(model, [node], used, found)
    return {value: array for value, array in found.items() if value not in ready}


def _run(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    outputs: Sequence[ir.Value],
    ready: Mapping[ir.Value, NDArray[np.generic]],
) -> dict[ir.Value, NDArray[np.generic]]:
    if not outputs:
        return {}
    made = {output for node in nodes for output in node.outputs}
    feeds: dict[str, NDArray[np.generic]] = {}
    graph = onnx.GraphProto(name="constants")
    for value in _distinct(value for node in nodes for value in node.inputs):
        if value in made or not value.name:
            continue
        array = ready[value] if value in ready else _array(value)
        feeds[value.name] = array
        graph.input.append(
            onnx.helper.make_tensor_value_info(
                value.name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
        )
    graph.node.extend(ir.serde.serialize_node(node) for node in nodes)
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in outputs)
    proto = onnx.ModelProto(ir_version=8, graph=graph)
    for domain, version in model.graph.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    session = open_float_session(proto.SerializeToString(), threads=1, is_optimized=False)
    arrays = session.run([value.name or "" for value in outputs], feeds)
    return dict(zip(outputs, map(np.asarray, arrays), strict=True))


def _distinct(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    return list(dict.fromkeys(value for value in values if value is not None))


def _array(value: ir.Value) -> NDArray[np.generic]:
    assert value.const_value is not None
    array: NDArray[np.generic] = value.const_value.numpy()
    return array
