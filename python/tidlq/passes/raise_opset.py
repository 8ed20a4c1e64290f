"""One opset for all models.

What: rewrites a model of opset 7 to 17 to opset 18, where shapes, axes and bounds are inputs.
    A model that has a node without an equal there keeps its own opset, whole.
When: once shapes are inferred; constants already are initializers.
Before -> After: opset 9 `Upsample(x, scales) {mode: linear}` -> opset 18
    `Resize(x, , scales) {mode: linear, coordinate_transformation_mode: asymmetric}`.
Numerics: exact.

onnx's own converter is not used because it changes results: it reads Resize-10 and linear Upsample
as half_pixel, leaves Hardmax's axes unmerged, and keeps empty scales beside sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from tidlq.passes.node_editing import FreshNames
from tidlq.passes.opset_forms import FORMS, CannotRaiseError, FormContext

CANONICAL_OPSET = 18


class RaiseOpset(ir.passes.InPlacePass):
    """Brings the graph to `CANONICAL_OPSET`, or leaves it whole where that is impossible."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites a copy, so that a failure half-way leaves no trace; weights are shared.

        A graph in which no form changes is not copied.
        """
        opset = model.graph.opset_imports.get("")
        if opset is None or opset >= CANONICAL_OPSET:
            return ir.passes.PassResult(model, modified=False)
        graph = model.graph
        nodes = _own_nodes(graph)
        if any(_changes_form(node, opset) for node in nodes):
            graph = model.clone().graph
            nodes = _own_nodes(graph)
        if not (_raise_forms(graph, nodes, opset) and _are_valid(nodes)):
            return ir.passes.PassResult(model, modified=False)
        for node in nodes:
            node.version = None
        graph.opset_imports[""] = CANONICAL_OPSET
        model.graph = graph
        return ir.passes.PassResult(model, modified=True)


def _own_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Operators of the default domain, those of nested graphs included."""
    return [node for node in graph.all_nodes() if node.domain == ""]


def _changes_form(node: ir.Node, opset: int) -> bool:
    return node.op_type in FORMS and opset < FORMS[node.op_type][0]


def _raise_forms(graph: ir.Graph, nodes: Iterable[ir.Node], opset: int) -> bool:
    """Rewrites nodes to their newer form; returns False where one has none."""
    changing = [node for node in nodes if _changes_form(node, opset)]
    if not changing:
        return True
    context = FormContext(FreshNames(graph), opset)
    try:
        for node in changing:
            FORMS[node.op_type][1](node, context)
    except CannotRaiseError:
        return False
    return True


@dataclass(frozen=True)
class _Signature:
    """What `CANONICAL_OPSET` demands of an operator's nodes."""

    attributes: Set[str]
    required: Set[str]
    inputs: range
    outputs: range

    @classmethod
    def find(cls, op_type: str) -> _Signature | None:
        """None where the opset has no such operator, or a deprecated one."""
        try:
            schema = onnx.defs.get_schema(op_type, CANONICAL_OPSET, "")
        except onnx.defs.SchemaError:
            return None
        if schema.deprecated:
            return None
        attributes = schema.attributes
        return cls(
            attributes.keys(),
            {name for name, attribute in attributes.items() if attribute.required},
            range(schema.min_input, schema.max_input + 1),
            range(schema.min_output, schema.max_output + 1),
        )


def _are_valid(nodes: Sequence[ir.Node]) -> bool:
    """Whether every node is one that `CANONICAL_OPSET` defines."""
    signatures = {op_type: _Signature.find(op_type) for op_type in {n.op_type for n in nodes}}
    for node in nodes:
        signature, present = signatures[node.op_type], node.attributes.keys()
        if signature is None or not signature.required <= present <= signature.attributes:
            return False
        if len(node.inputs) not in signature.inputs or len(node.outputs) not in signature.outputs:
            return False
    return True
