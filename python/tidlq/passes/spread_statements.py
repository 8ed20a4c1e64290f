"""Statements carried over nodes that only select elements.

What: the output of a reshape, transpose, slice, max pool, padding with zero and the like, or of a
    clamp, without a statement of its own, gets its input's; so does a concat of tensors that state
    the same. Then the input of such a node (not of a clamp that its producer may take in), without
    a statement and with no other reader, gets its output's. Where such a node's input and output
    state differently, an Identity behind it does the requantization.
When: once Q/DQ pairs have become statements.
Before -> After: `Gemm(Flatten(AveragePool(x)))` with Flatten's output stated -> AveragePool's
    output stated alike.
Numerics: exact: selecting commutes with rounding to integers.
"""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.node_editing import FreshNames
from tidlq.passes.node_reading import is_constant, is_op
from tidlq.passes.selecting_ops import is_selecting, keeps_grid
from tidlq.passes.stated import state_feature, stated_feature
from tidlq.spec import FeatureQuant


class SpreadStatements(ir.passes.InPlacePass):
    """States what follows from the statements."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Walks the main graph forward and backward until nothing new follows."""
        graph, modified = model.graph, False
        while True:
            # A list: both walks are needed.
            found = any([_walk_forward(graph), _walk_backward(graph)])
            if not found:
                break
            modified = True
        modified |= _part_mismatches(graph)
        return ir.passes.PassResult(model, modified=modified)


def _walk_forward(graph: ir.Graph) -> bool:
    modified = False
    for node in graph:
        quant = _source_quant(node)
        if quant is None or not keeps_grid(node, quant):
            continue
        for output in node.outputs:
            modified |= _state(output, quant)
    return modified


def _source_quant(node: ir.Node) -> FeatureQuant | None:
    """What the data of a selecting node, a clamp or a concat state."""
    if is_op(node, "Concat"):
        found = {stated_feature(value) for value in node.inputs}
        return found.pop() if len(found) == 1 else None
    if node.inputs and (is_selecting(node) or is_op(node, "Relu", "Clip")):
        return stated_feature(node.inputs[0])
    return None


def _walk_backward(graph: ir.Graph) -> bool:
    modified = False
    for node in reversed(graph):
        if not node.outputs or not (is_selecting(node) or is_op(node, "Concat", "Relu", "Clip")):
            continue
        found = {stated_feature(output) for output in node.outputs if output.uses()}
        found |= {stated_feature(output) for output in node.outputs if output.is_graph_output()}
        quant = found.pop() if len(found) == 1 else None
        if quant is None or not keeps_grid(node, quant):
            continue
        for value in node.inputs if is_op(node, "Concat") else node.inputs[:1]:
            if value is not None and _is_free(value, is_op(node, "Relu", "Clip")):
                modified |= _state(value, quant)
    return modified


def _is_free(value: ir.Value, through_clamp: bool) -> bool:
    """Whether one node alone reads the value, so that it may be quantized as that node's output."""
    if is_constant(value) or len(value.uses()) != 1 or value.is_graph_output():
        return False
    producer = value.producer()
    if not through_clamp:
        return True
    return producer is not None and (is_selecting(producer) or is_op(producer, "Concat"))


def _state(value: ir.Value, quant: FeatureQuant) -> bool:
    if not value.name or value.dtype != ir.DataType.FLOAT or stated_feature(value) is not None:
        return False
    state_feature(value, quant)
    return True


def _part_mismatches(graph: ir.Graph) -> bool:
    names: FreshNames | None = None
    for node in graph:
        if not is_selecting(node) or is_op(node, "Identity"):
            continue
        before = stated_feature(node.inputs[0])
        for output in node.outputs:
            after = stated_feature(output)
            if before is None or after is None or before == after or not keeps_grid(node, before):
                continue
            names = names or FreshNames(graph)
            _requantize_behind(graph, output, before, after, names)
    return names is not None


def _requantize_behind(
    graph: ir.Graph, value: ir.Value, before: FeatureQuant, after: FeatureQuant, names: FreshNames
) -> None:
    """Lets the producer write another tensor, and an Identity the one that there was."""
    node, name = value.producer(), value.name
    assert node is not None
    requantize = ir.node("Identity", [value], name=names.take(f"{name}_requantize"))
    result = requantize.outputs[0]
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    requantize.replace_input_with(0, value)
    value.name = names.take(f"{name}_selected")
    result.name, result.shape, result.type = name, value.shape, value.type
    state_feature(value, before)
    state_feature(result, after)
    graph.insert_after(node, requantize)
