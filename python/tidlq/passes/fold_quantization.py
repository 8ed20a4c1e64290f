"""Quantized constants as real values that state their integers.

What: QuantizeLinear of a constant becomes the constant integers; DequantizeLinear of constant
    integers becomes the constant real values, with the statement how they are stored. A Clip of
    constant integers is evaluated. Blocks and float8 lose the statement. Constants of 32 bits stay:
    `StateBiases` decides about them.
When: together with constant folding, since weights may be transposed or clipped in between.
Before -> After: `Conv(x, DequantizeLinear(w_int8, scale, zero))` -> `Conv(x, w)`, w float32 stated
    as int8 with the scales.
Numerics: exactly ONNX Runtime's: quantization divides in float32 and rounds halves to even,
    dequantization multiplies the exact difference in float32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tidlq.errors import ModelError
from tidlq.passes.linear_quant import (
    INTEGER_TYPES,
    is_dequantize,
    is_quantize,
    read_linear_quant,
)
from tidlq.passes.node_editing import replace_by_constant
from tidlq.passes.node_reading import constant_array, is_op
from tidlq.passes.stated import state_parameter

_WIDE = (ir.DataType.INT32, ir.DataType.INT64)


class FoldQuantization(ir.passes.InPlacePass):
    """Evaluates QuantizeLinear and DequantizeLinear of constants."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        modified = False
        for node in model.graph:
            if _is_output(node):
                continue
            if is_quantize(node) or is_dequantize(node):
                modified |= _fold(node)
            elif is_op(node, "Clip"):
                modified |= _clip(node)
        return ir.passes.PassResult(model, modified=modified)


def _clip(node: ir.Node) -> bool:
    """Evaluates a Clip of integers, of types too that ONNX Runtime cannot clip."""
    arrays = [constant_array(value) for value in node.inputs]
    data, graph = node.inputs[0], node.graph
    if data is None or graph is None or arrays[0] is None or data.dtype not in INTEGER_TYPES:
        return False
    bounds = [array for value, array in zip(node.inputs, arrays, strict=True) if value is not None]
    if len(bounds) < 2 or any(array is None or array.dtype != arrays[0].dtype for array in bounds):
        return False
    low, high = ([*arrays, None, None])[1:3]
    clipped = arrays[0].astype(np.int64)
    if low is not None and low.size == 1:
        clipped = np.maximum(clipped, int(low.reshape(-1)[0]))
    if high is not None and high.size == 1:
        clipped = np.minimum(clipped, int(high.reshape(-1)[0]))
    replace_by_constant(graph, node.outputs[0], clipped.astype(arrays[0].dtype))
    return True


def _is_output(node: ir.Node) -> bool:
    return any(output.is_graph_output() for output in node.outputs)


def _fold(node: ir.Node) -> bool:
    data, graph, output = node.inputs[0], node.graph, node.outputs[0]
    array = constant_array(data)
    if data is None or array is None or graph is None:
        return False
    if is_dequantize(node) and data.dtype in _WIDE:
        return False
    quant = read_linear_quant(node)
    if quant is None:
        return False
    if is_dequantize(node):
        constant = replace_by_constant(graph, output, quant.dequantize(array))
        state_parameter(constant, quant.parameter())
        return True
    if not quant.can_quantize or array.dtype.kind not in "fi":
        return False
    if np.isnan(array).any():
        raise ModelError(
            f"constant {data.name!r} of node {node.name!r} (QuantizeLinear) holds NaN; "
            "parameters must be finite."
        )
    replace_by_constant(graph, output, quant.quantize(array))
    return True
