"""Operators on every element alone: arithmetic, functions, comparisons, choices."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout
from tidlq.importers.tflite.operators.activations import write_activated
from tidlq.importers.tflite.rewrite import Rewrite

UNARY: Mapping[str, str] = MappingProxyType(
    {
        "ABS": "Abs",
        "CEIL": "Ceil",
        "COS": "Cos",
        "ELU": "Elu",
        "EXP": "Exp",
        "FLOOR": "Floor",
        "HARD_SWISH": "HardSwish",
        "LOG": "Log",
        "LOGICAL_NOT": "Not",
        "LOGISTIC": "Sigmoid",
        "NEG": "Neg",
        "RELU": "Relu",
        "ROUND": "Round",
        "SIGN": "Sign",
        "SIN": "Sin",
        "SQRT": "Sqrt",
        "TANH": "Tanh",
    }
)
BINARY: Mapping[str, str] = MappingProxyType(
    {
        "ADD": "Add",
        "DIV": "Div",
        "EQUAL": "Equal",
        "GREATER": "Greater",
        "GREATER_EQUAL": "GreaterOrEqual",
        "LESS": "Less",
        "LESS_EQUAL": "LessOrEqual",
        "LOGICAL_AND": "And",
        "LOGICAL_OR": "Or",
        "MAXIMUM": "Max",
        "MINIMUM": "Min",
        "MUL": "Mul",
        "POW": "Pow",
        "SUB": "Sub",
    }
)
_ACTIVATED = frozenset({"ADD", "DIV", "MUL", "SUB"})
_FLOATS = frozenset({ir.DataType.FLOAT})


def rewrite_unary(rewrite: Rewrite) -> None:
    """A function of one tensor by the ONNX operator of the same meaning."""
    layout = rewrite.follow(0)
    op_type = UNARY[rewrite.operator.code]
    rewrite.write(rewrite.emit(op_type, rewrite.read(0, layout)), layout)


def read_operands(rewrite: Rewrite, *positions: int) -> tuple[Layout, list[ir.Value]]:
    """Operands that broadcast against each other, in one layout."""
    layout = rewrite.follow(*positions)
    rank = max(rewrite.rank(position) for position in positions)
    # Without a change of layout, broadcasting needs no help.
    least = rank if layout is Layout.CHANNELS_FIRST else None
    return layout, [rewrite.read(position, layout, least) for position in positions]


def rewrite_binary(rewrite: Rewrite) -> None:
    """Arithmetic or comparison of two tensors."""
    layout, operands = read_operands(rewrite, 0, 1)
    value = rewrite.emit(BINARY[rewrite.operator.code], *operands)
    if rewrite.operator.code in _ACTIVATED:
        write_activated(rewrite, value, layout)
    else:
        rewrite.write(value, layout)


def rewrite_not_equal(rewrite: Rewrite) -> None:
    """NOT_EQUAL as Equal and Not."""
    layout, operands = read_operands(rewrite, 0, 1)
    equal = rewrite.emit("Equal", *operands, role="equal")
    rewrite.write(rewrite.emit("Not", equal), layout)


def rewrite_add_n(rewrite: Rewrite) -> None:
    """ADD_N as Sum."""
    layout, operands = read_operands(rewrite, *range(rewrite.input_count))
    rewrite.write(rewrite.emit("Sum", *operands), layout)


def rewrite_square(rewrite: Rewrite) -> None:
    """SQUARE as a product."""
    layout = rewrite.follow(0)
    value = rewrite.read(0, layout)
    rewrite.write(rewrite.emit("Mul", value, value), layout)


def rewrite_squared_difference(rewrite: Rewrite) -> None:
    """SQUARED_DIFFERENCE as a difference and a product."""
    layout, operands = read_operands(rewrite, 0, 1)
    difference = rewrite.emit("Sub", *operands, role="difference")
    rewrite.write(rewrite.emit("Mul", difference, difference), layout)


def rewrite_rsqrt(rewrite: Rewrite) -> None:
    """RSQRT as Sqrt and Reciprocal."""
    layout = rewrite.follow(0)
    root = rewrite.emit("Sqrt", rewrite.read(0, layout), role="root")
    rewrite.write(rewrite.emit("Reciprocal", root), layout)


def rewrite_floor_div(rewrite: Rewrite) -> None:
    """FLOOR_DIV: the quotient rounded down."""
    layout, (left, right) = read_operands(rewrite, 0, 1)
    if left.dtype in _FLOATS:
        quotient = rewrite.emit("Div", left, right, role="quotient")
        rewrite.write(rewrite.emit("Floor", quotient), layout)
        return
    # Division of integers rounds toward zero; what is left over is taken away first.
    rest = rewrite.emit("Mod", left, right, role="rest", fmod=0)
    whole = rewrite.emit("Sub", left, rest, role="whole")
    rewrite.write(rewrite.emit("Div", whole, right), layout)


def rewrite_floor_mod(rewrite: Rewrite) -> None:
    """FLOOR_MOD: the rest has the sign of the divisor."""
    layout, (left, right) = read_operands(rewrite, 0, 1)
    if left.dtype not in _FLOATS:
        rewrite.write(rewrite.emit("Mod", left, right, fmod=0), layout)
        return
    rest = rewrite.emit("Mod", left, right, role="rest", fmod=1)
    zero = rewrite.constant(np.array(0, np.float32), "zero")
    below = rewrite.emit("Less", rest, zero, role="below")
    divisor_below = rewrite.emit("Less", right, zero, role="divisor_below")
    opposite = rewrite.emit("Xor", below, divisor_below, role="opposite")
    exact = rewrite.emit("Equal", rest, zero, role="exact")
    inexact = rewrite.emit("Not", exact, role="inexact")
    shifts = rewrite.emit("And", opposite, inexact, role="shifts")
    shifted = rewrite.emit("Add", rest, right, role="shifted")
    rewrite.write(rewrite.emit("Where", shifts, shifted, rest), layout)


def rewrite_select(rewrite: Rewrite) -> None:
    """SELECT and SELECT_V2 as Where; SELECT with a list chooses whole rows."""
    rows, rank = rewrite.rank(0), rewrite.rank(1)
    if rewrite.operator.code == "SELECT" and rows == 1 and rank > 1:
        shape = rewrite.integers_constant((-1, *(1,) * (rank - 1)), "rows")
        condition = rewrite.emit("Reshape", rewrite.read(0), shape, role="condition")
        rewrite.write(rewrite.emit("Where", condition, rewrite.read(1), rewrite.read(2)))
        return
    layout, operands = read_operands(rewrite, 0, 1, 2)
    rewrite.write(rewrite.emit("Where", *operands), layout)
