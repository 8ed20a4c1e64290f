"""A unique name for every node.

What: a node without a name, or with the name of an earlier node, is named after its first output;
    where that is taken too, `_1`, `_2` ... follow. Nested graphs stay as they are.
When: first of all passes, so that names come from the model's own tensors, and last.
Before -> After: `Conv "" -> y` -> `Conv "y" -> y`.
Numerics: none.
"""

from __future__ import annotations

import onnx_ir as ir


class NameNodes(ir.passes.InPlacePass):
    """Names nodes deterministically; unique names are never changed."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Names the nodes of the main graph."""
        taken = {node.name for node in model.graph if node.name}
        seen: set[str] = set()
        modified = False
        for node in model.graph:
            if not node.name or node.name in seen:
                base = next((v.name for v in node.outputs if v.name), None) or node.op_type
                name, count = base, 0
                while name in taken:
                    count += 1
                    name = f"{base}_{count}"
                node.name = name
                taken.add(name)
                modified = True
            seen.add(node.name)
        return ir.passes.PassResult(model, modified=modified)
