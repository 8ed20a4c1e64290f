"""QuantizeLinear and DequantizeLinear of newer types in the domain that runs them.

What: a QuantizeLinear or DequantizeLinear of 16 or 4 bits moves to the domain `com.microsoft` where
    the model's operator set is older than the first one with that type.
When: last; most such nodes have become statements by then.
Before -> After: at opset 18 `QuantizeLinear(x, s, z_int16)` -> `com.microsoft.QuantizeLinear(...)`.
Numerics: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.linear_quant import MICROSOFT, is_dequantize, is_quantize

_FIRST_WITH_16_BITS = 21
_NEWER = frozenset(
    {
        ir.DataType.INT4,
        ir.DataType.UINT4,
        ir.DataType.INT16,
        ir.DataType.UINT16,
    }
)


class ToRunnableDomain(ir.passes.InPlacePass):
    """Moves nodes that ONNX's own domain would not admit."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph."""
        imports, modified = model.graph.opset_imports, False
        if imports.get("", _FIRST_WITH_16_BITS) >= _FIRST_WITH_16_BITS:
            return ir.passes.PassResult(model, modified=False)
        for node in model.graph:
            if node.domain or not (is_quantize(node) or is_dequantize(node)):
                continue
            zero_point = node.inputs[2] if len(node.inputs) > 2 else None
            data = node.inputs[0] if is_dequantize(node) else node.outputs[0]
            kinds = {value.dtype for value in (data, zero_point) if value is not None}
            if kinds & _NEWER:
                node.domain, modified = MICROSOFT, True
                imports.setdefault(MICROSOFT, 1)
        return ir.passes.PassResult(model, modified=modified)
