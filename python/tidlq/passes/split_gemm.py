"""Gemm in parts where it is more than a product with weights and a bias per column.

What: a Gemm of which a computed operand is transposed, of two computed operands, or whose third
    operand is computed or varies along the rows, unless a tensor of it is stated to be quantized.
When: once shapes are inferred and constants folded.
Before -> After: `Gemm<transA = 1>(a, w, c)` -> `Add(Gemm(Transpose(a), w), c)`, and
    `Gemm(a, b)` -> `MatMul(a, b)`; `Mul` by alpha or beta where these are not 1. The product keeps
    the node's name, the last node writes its tensor.
Numerics: the same sums in an order that may differ, and one more rounding for each node: float32
    rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tidlq.passes.node_editing import FreshNames, add_constant
from tidlq.passes.node_reading import (
    constant_array,
    float_attribute,
    input_at,
    int_attribute,
    is_op,
    static_shape,
)
from tidlq.passes.stated import stated_feature, stated_parameter

_WEIGHT, _ADDED = 1, 2


class SplitGemm(ir.passes.InPlacePass):
    """Leaves a Gemm that multiplies one feature map by weights."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        names, modified = None, False
        for node in tuple(model.graph):
            if is_op(node, "Gemm") and _is_splittable(node):
                names = names or FreshNames(model.graph)
                modified |= _Split(model.graph, node, names).run()
        return ir.passes.PassResult(model, modified=modified)


def _is_splittable(node: ir.Node) -> bool:
    """Shapes are known, nothing is stated, and the first operand is computed."""
    given = [value for value in node.inputs if value is not None]
    if any(static_shape(value) is None for value in (*given, *node.outputs)):
        return False
    if any(stated_feature(value) or stated_parameter(value) for value in (*given, *node.outputs)):
        return False
    floats = all(value.dtype == ir.DataType.FLOAT for value in given)
    return floats and constant_array(node.inputs[0]) is None


@dataclass(frozen=True, eq=False)
class _Split:
    graph: ir.Graph
    node: ir.Node
    names: FreshNames

    def run(self) -> bool:
        is_weighted = constant_array(input_at(self.node, _WEIGHT)) is not None
        has_bias = self._has_bias()
        if is_weighted and has_bias and not int_attribute(self.node, "transA", 0):
            return False
        self._transpose(0, "transA")
        if not is_weighted:
            self._transpose(_WEIGHT, "transB")
        if not is_weighted or not has_bias:
            self._detach(is_weighted=is_weighted)
        return True

    def _has_bias(self) -> bool:
        """What is added is constant, and one number per column, or there is nothing."""
        added = input_at(self.node, _ADDED)
        shape = static_shape(added)
        if added is None or shape is None:
            return True
        columns = (static_shape(self.node.outputs[0]) or (1,))[-1]
        size = int(np.prod(shape))
        is_row = size == 1 or (size == columns and shape[-1] == columns)
        return constant_array(added) is not None and is_row

    def _transpose(self, index: int, attribute: str) -> None:
        if not int_attribute(self.node, attribute, 0):
            return
        source = self.node.inputs[index]
        assert source is not None
        turned = self._insert("Transpose", [source], f"{self.node.name}/{attribute}")
        turned.shape = ir.Shape((static_shape(source) or ())[::-1])
        self.node.replace_input_with(index, turned)
        del self.node.attributes[attribute]

    def _detach(self, *, is_weighted: bool) -> None:
        """The product alone, and behind it what scales it and what is added."""
        alpha = float_attribute(self.node, "alpha", 1.0)
        beta = float_attribute(self.node, "beta", 1.0)
        added = input_at(self.node, _ADDED)
        self.node.resize_inputs(_ADDED)
        self.node.attributes.pop("beta", None)
        last = self.node
        if not is_weighted:
            self.node.op_type = "MatMul"
            self.node.attributes.clear()
            if alpha != 1:
                last = self._append(last, "Mul", self._number(alpha, "alpha"))
        if added is not None:
            if beta != 1:
                operands = [added, self._number(beta, "beta")]
                shape = added.shape
                added = self._insert("Mul", operands, f"{self.node.name}/scaled")
                added.shape = shape
            self._append(last, "Add", added)

    def _number(self, value: float, role: str) -> ir.Value:
        name = self.names.take(f"{self.node.name}_{role}")
        return add_constant(self.graph, name, np.array(value, np.float32))

    def _insert(self, operator: str, inputs: list[ir.Value], name: str) -> ir.Value:
        """A node before the Gemm, and its output."""
        node = ir.Node("", operator, inputs, name=self.names.take(name))
        output = node.outputs[0]
        output.name, output.type = self.names.take(f"{name}_out"), ir.TensorType(ir.DataType.FLOAT)
        self.graph.insert_before(self.node, node)
        return output

    def _append(self, last: ir.Node, operator: str, other: ir.Value) -> ir.Node:
        """A node that reads the last one's output and writes the tensor in its place."""
        product = last.outputs[0]
        node = ir.Node("", operator, [None, other], name=self.names.take(f"{last.name}/{operator}"))
        output = node.outputs[0]
        output.shape, output.type = product.shape, product.type
        product.replace_all_uses_with(output, replace_graph_outputs=True)
        node.replace_input_with(0, product)
        self.graph.insert_after(last, node)
        output.name = product.name
        product.name = self.names.take(f"{self.node.name}_product")
        return node
