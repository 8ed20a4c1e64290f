"""Matrix product and bias as one node.

What: MatMul of a rank-2 tensor with a constant matrix, whose one reader adds a constant per column,
    becomes Gemm, unless their product is stated to be quantized.
When: once shapes are inferred and constants folded.
Before -> After: `Add(MatMul(x, w), b)` -> `Gemm(x, w, b)`, under MatMul's node name and Add's
    tensor name.
Numerics: the same sums in an order that may differ: float32 rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tidlq.passes.affine import affine_of
from tidlq.passes.node_editing import FreshNames, absorb_next, replace_constant
from tidlq.passes.node_reading import constant_array, is_op, rank_of, sole_consumer, static_shape
from tidlq.passes.stated import state_bias, stated_bias, stated_feature


class MatMulToGemm(ir.passes.InPlacePass):
    """Joins MatMul and the Add after it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        names, modified = None, False
        for node in model.graph:
            if is_op(node, "MatMul") and is_op(sole_consumer(node.outputs[0]), "Add"):
                names = names or FreshNames(model.graph)
                modified |= _join(node, names)
        return ir.passes.PassResult(model, modified=modified)


def _join(node: ir.Node, names: FreshNames) -> bool:
    weight, following = constant_array(node.inputs[1]), sole_consumer(node.outputs[0])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
        return False
    if rank_of(node.inputs[0]) != 2 or not is_op(following, "Add"):
        return False
    if stated_feature(node.outputs[0]) is not None:
        return False
    assert following is not None
    affine = affine_of(following, 1)
    columns = weight.shape[1]
    if affine is None or following.graph is not node.graph or affine.shift.size not in (1, columns):
        return False
    bias = np.ascontiguousarray(affine.per_channel(columns)[1], np.float32)
    node.op_type = "Gemm"
    addend = following.inputs[1 if following.inputs[0] is node.outputs[0] else 0]
    node.resize_inputs(3)
    node.replace_input_with(2, addend)
    absorb_next(node, following)
    if static_shape(addend) != bias.shape:
        integers = stated_bias(addend)
        state_bias(replace_constant(node, 2, bias, names, "bias"), integers)
    return True
