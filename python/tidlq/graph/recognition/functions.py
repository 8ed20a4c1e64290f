"""Functions of one variable that are run by table: the elementary ones, powers, quotients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tidlq.graph.layers import Clamp, FunctionAttributes, Layer, LayerKind, SumAttributes
from tidlq.graph.recognition import elementwise
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.spec import Requantization

_WITHOUT_PARAMETERS = (
    *("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Exp", "Log", "Reciprocal", "Erf"),
    *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
    *("Softplus", "Softsign"),
)
ELEMENTARY_FUNCTIONS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        **{name: {} for name in _WITHOUT_PARAMETERS},
        "Elu": {"alpha": 1.0},
        "Celu": {"alpha": 1.0},
        "Selu": {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
        "ThresholdedRelu": {"alpha": 1.0},
        "Shrink": {"bias": 0.0, "lambd": 0.5},
    }
)
"""Functions by table, with ONNX's default parameters."""

MOST_CONSTANTS = 65536
"""Different numbers of a constant base or exponent."""

_NOT_STATED = "the software that the model is made for rounds it in its own way"


def refuse_stated(node: NodeReader) -> None:
    """Leaves a node of a pre-quantized model in float: its integers would not be the model's."""
    if is_foreign(node):
        raise RefusedError(_NOT_STATED)


def is_foreign(node: NodeReader) -> bool:
    """The model is pre-quantized by other software."""
    return node.graph.stated is not None and not node.graph.stated.is_exported


def recognise_elementary(node: NodeReader) -> Layer:
    """A function of one variable, by table."""
    if is_foreign(node) and node.op_type in elementwise.STATED_FUNCTIONS:
        return elementwise.recognise_stated_function(node)
    refuse_stated(node)
    defaults = ELEMENTARY_FUNCTIONS[node.op_type]
    return _function(node, node.op_type, {k: node.real(k, v) for k, v in defaults.items()})


def _function(
    node: NodeReader, function: str, parameters: Mapping[str, float], operand: int = 0
) -> Layer:
    """The table of a node that reads one variable, whose shape the output has."""
    source = node.feature(operand)
    if node.float_shape(source) != node.float_shape(node.output()):
        raise RefusedError("its constant operand widens the output")
    attributes = FunctionAttributes(function, tuple(parameters.items()))
    return node.layer(LayerKind.FUNCTION, attributes, inputs=(source,))


def _number(node: NodeReader, index: int, what: str) -> float | None:
    """A constant operand that is one number; None where it is several, or varies."""
    if not node.is_constant(index):
        return None
    values = node.constant(index, what).reshape(-1)
    if not values.size or (values != values[0]).any():
        return None
    number = float(values[0])
    if not math.isfinite(number):
        raise RefusedError(f"its {what} is not finite")
    return number


def recognise_power(node: NodeReader) -> Layer:
    """Pow of two operands, of which one may be constant; with one number by table."""
    refuse_stated(node)
    exponent, base = _number(node, 1, "exponent"), _number(node, 0, "base")
    shape = node.float_shape(node.output())
    if exponent is not None and node.graph.shape(node.inputs[0]) == shape:
        return _function(node, "Pow", {"exponent": exponent})
    if base is not None and base > 0 and node.graph.shape(node.inputs[1]) == shape:
        return _function(node, "PowOf", {"base": base}, operand=1)
    operands = tuple(_power_operand(node, i, what) for i, what in enumerate(("base", "exponent")))
    return node.layer(LayerKind.POWER, inputs=operands)


def _power_operand(node: NodeReader, index: int, what: str) -> str:
    """Computed, or constant numbers that an index of 16 bits can tell apart."""
    if not node.is_constant(index):
        return node.feature(index)
    values = node.constant(index, what).astype(np.float64)
    if not np.isfinite(values).all():
        raise RefusedError(f"its {what} is not finite")
    if np.unique(values).size > MOST_CONSTANTS:
        raise RefusedError(f"its {what} has more than {MOST_CONSTANTS} different values")
    return node.inputs[index]


def recognise_division(node: NodeReader) -> Layer:
    """Div by a constant without zeros, of a constant, or of two feature maps."""
    if node.is_constant(1):
        return elementwise.recognise_product(node)
    numerator = _number(node, 0, "dividend")
    if numerator is not None:
        refuse_stated(node)
        return _function(node, "Reciprocal", {"numerator": numerator}, operand=1)
    if is_foreign(node) and (node.is_constant(0) or not _has_real_quotient(node)):
        raise RefusedError(_NOT_STATED)
    operands = tuple(elementwise.read_operand(node, index) for index in range(2))
    return node.layer(LayerKind.DIVISION, inputs=operands)


def _has_real_quotient(node: NodeReader) -> bool:
    """The model's software divides real values, and all three tensors are stated."""
    stated = node.graph.stated
    ends = (*node.inputs, node.outputs[0])
    if stated is None or stated.requantization is not Requantization.FLOAT:
        return False
    return all(name in stated.features for name in ends)


def recognise_many(node: NodeReader) -> Layer:
    """Sum and Mean of any number of operands, of which one may be constant."""
    refuse_stated(node)
    operands = tuple(elementwise.read_operand(node, i) for i in range(len(node.inputs)))
    constants = sum(node.is_constant(index) for index in range(len(operands)))
    if len(operands) < 2:
        raise RefusedError("it has one operand")
    if constants > 1 or constants == len(operands):
        raise RefusedError("several of its operands are constant")
    share = 1.0 / len(operands) if node.op_type == "Mean" else 1.0
    return node.layer(LayerKind.SUM, SumAttributes((share,) * len(operands)), inputs=operands)


def recognise_extremum(node: NodeReader) -> Layer:
    """Max and Min of any number of feature maps and constants."""
    number = _number(node, 1, "bound") if len(node.inputs) == 2 else None
    first = _number(node, 0, "bound") if len(node.inputs) == 2 else None
    variable = 0 if number is not None else 1
    bound = number if number is not None else first
    if bound is None or node.is_constant(variable):
        return elementwise.recognise_extremum(node)
    refuse_stated(node)
    source = node.feature(variable)
    if node.float_shape(source) != node.float_shape(node.output()):
        raise RefusedError("its constant operand widens the output")
    clamp = Clamp(high=bound) if node.op_type == "Min" else Clamp(low=bound)
    return node.layer(LayerKind.CLAMP, inputs=(source,), clamp=clamp)
