"""Products of dynamically quantized features as float products.

What: MatMulInteger or ConvInteger of a DynamicQuantizeLinear's result and constant weights, cast to
    float and multiplied by both scales, becomes MatMul or Conv of what was quantized. A
    DequantizeLinear of a DynamicQuantizeLinear's result goes. Any other use keeps its nodes.
When: once constants are folded.
Before -> After: `Mul(Cast(MatMulInteger(q, w_int8, z, zw)), Mul(s, sw))` with
    `q, s, z = DynamicQuantizeLinear(x)` -> `MatMul(x, w)`.
Numerics: without the rounding of x to 8 bits: the ranges of such a model are found while it runs,
    and here by calibration. Weights are the stored integers times their scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from tidlq.passes.linear_quant import INTEGER_TYPES, LinearQuant, is_dequantize
from tidlq.passes.node_editing import FreshNames, add_constant, bypass
from tidlq.passes.node_reading import (
    constant_array,
    input_at,
    int_attribute,
    is_op,
    sole_consumer,
    static_shape,
)
from tidlq.passes.stated import state_parameter

_FLOAT_OPS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


class DynamicToFloat(ir.passes.InPlacePass):
    """Undoes dynamic quantization."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        modified = False
        for node in model.graph:
            if is_dequantize(node):
                modified |= _skip_pair(node)
            elif is_op(node, *_FLOAT_OPS):
                chain = _find_chain(node)
                if chain is not None:
                    _replace(node, chain, FreshNames(model.graph))
                    modified = True
        if modified:
            common.RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=modified)


def _skip_pair(node: ir.Node) -> bool:
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    if source is None or not is_op(source, "DynamicQuantizeLinear") or len(node.inputs) != 3:
        return False
    data = source.inputs[0]
    return data is not None and tuple(node.inputs) == tuple(source.outputs) and bypass(node, data)


@dataclass(frozen=True, eq=False)
class _Chain:
    """The nodes from an integer product to its real values.

    Attributes:
        data: what was quantized.
        weight: the stored integers.
        quant: their parameters.
        last: writes the real values.
    """

    data: ir.Value
    weight: NDArray[np.generic]
    quant: LinearQuant
    last: ir.Node


def _find_chain(node: ir.Node) -> _Chain | None:
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    if not is_op(source, "DynamicQuantizeLinear") or len(node.inputs) < 3:
        return None
    assert source is not None
    integers, scale, zero_point = source.outputs
    data, weight = source.inputs[0], constant_array(node.inputs[1])
    if data is None or weight is None or node.inputs[0] is not integers:
        return None
    if node.inputs[2] is not zero_point:
        return None
    cast = sole_consumer(node.outputs[0])
    if cast is None or not is_op(cast, "Cast"):
        return None
    if int_attribute(cast, "to", 0) != ir.DataType.FLOAT:
        return None
    last, factor = _find_factor(cast, scale)
    if last is None or factor is None:
        return None
    quant = _weight_quant(node, weight, factor)
    return None if quant is None else _Chain(data, weight, quant, last)


def _find_factor(
    cast: ir.Node, scale: ir.Value
) -> tuple[ir.Node | None, NDArray[np.generic] | None]:
    """The last Mul behind the Cast, and the constant that it multiplies by beside the scale."""
    last = sole_consumer(cast.outputs[0])
    factor = None if last is None else _other(last, cast.outputs[0])
    if last is None or factor is None:
        return None, None
    product = factor.producer()
    if product is not None and is_op(product, "Mul"):
        constant = _other(product, scale)
        return (last, constant_array(constant)) if constant is not None else (None, None)
    following = sole_consumer(last.outputs[0]) if factor is scale else None
    if following is None:
        return None, None
    constant = _other(following, last.outputs[0])
    return following, constant_array(constant)


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The other factor of a Mul."""
    if not is_op(node, "Mul") or value not in node.inputs:
        return None
    return node.inputs[1 if node.inputs[0] is value else 0]


def _weight_quant(
    node: ir.Node, weight: NDArray[np.generic], factor: NDArray[np.generic]
) -> LinearQuant | None:
    dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
    given = input_at(node, 3)
    zero_point = np.zeros(1, np.int64) if given is None else constant_array(given)
    if dtype not in INTEGER_TYPES or dtype is None or zero_point is None or weight.ndim < 2:
        return None
    axis = 0 if is_op(node, "ConvInteger") else weight.ndim - 1
    channels, scale = weight.shape[axis], np.asarray(factor, np.float32).reshape(-1)
    if factor.dtype != np.float32 or not {scale.size, zero_point.size} <= {1, channels}:
        return None
    if scale.size > 1 and not _lies_along_channels(node, factor):
        return None
    if not np.all(np.isfinite(scale) & (scale > 0)):
        return None
    size = max(scale.size, zero_point.size)
    return LinearQuant(
        dtype,
        np.broadcast_to(scale, size),
        np.broadcast_to(zero_point.reshape(-1).astype(np.int64), size),
        axis if size > 1 else 0,
    )


def _lies_along_channels(node: ir.Node, factor: NDArray[np.generic]) -> bool:
    shape = static_shape(node.outputs[0])
    if shape is None or factor.ndim > len(shape):
        return False
    axis = 1 if is_op(node, "ConvInteger") else len(shape) - 1
    sizes = (1,) * (len(shape) - factor.ndim) + factor.shape
    return all(size == 1 for index, size in enumerate(sizes) if index != axis)


def _replace(node: ir.Node, chain: _Chain, names: FreshNames) -> None:
    graph, result = node.graph, chain.last.outputs[0]
    assert graph is not None
    stored = node.inputs[1]
    assert stored is not None
    real = add_constant(
        graph, names.take(f"{stored.name}_dequantized"), chain.quant.dequantize(chain.weight)
    )
    state_parameter(real, chain.quant.parameter())
    kept = list(node.attributes.values())
    plain = ir.Node("", _FLOAT_OPS[node.op_type], [chain.data, real], kept, name=node.name)
    graph.insert_before(chain.last, plain)
    output, name = plain.outputs[0], result.name
    output.shape, output.type = result.shape, result.type
    result.replace_all_uses_with(output, replace_graph_outputs=True)
    graph.remove(chain.last, safe=True)
    output.name = name
