"""ONNX Runtime's QuantizeLinear and DequantizeLinear as ONNX's own.

What: QuantizeLinear and DequantizeLinear of the domain `com.microsoft` move to ONNX's, wherever
    that has their attributes.
When: first, so that ONNX's checker and shape inference know them. `ToRunnableDomain` moves back
    what is left at the end and has a type that ONNX admits only in a newer operator set.
Before -> After: `com.microsoft.QuantizeLinear(x, s, z)` -> `QuantizeLinear(x, s, z)`.
Numerics: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.linear_quant import MICROSOFT, is_dequantize, is_quantize

_OLDEST, _FIRST_WITH_AXIS = 10, 13


class ToOnnxDomain(ir.passes.InPlacePass):
    """Moves nodes of ONNX Runtime's domain to ONNX's."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph."""
        opset = model.graph.opset_imports.get("", 0)
        modified = False
        for node in model.graph:
            if node.domain != MICROSOFT or not (is_quantize(node) or is_dequantize(node)):
                continue
            if opset >= (_FIRST_WITH_AXIS if "axis" in node.attributes else _OLDEST):
                node.domain = ""
                modified = True
        return ir.passes.PassResult(model, modified=modified)
