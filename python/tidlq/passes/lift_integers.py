"""Selecting operators on integers as the same operators on real values.

What: an operator that only selects elements (reshape, transpose, slice, max pool ...), a Pad, Clip,
    Relu or Concat that reads the result of a QuantizeLinear works on its dequantized values, and a
    QuantizeLinear follows it. One between an integer tensor of other origin (an input, a table) and
    its DequantizeLinears moves behind a DequantizeLinear. ArgMax and ArgMin read real values.
When: once constants are folded, before Q/DQ pairs become statements.
Before -> After: `DequantizeLinear(MaxPool(QuantizeLinear(x)))` ->
    `DequantizeLinear(QuantizeLinear(MaxPool(DequantizeLinear(QuantizeLinear(x)))))`.
Numerics: exact: selecting commutes with the affine map of integers to real values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tidlq.passes.linear_quant import LinearQuant, is_dequantize, is_quantize, read_linear_quant
from tidlq.passes.node_editing import FreshNames, add_constant, bypass
from tidlq.passes.node_reading import constant_array, input_at, is_constant, is_op, string_attribute
from tidlq.passes.selecting_ops import is_selecting

_INTEGERS = frozenset({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16})


class LiftIntegers(ir.passes.InPlacePass):
    """Moves operators out of the integers."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order, then backward."""
        lifter = _Lifter(model.graph)
        for node in model.graph:
            lifter.lift(node)
        for node in reversed(model.graph):
            lifter.hoist(node)
        return ir.passes.PassResult(model, modified=lifter.modified)


class _Lifter:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names: FreshNames | None = None

    @property
    def modified(self) -> bool:
        """Something was rewritten."""
        return self._names is not None

    def lift(self, node: ir.Node) -> None:
        """Rewrites a node whose data come from a QuantizeLinear."""
        data = _data_inputs(node)
        if not data:
            return
        sources = [value.producer() for value in data]
        quants = [_scalar_quant(source) if is_quantize(source) else None for source in sources]
        first, source = quants[0], sources[0]
        if first is None or source is None or any(q is None or not q.equals(first) for q in quants):
            return
        if is_op(node, "ArgMax", "ArgMin"):
            node.replace_input_with(0, self._dequantized(data[0], source, node))
            return
        if not self._set_constants(node, first):
            return
        for index, value in enumerate(data):
            node.replace_input_with(index, self._dequantized(value, source, node))
        dtype = data[0].dtype
        assert dtype is not None
        for output in node.outputs:
            if output.name and output.dtype in (None, dtype):
                self._quantize_behind(output, dtype, source, node)

    def hoist(self, node: ir.Node) -> None:
        """Rewrites a node of one integer input that only equal DequantizeLinears read."""
        data = _data_inputs(node)
        if len(data) != 1 or is_quantize(data[0].producer()) or is_op(node, "ArgMax", "ArgMin"):
            return
        readers = [use.node for output in node.outputs for use in output.uses()]
        quants = [_scalar_quant(reader) if is_dequantize(reader) else None for reader in readers]
        if not quants or any(output.is_graph_output() for output in node.outputs):
            return
        first = quants[0]
        if first is None or any(q is None or not q.equals(first) for q in quants):
            return
        # A tensor can take the name of one graph output.
        if sum(reader.outputs[0].is_graph_output() for reader in readers) > 1:
            return
        if not self._set_constants(node, first):
            return
        node.replace_input_with(0, self._dequantized(data[0], readers[0], node))
        for output in node.outputs:
            if output.dtype in (None, data[0].dtype):
                output.type = ir.TensorType(ir.DataType.FLOAT)
        for reader in readers:
            source = reader.inputs[0]
            assert source is not None
            bypass(reader, source)

    def _fresh(self, base: str) -> str:
        self._names = self._names or FreshNames(self._graph)
        return self._names.take(base)

    def _set_constants(self, node: ir.Node, quant: LinearQuant) -> bool:
        """Gives a Pad, Clip or Relu the real values of what it adds; False where they are open."""
        if is_op(node, "Relu"):
            zero = add_constant(self._graph, self._fresh(f"{node.name}_min"), _real(0, quant))
            node.op_type = "Clip"
            node.resize_inputs(2)
            node.replace_input_with(1, zero)
            return True
        if is_op(node, "Pad"):
            if string_attribute(node, "mode", "constant") != "constant":
                return True
            if len(node.inputs) < 2 or "value" in node.attributes:
                return False
            return self._set_real(node, 2, quant, 0)
        if is_op(node, "Clip"):
            return all(self._set_real(node, index, quant, None) for index in (1, 2))
        return True

    def _set_real(self, node: ir.Node, index: int, quant: LinearQuant, default: int | None) -> bool:
        given = input_at(node, index)
        if given is None and default is None:
            return True
        array = np.asarray(default) if given is None else constant_array(given)
        if array is None or array.size != 1 or array.dtype.kind not in "iu":
            return False
        name = self._fresh(f"{node.name}_real_{index}")
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        real = _real(int(array.reshape(-1)[0]), quant)
        node.replace_input_with(index, add_constant(self._graph, name, real))
        return True

    def _dequantized(self, value: ir.Value, like: ir.Node, before: ir.Node) -> ir.Value:
        name = self._fresh(f"{value.name}_dequantized")
        return self._insert("DequantizeLinear", value, like, name, before, ir.DataType.FLOAT)

    def _quantize_behind(
        self, output: ir.Value, dtype: ir.DataType, like: ir.Node, node: ir.Node
    ) -> None:
        """Lets the node write real values under its tensor's name, and quantizes them."""
        name = output.name
        uses, is_output = tuple(output.uses()), output.is_graph_output()
        integers = self._insert(
            "QuantizeLinear", output, like, self._fresh(f"{name}_integers"), None, dtype
        )
        quantize = integers.producer()
        assert quantize is not None
        self._graph.insert_after(node, quantize)
        for use in uses:
            use.node.replace_input_with(use.idx, integers)
        if is_output:
            for index, value in enumerate(self._graph.outputs):
                if value is output:
                    self._graph.outputs[index] = integers
            output.name, integers.name = self._fresh(f"{name}_real"), name
        output.type = ir.TensorType(ir.DataType.FLOAT)

    def _insert(
        self,
        op_type: str,
        value: ir.Value,
        like: ir.Node,
        name: str,
        before: ir.Node | None,
        dtype: ir.DataType,
    ) -> ir.Value:
        """A Q or DQ node with the parameters of another."""
        node = ir.Node(like.domain, op_type, [value, *like.inputs[1:3]], name=name)
        output = node.outputs[0]
        output.name, output.shape, output.type = name, value.shape, ir.TensorType(dtype)
        if before is not None:
            self._graph.insert_before(before, node)
        return output


def _scalar_quant(node: ir.Node | None) -> LinearQuant | None:
    if node is None:
        return None
    quant = read_linear_quant(node)
    return None if quant is None or quant.scale.size != 1 else quant


def _real(integer: int, quant: LinearQuant) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return quant.dequantize(np.asarray(integer))


def _data_inputs(node: ir.Node) -> Sequence[ir.Value]:
    """The integer tensors that the node selects from; none where it is not such a node."""
    if is_op(node, "Concat"):
        values = [value for value in node.inputs if value is not None]
    elif node.inputs and (is_selecting(node) or is_op(node, "Relu", "Clip", "ArgMax", "ArgMin")):
        values = [value for value in node.inputs[:1] if value is not None]
    else:
        return ()
    known = all(value.dtype in _INTEGERS for value in values)
    return values if known and not all(map(is_constant, values)) else _table(node, values)


def _table(node: ir.Node, values: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """A constant whose elements are selected by what is computed: Gather from a table."""
    if is_op(node, "Gather") and len(values) == 1 and values[0].dtype in _INTEGERS:
        return values
    return ()
