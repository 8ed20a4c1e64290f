"""Element-wise layers: sums, products, clamps and functions of one variable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tidlq.graph.layers import (
    AxisAttributes,
    Clamp,
    ExtremumAttributes,
    FunctionAttributes,
    Layer,
    LayerKind,
    ProductAttributes,
    SumAttributes,
)
from tidlq.graph.recognition.reading import NodeReader, RefusedError

FUNCTION_DEFAULTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "LeakyRelu": {"alpha": 0.01},
        "Sigmoid": {},
        "Tanh": {},
        "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
        "HardSwish": {},
        "Mish": {},
        "Swish": {"alpha": 1.0},
    }
)
"""Functions run by table, with ONNX's default parameters."""

STATED_FUNCTIONS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"Abs": {}, "Elu": {"alpha": 1.0}, "Exp": {}, "Log": {}, "Neg": {}, "Sqrt": {}}
)
"""Functions run by table where a pre-quantized model states both ends."""


def read_operand(node: NodeReader, index: int) -> str:
    """An operand, computed or constant and then finite."""
    name = node.inputs[index]
    node.float_shape(name)
    constant = node.graph.constant(name)
    if constant is not None and not np.isfinite(constant).all():
        raise RefusedError(f"its constant operand {name!r} is not finite")
    return name


def _binary(node: NodeReader) -> tuple[str, str]:
    if node.is_constant(0) and node.is_constant(1):
        raise RefusedError("both operands are constant")
    return read_operand(node, 0), read_operand(node, 1)


def recognise_sum(node: NodeReader) -> Layer:
    """Add and Sub of two operands, one of which may be constant."""
    operands = _binary(node)
    signs = (1.0, -1.0) if node.op_type == "Sub" else (1.0, 1.0)
    return node.layer(LayerKind.SUM, SumAttributes(signs), inputs=operands)


def recognise_product(node: NodeReader) -> Layer:
    """Mul of two operands, of which one may be constant."""
    operands = _binary(node)
    reciprocal = node.op_type == "Div"
    if reciprocal and not np.all(node.constant(1, "divisor")):
        raise RefusedError("its divisor contains zero")
    return node.layer(LayerKind.PRODUCT, ProductAttributes(reciprocal), inputs=operands)


def recognise_extremum(node: NodeReader) -> Layer:
    """Max and Min of feature maps, of which all but one may be constant."""
    if len(node.inputs) < 2:
        raise RefusedError("it has one operand")
    if all(node.is_constant(index) for index in range(len(node.inputs))):
        raise RefusedError("all operands are constant")
    operands = tuple(read_operand(node, index) for index in range(len(node.inputs)))
    if node.graph.stated is not None and not node.graph.stated.is_exported:
        operands = tuple(node.feature(index) for index in range(len(node.inputs)))
    attributes = ExtremumAttributes(least=node.op_type == "Min")
    return node.layer(LayerKind.EXTREMUM, attributes, inputs=operands)


def read_clamp(node: NodeReader) -> Clamp:
    """The bounds of a Relu or of a Clip with constant bounds."""
    if node.op_type == "Relu":
        return Clamp(low=0.0)
    bounds: list[float | None] = []
    for index, name in ((1, "min"), (2, "max")):
        if node.has_input(index):
            bound = float(node.constant(index, f"{name} bound").reshape(-1)[0])
        else:
            bound = node.real(name, math.nan)
        if math.isnan(bound) or abs(bound) >= float(np.finfo(np.float32).max):
            bounds.append(None)
        else:
            bounds.append(bound)
    low, high = bounds
    if low is not None and high is not None and low > high:
        # The upper one is applied last.
        low = high
    return Clamp(low, high)


def recognise_clamp(node: NodeReader) -> Layer:
    """A Relu or Clip that stands alone."""
    return node.layer(LayerKind.CLAMP, clamp=read_clamp(node))


def recognise_requantization(node: NodeReader) -> Layer:
    """An Identity that leads to a stated form of a tensor of a pre-quantized model."""
    stated = node.graph.stated
    if stated is None or node.outputs[0] not in stated.features:
        raise RefusedError("it changes nothing")
    return node.layer(LayerKind.CLAMP)


def recognise_function(node: NodeReader) -> Layer:
    """A function of one variable, by table."""
    defaults = FUNCTION_DEFAULTS[node.op_type]
    parameters = tuple((name, node.real(name, value)) for name, value in defaults.items())
    return node.layer(LayerKind.FUNCTION, FunctionAttributes(node.op_type, parameters))


def recognise_stated_function(node: NodeReader) -> Layer:
    """A function whose table needs the scales of a pre-quantized model."""
    stated = node.graph.stated
    ends = (node.inputs[0], node.outputs[0])
    if stated is None or not all(name in stated.features for name in ends):
        raise RefusedError("the engine has no integer kernel for it")
    defaults = STATED_FUNCTIONS[node.op_type]
    parameters = tuple((name, node.real(name, value)) for name, value in defaults.items())
    return node.layer(LayerKind.FUNCTION, FunctionAttributes(node.op_type, parameters))


def recognise_gelu(node: NodeReader) -> Layer:
    """Gelu, exact or by its approximation, run by table."""
    parameters = (("by_tanh", float(node.text("approximate", "none") == "tanh")),)
    return node.layer(LayerKind.FUNCTION, FunctionAttributes("Gelu", parameters))


def recognise_softmax(node: NodeReader) -> Layer:
    """Softmax over one axis, with a float output."""
    rank = len(node.float_shape(node.feature(0)))
    axis = node.axis(node.integer("axis", -1 if node.opset >= 13 else 1), rank)
    if node.opset < 13 and axis != rank - 1:
        raise RefusedError("it spans several axes (operator set below 13)")
    return node.layer(LayerKind.SOFTMAX, AxisAttributes(axis))
