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

import onnx
import onnx_ir as ir

from tidlq.passes.node_editing import FreshNames
from tidlq.passes.opset_forms import FORMS, CannotRaiseError, FormContext

CANONICAL_OPSET = 18


class RaiseOpset(ir.passes.InPlacePass):
    """Brings the graph to `CANONICAL_OPSET`, or leaves it whole where that is impossible."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites a copy, so that a failure half-way leaves no trace; weights are shared."""
        opset = model.graph.opset_imports.get("")
        if opset is None or opset >= CANONICAL_OPSET:
            return ir.passes.PassResult(model, modified=False)
        raised = model.clone()
        context = FormContext(FreshNames(raised.graph), opset)
        try:
            for node in tuple(raised.graph.all_nodes()):
                if node.domain == "":
                    _raise_node(node, context)
        except CannotRaiseError:
            return ir.passes.PassResult(model, modified=False)
        raised.graph.opset_imports[""] = CANONICAL_OPSET
        model.graph = raised.graph
        return ir.passes.PassResult(model, modified=True)


def _raise_node(node: ir.Node, context: FormContext) -> None:
    since, form = FORMS.get(node.op_type, (0, None))
    if form is not None and context.opset < since:
        form(node, context)
    node.version = None
    if not _is_valid(node):
        raise CannotRaiseError


def _is_valid(node: ir.Node) -> bool:
    try:
        schema = onnx.defs.get_schema(node.op_type, CANONICAL_OPSET, "")
    except onnx.defs.SchemaError:
        return False
    required = {name for name, attribute in schema.attributes.items() if attribute.required}
    present = set(node.attributes)
    return (
        not schema.deprecated
        and present <= set(schema.attributes)
        and required <= present
        and schema.min_input <= len(node.inputs) <= schema.max_input
        and schema.min_output <= len(node.outputs) <= schema.max_output
    )
