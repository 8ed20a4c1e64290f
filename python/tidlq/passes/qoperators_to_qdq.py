"""Operators on integers as float operators between DequantizeLinear and QuantizeLinear.

What: QLinearConv, QLinearMatMul and ONNX Runtime's QLinearAdd, QLinearMul, QLinearConcat, QGemm,
    QLinearAveragePool, QLinearGlobalAveragePool, QLinearLeakyRelu, QLinearSigmoid, QLinearSoftmax,
    QLinearReduceMean and DynamicQuantizeMatMul become what they are defined to approximate. A node
    with channels last, or with a bias at scales that are not constant, stays.
When: before shapes are inferred for the rest: they are not known behind ONNX Runtime's operators.
Before -> After: `q = QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)` -> `q = QuantizeLinear(y, sy,
    zy)` with `y = Conv(dx, dw, db)` of `dx = DequantizeLinear(x, sx, zx)`, `dw` likewise and
    `db = DequantizeLinear(b, sx * sw)`. Conv keeps the node's name, and y the name that q had
    unless q is a graph output.
Numerics: the float operator rounds where the integer one is exact; the quantized result is at most
    one step away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.linear_quant import MICROSOFT
from tidlq.passes.node_editing import FreshNames, add_constant
from tidlq.passes.node_reading import constant_array, float_attribute, input_at, int_attribute

# Before, ONNX's own DequantizeLinear had one scale for all; ONNX Runtime's has an axis.
_FIRST_WITH_AXIS = 13


class QOperatorsToQdq(ir.passes.InPlacePass):
    """Rewrites integer operators."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        rewriter: _Rewriter | None = None
        for node in model.graph:
            form = _read(node)
            if form is not None:
                rewriter = rewriter or _Rewriter(model.graph)
                rewriter.rewrite(node, form)
        return ir.passes.PassResult(model, modified=rewriter is not None)


@dataclass(frozen=True, eq=False)
class _Operand:
    """An integer tensor with its parameters; `axis` counts where there are several scales."""

    integers: ir.Value
    scale: ir.Value
    zero_point: ir.Value | None = None
    axis: int = 0


@dataclass(frozen=True, eq=False)
class _Bias:
    """Integers of a bias and the real value of each one's step, float32 [C] or []."""

    integers: ir.Value
    scale: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Form:
    """The float operator that a node stands for.

    Attributes:
        op_type: of the default domain.
        inputs: in order.
        scale, zero_point: of the output; no scale: the output is float.
        dropped: attributes that the float operator does not have.
    """

    op_type: str
    inputs: Sequence[_Operand | _Bias | ir.Value]
    scale: ir.Value | None = None
    zero_point: ir.Value | None = None
    dropped: Sequence[str] = field(default=("channels_last",))


class _Rewriter:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names = FreshNames(graph)

    def rewrite(self, node: ir.Node, form: _Form) -> None:
        """Puts the float operator and its surroundings in the place of a node."""
        inputs = [self._real(node, item) for item in form.inputs]
        kept = [item for name, item in node.attributes.items() if name not in form.dropped]
        plain = ir.Node("", form.op_type, inputs, kept, name=node.name)
        self._graph.insert_before(node, plain)
        result, old = plain.outputs[0], node.outputs[0]
        result.shape, result.type = old.shape, ir.TensorType(ir.DataType.FLOAT)
        name = old.name or ""
        if form.scale is None:
            old.replace_all_uses_with(result, replace_graph_outputs=True)
            self._graph.remove(node, safe=True)
            result.name = name
            return
        quantized = self._quantized(node, form, result)
        is_output = old.is_graph_output()
        old.replace_all_uses_with(quantized, replace_graph_outputs=True)
        self._graph.remove(node, safe=True)
        result.name = self._names.take(f"{name}_real") if is_output else name
        quantized.name = name if is_output else self._names.take(f"{name}_integers")

    def _real(self, node: ir.Node, item: _Operand | _Bias | ir.Value) -> ir.Value:
        if isinstance(item, ir.Value):
            return item
        base = self._names.take(f"{item.integers.name}_dequantized")
        axis = 0
        if isinstance(item, _Bias):
            parameters = [item.integers, add_constant(self._graph, f"{base}_scale", item.scale)]
        else:
            axis = item.axis
            parameters = [item.integers, item.scale]
            if item.zero_point is not None:
                parameters.append(item.zero_point)
        return self._insert(node, "DequantizeLinear", parameters, base, axis, ir.DataType.FLOAT)

    def _quantized(self, node: ir.Node, form: _Form, result: ir.Value) -> ir.Value:
        assert form.scale is not None
        kind = node.inputs[0].dtype if node.inputs[0] is not None else None
        zero_point = form.zero_point
        if zero_point is None and kind == ir.DataType.INT8:
            name = self._names.take(f"{node.name}_zero_point")
            zero_point = add_constant(self._graph, name, np.zeros((), np.int8))
        parameters = [result, form.scale, *([] if zero_point is None else [zero_point])]
        dtype = ir.DataType.UINT8 if zero_point is None else zero_point.dtype
        name = self._names.take(f"{node.name}_quantize")
        return self._insert(node, "QuantizeLinear", parameters, name, 0, dtype)

    def _insert(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str,
        axis: int,
        dtype: ir.DataType | None,
    ) -> ir.Value:
        scales, domain = constant_array(inputs[1]), ""
        attributes: list[ir.Attr] = []
        if scales is not None and scales.size > 1:
            attributes = [ir.AttrInt64("axis", axis)]
            imports = self._graph.opset_imports
            if imports.get("", 0) < _FIRST_WITH_AXIS:
                domain = MICROSOFT
                imports.setdefault(MICROSOFT, 1)
        node = ir.Node(domain, op_type, inputs, attributes, name=name)
        output = node.outputs[0]
        output.name, output.shape = name, inputs[0].shape
        output.type = None if dtype is None else ir.TensorType(dtype)
        self._graph.insert_before(before, node)
        return output


def _read(node: ir.Node) -> _Form | None:
    read = _FORMS.get((node.domain, node.op_type))
    if read is None:
        return None
    try:
        return read(node)
    except TypeError:  # an attribute of another type, which no checker has seen
        return None


def _given(node: ir.Node, required: int, *optional: int) -> list[ir.Value | None] | None:
    """The node's inputs, padded; None where one that is required is absent.

    Args:
        node: any node.
        required: the count of inputs that it can have.
        optional: which of them may be absent.
    """
    inputs = [input_at(node, index) for index in range(required)]
    absent = {index for index, value in enumerate(inputs) if value is None}
    return inputs if absent <= set(optional) and len(node.inputs) <= required else None


def _operand(inputs: Sequence[ir.Value | None], index: int, axis: int = 0) -> _Operand:
    integers, scale = inputs[index], inputs[index + 1]
    assert integers is not None
    assert scale is not None
    return _Operand(integers, scale, inputs[index + 2], axis)


def _bias(
    bias: ir.Value, x: ir.Value | None, weight: ir.Value | None, factor: float = 1.0
) -> _Bias | None:
    """A bias at the accumulator's scale; None where a scale is not a constant float."""
    scales = [constant_array(x), constant_array(weight)]
    if any(scale is None or scale.dtype != np.float32 for scale in scales):
        return None
    first, second = (np.asarray(scale, np.float32) for scale in scales)
    if first.size != 1:
        return None
    with np.errstate(over="ignore", under="ignore"):
        product = (np.float64(factor) * first.reshape(()) * second).astype(np.float32)
    return _Bias(bias, product.reshape(()) if product.size == 1 else product.reshape(-1))


def _read_convolution(node: ir.Node) -> _Form | None:
    inputs = _given(node, 9, 8)
    if inputs is None:
        return None
    parts: list[_Operand | _Bias | ir.Value] = [_operand(inputs, 0), _operand(inputs, 3)]
    if inputs[8] is not None:
        bias = _bias(inputs[8], inputs[1], inputs[4])
        if bias is None:
            return None
        parts.append(bias)
    return _Form("Conv", parts, inputs[6], inputs[7])


def _read_matmul(node: ir.Node) -> _Form | None:
    inputs = _given(node, 8)
    if inputs is None:
        return None
    for scale in (inputs[1], inputs[4]):
        array = constant_array(scale)
        if array is None or (array.size > 1 and array.ndim != 1):
            return None
    return _Form("MatMul", [_operand(inputs, 0, -2), _operand(inputs, 3, -1)], inputs[6], inputs[7])


def _read_gemm(node: ir.Node) -> _Form | None:
    inputs = _given(node, 9, 2, 5, 6, 7, 8)
    if inputs is None:
        return None
    axis = 0 if int_attribute(node, "transB", 0) else 1
    parts: list[_Operand | _Bias | ir.Value] = [_operand(inputs, 0), _operand(inputs, 3, axis)]
    if inputs[6] is not None:
        bias = _bias(inputs[6], inputs[1], inputs[4], float_attribute(node, "alpha", 1.0))
        if bias is None:
            return None
        parts.append(bias)
    return _Form("Gemm", parts, inputs[7], inputs[8])


def _read_dynamic_matmul(node: ir.Node) -> _Form | None:
    inputs = _given(node, 5, 3, 4)
    if inputs is None or inputs[4] is not None or inputs[0] is None:
        return None
    return _Form("MatMul", [inputs[0], _operand([None, *inputs[1:4]], 1, -1)])


def _pair(op_type: str) -> Callable[[ir.Node], _Form | None]:
    def read(node: ir.Node) -> _Form | None:
        inputs = _given(node, 8, 2, 5, 7)
        if inputs is None:
            return None
        return _Form(op_type, [_operand(inputs, 0), _operand(inputs, 3)], inputs[6], inputs[7])

    return read


def _single(op_type: str, *dropped: str) -> Callable[[ir.Node], _Form | None]:
    def read(node: ir.Node) -> _Form | None:
        inputs = _given(node, 5, 2, 4)
        if inputs is None or int_attribute(node, "channels_last", 0):
            return None
        names = ("channels_last", *dropped)
        return _Form(op_type, [_operand(inputs, 0)], inputs[3], inputs[4], names)

    return read


def _read_softmax(node: ir.Node) -> _Form | None:
    # Before opset 13 the axes from `axis` on were one.
    old = int_attribute(node, "opset", 13) < 13
    if old and int_attribute(node, "axis", -1) != -1:
        return None
    return _single("Softmax", "opset")(node)


def _read_reduce_mean(node: ir.Node) -> _Form | None:
    # From opset 18 on the axes are an input.
    graph = node.graph
    opset = 0 if graph is None else graph.opset_imports.get("", 0)
    return _single("ReduceMean")(node) if opset < 18 else None


def _read_concat(node: ir.Node) -> _Form | None:
    inputs = list(node.inputs)
    if len(inputs) < 5 or (len(inputs) - 2) % 3:
        return None
    places = range(2, len(inputs), 3)
    if any(inputs[index] is None or inputs[index + 1] is None for index in places):
        return None
    if inputs[0] is None:
        return None
    parts = [_operand(inputs, index) for index in places]
    return _Form("Concat", parts, inputs[0], inputs[1])


_FORMS: Mapping[tuple[str, str], Callable[[ir.Node], _Form | None]] = MappingProxyType(
    {
        ("", "QLinearConv"): _read_convolution,
        ("", "QLinearMatMul"): _read_matmul,
        (MICROSOFT, "QLinearConv"): _read_convolution,
        (MICROSOFT, "QGemm"): _read_gemm,
        (MICROSOFT, "QLinearAdd"): _pair("Add"),
        (MICROSOFT, "QLinearMul"): _pair("Mul"),
        (MICROSOFT, "QLinearConcat"): _read_concat,
        (MICROSOFT, "QLinearAveragePool"): _single("AveragePool"),
        (MICROSOFT, "QLinearGlobalAveragePool"): _single("GlobalAveragePool"),
        (MICROSOFT, "QLinearLeakyRelu"): _single("LeakyRelu"),
        (MICROSOFT, "QLinearSigmoid"): _single("Sigmoid"),
        (MICROSOFT, "QLinearSoftmax"): _read_softmax,
        (MICROSOFT, "QLinearReduceMean"): _read_reduce_mean,
        (MICROSOFT, "DynamicQuantizeMatMul"): _read_dynamic_matmul,
    }
)
