"""Quantized biases as real values that state their integers.

What: DequantizeLinear of a constant of 32 bits becomes the constant real values, and so does the
    sum of two of them whose scales differ by a power of two, which is how `tidlq export` writes a
    bias of more bits. Where every reader adds them to an accumulator, and their scale is that
    accumulator's, they state their integers.
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
_BITS = 32


class StateBiases(ir.passes.InPlacePass):
    """Evaluates DequantizeLinear of constants of 32 bits."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        modified = False
        for node in model.graph:
            if is_op(node, "Add"):
                modified |= _fold_sum(node)
        for node in model.graph:
            if is_dequantize(node) and not node.outputs[0].is_graph_output():
                modified |= _fold(node)
        return ir.passes.PassResult(model, modified=modified)


def _fold(node: ir.Node) -> bool:
    array, graph = constant_array(node.inputs[0]), node.graph
    quant = None if array is None else read_linear_quant(node)
    if array is None or graph is None or quant is None:
        return False
    steps = array.astype(np.int64) - quant.zero_point
    bias = replace_by_constant(graph, node.outputs[0], quant.dequantize(array))
    _state_integers(bias, steps, quant.scale)
    return True


def _fold_sum(node: ir.Node) -> bool:
    """Makes  high * (scale * 2^k) + low * scale,  both constants, one constant."""
    graph, producers = node.graph, [value.producer() if value else None for value in node.inputs]
    if graph is None or node.outputs[0].is_graph_output():
        return False
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for part in producers:
        array = constant_array(part.inputs[0]) if part is not None and is_dequantize(part) else None
        quant = None if part is None or array is None else read_linear_quant(part)
        if array is None or quant is None or array.dtype != np.int32 or quant.zero_point.any():
            return False
        parts.append((array.astype(np.int64), quant.scale))
    (high, coarse), (low, fine) = parts
    factors = coarse / fine if coarse.shape == fine.shape else np.zeros(1)
    bits = int(np.log2(factors.flat[0])) if factors.flat[0] >= 1 else -1
    if high.shape != low.shape or not 0 <= bits < _BITS or np.any(factors != 2.0**bits):
        return False
    steps = high * (1 << bits) + low
    bias = replace_by_constant(
        graph, node.outputs[0], np.asarray(steps * fine.astype(np.float64), np.float32)
    )
    _state_integers(bias, steps, fine)
    for part in producers:
        if part is not None and not part.outputs[0].uses():
            graph.remove(part, safe=True)
    return True


def _state_integers(bias: ir.Value, steps: NDArray[np.int64], scale: NDArray[np.float32]) -> None:
    """States the integers of a bias where all its readers add it to their accumulators."""
    uses, scales = tuple(bias.uses()), scale.reshape(-1).astype(np.float64)
    if uses and all(_is_at_accumulator(use.node, use.idx, steps.size, scales) for use in uses):
        state_bias(bias, tuple(steps.reshape(-1).tolist()))


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
    elif is_op(node, "BatchNormalization") and index == 2 and _is_plain_norm(node):
        layer = node
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


def _is_plain_norm(node: ir.Node) -> bool:
    """Whether a batch-norm only multiplies and adds: mean 0, variance 1, epsilon 0."""
    mean, variance = constant_array(input_at(node, 3)), constant_array(input_at(node, 4))
    if mean is None or variance is None or float_attribute(node, "epsilon", 1e-5):
        return False
    return not mean.any() and bool(np.all(variance == 1))
