"""Quantized biases as real values that state their integers.

What: DequantizeLinear of a constant of 32 bits becomes the constant real values. Where every reader
    adds them to an accumulator, and their scale is that accumulator's, they state their integers.
When: once features and weights state theirs.
Before -> After: `Conv(x, w, DequantizeLinear(b_int32, scale))` -> `Conv(x, w, b)`, b float32 stated
    as integers if scale = scale of x * scale of w.
Numerics: float32 keeps 24 bits of a bias; the statement keeps them all. Scales count as equal
    within float32 rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.linear_quant import is_dequantize, read_linear_quant
from tidlq.passes.node_editing import replace_by_constant
from tidlq.passes.node_reading import (
    constant_array,
    float_attribute,
    input_at,
    is_op,
    sole_consumer,
)
from tidlq.passes.stated import state_bias, stated_feature, stated_parameter
from tidlq.passes.weight_channels import output_axis, output_channels

# float32 holds a product of two scales to 2^-24; exporters round once or twice more.
_ROUNDING = 2.0**-22


class StateBiases(ir.passes.InPlacePass):
    """Evaluates DequantizeLinear of constants of 32 bits."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        modified = False
        for node in model.graph:
            if is_dequantize(node) and not node.outputs[0].is_graph_output():
                modified |= _fold(node)
        return ir.passes.PassResult(model, modified=modified)


def _fold(node: ir.Node) -> bool:
    array, graph = constant_array(node.inputs[0]), node.graph
    quant = None if array is None else read_linear_quant(node)
    if array is None or graph is None or quant is None:
        return False
    bias = replace_by_constant(graph, node.outputs[0], quant.dequantize(array))
    uses = tuple(bias.uses())
    scales = quant.scale.reshape(-1).astype(np.float64)
    if uses and all(_is_at_accumulator(use.node, use.idx, array.size, scales) for use in uses):
        steps = array.astype(np.int64) - quant.zero_point
        state_bias(bias, tuple(steps.reshape(-1).tolist()))
    return True


def _is_at_accumulator(node: ir.Node, index: int, size: int, scales: NDArray[np.float64]) -> bool:
    """Whether the node adds `size` integers of these scales to its own accumulator."""
    if is_op(node, "Add"):
        produced = node.inputs[1 - index]
        layer = None if produced is None else produced.producer()
        if layer is None or not is_op(layer, "MatMul") or sole_consumer(layer.outputs[0]) is None:
            return False
        if stated_feature(layer.outputs[0]) is not None:
            return False
    elif is_op(node, "Conv", "ConvTranspose", "Gemm") and index == 2:
        layer = node
        factors = (float_attribute(node, "alpha", 1.0), float_attribute(node, "beta", 1.0))
        if is_op(node, "Gemm") and factors != (1.0, 1.0):
            return False
    else:
        return False
    feature, weight = stated_feature(layer.inputs[0]), stated_parameter(input_at(layer, 1))
    if feature is None or weight is None or output_channels(layer) != size:
        return False
    if len(weight.scales) > 1 and weight.axis != output_axis(layer):
        return False
    wanted = feature.scale * np.asarray(weight.scales, np.float64)
    if not {scales.size, wanted.size} <= {1, size}:
        return False
    return bool(np.all(np.abs(scales - wanted) <= _ROUNDING * wanted))
