"""Half and double precision models as float32 models.

What: constants, tensors and Casts of float16, bfloat16 or float64 become float32, for each of these
    types that a graph input, a weight or the scale of a quantization has. Inputs and outputs keep
    their dtype through a Cast.
When: once constants are lifted, before shapes are inferred.
Before -> After: `y = Conv(x, w)`, all float16 -> `y = Cast(Conv(Cast(x), w32))` with Casts at the
    ends and w32 the same numbers as w.
Numerics: float16 and bfloat16 widen exactly, and are then computed in float32, which is more
    accurate; float64 is rounded to float32.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import onnx_ir as ir

from tidlq.errors import ModelError
from tidlq.passes.linear_quant import is_dequantize, is_quantize
from tidlq.passes.node_editing import FreshNames
from tidlq.passes.node_reading import is_op, reads_outer_scope
from tidlq.passes.raise_opset import CANONICAL_OPSET

_OTHER_FLOATS = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
WEIGHTED_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "PRelu")
_TYPE_ATTRIBUTES = {
    "Cast": "to",
    "DequantizeLinear": "output_dtype",
    "EyeLike": "dtype",
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
    "RandomNormalLike": "dtype",
    "RandomUniformLike": "dtype",
    "Bernoulli": "dtype",
}


class WidenFloats(ir.passes.InPlacePass):
    """Rewrites the working type of a model to float32."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Widens; a model that works in float32 already is left alone."""
        kinds = _working_types(model.graph)
        if not kinds:
            return ir.passes.PassResult(model, modified=False)
        graph = model.graph
        for node in graph:
            if reads_outer_scope(node) or is_op(node, "BitCast"):
                found = ", ".join(sorted(kind.name for kind in kinds))
                raise ModelError(
                    f"a model of type {found} cannot be widened to FLOAT around node {node.name!r} "
                    f"({node.op_type}); export it in FLOAT."
                )
        for value in graph.initializers.values():
            _widen_constant(value, kinds)
        for node in graph:
            _widen_node(node, kinds)
        names = FreshNames(graph)
        _cast_inputs(graph, kinds, names)
        _cast_outputs(graph, kinds, names)
        graph.opset_imports.setdefault("", CANONICAL_OPSET)
        return ir.passes.PassResult(model, modified=True)


def _working_types(graph: ir.Graph) -> Set[ir.DataType]:
    weights = [value for node in graph if is_op(node, *WEIGHTED_OPS) for value in node.inputs[1:]]
    scales = [node.inputs[1] for node in graph if is_quantize(node) or is_dequantize(node)]
    found = {value.dtype for value in (*graph.inputs, *weights, *scales) if value is not None}
    return {kind for kind in found if kind in _OTHER_FLOATS}


def _widen_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    with np.errstate(over="ignore"):
        return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _widen_constant(value: ir.Value, kinds: Set[ir.DataType]) -> None:
    if value.const_value is not None and value.const_value.dtype in kinds:
        value.const_value = _widen_tensor(value.const_value)
        value.type = ir.TensorType(ir.DataType.FLOAT)


def _widen_node(node: ir.Node, kinds: Set[ir.DataType]) -> None:
    for name, attribute in tuple(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in kinds:
            node.attributes[name] = ir.AttrTensor(name, _widen_tensor(attribute.as_tensor()))
    target = node.attributes.get(_TYPE_ATTRIBUTES.get(node.op_type, ""))
    if node.domain == "" and target is not None and target.as_int() in {int(k) for k in kinds}:
        node.attributes[target.name] = ir.AttrInt64(target.name, int(ir.DataType.FLOAT))
    for value in node.outputs:
        if value.dtype in kinds and not value.is_graph_output():
            value.type = ir.TensorType(ir.DataType.FLOAT)


def _cast(value: ir.Value, kind: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": int(kind)}, name=name)
    node.outputs[0].name = name
    node.outputs[0].type = ir.TensorType(kind)
    node.outputs[0].shape = value.shape
    return node


def _cast_inputs(graph: ir.Graph, kinds: Set[ir.DataType], names: FreshNames) -> None:
    for value in graph.inputs:
        if value.dtype not in kinds or not value.uses():
            continue
        uses = tuple(value.uses())
        cast = _cast(value, ir.DataType.FLOAT, names.take(f"{value.name}_float32"))
        first = next(iter(graph))
        graph.insert_before(first, cast)
        for use in uses:
            use.node.replace_input_with(use.idx, cast.outputs[0])


def _cast_outputs(graph: ir.Graph, kinds: Set[ir.DataType], names: FreshNames) -> None:
    for index, value in enumerate(tuple(graph.outputs)):
        if value.dtype not in kinds or value.producer() is None:
            continue
        kind, name = value.dtype, value.name
        assert kind is not None
        inner = names.take(f"{name}_float32")
        value.name = inner
        value.type = ir.TensorType(ir.DataType.FLOAT)
        cast = _cast(value, kind, inner)
        cast.name = names.take(f"{name}_cast")
        cast.outputs[0].name = name
        graph.append(cast)
        graph.outputs[index] = cast.outputs[0]
