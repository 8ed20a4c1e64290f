"""Lowering of powers of two operands, whose integers are entries of tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import Layer
from tidlq.lowering.builder import Layout, NetworkBuilder
from tidlq.lowering.elementwise import joint_layout, placed_feature
from tidlq.spec import FeatureQuant, IntegerType

Float64 = NDArray[np.float64]

_LN2 = 0.6931471805599453
# Enough for the last bit where the argument is within a factor of the root of 2 of 1.
_TERMS = 12
_NARROW_ENTRIES = 256
_NO_INTEGER = 2


@dataclass(frozen=True, eq=False)
class _Operand:
    """An operand in the Network.

    Attributes:
        index: of its tensor.
        values: float64, what each integer stands for, from the lowest on.
        slack: the real exponent may be an integer within this of the value.
    """

    index: int
    values: Float64
    slack: float = 0.0


def lower_power(builder: NetworkBuilder, layer: Layer) -> None:
    """Pow: logarithms of the base, values of the exponent."""
    layout = joint_layout(builder, layer)
    base, exponent = (_operand(builder, layer, index, layout) for index in range(2))
    target = builder.feature(layer.output)
    output = builder.new_integer(layer.output, layout)
    op = builder.add_layer(layer.name, [base.index, exponent.index], output).power
    op.logarithm.extend(binary_logarithms(np.abs(base.values)).tolist())
    op.sign.extend(np.sign(base.values).astype(np.int64).tolist())
    op.exponent.extend(exponent.values.tolist())
    op.parity.extend(_parities(exponent).tolist())
    op.gain = 1.0 / target.scale


def _operand(builder: NetworkBuilder, layer: Layer, index: int, layout: Layout) -> _Operand:
    """A feature map, or a constant as integers that count its different values."""
    name = layer.inputs[index]
    constant = builder.graph.constant(name)
    if constant is None:
        quant = builder.feature(name)
        integers = np.arange(quant.type.lowest, quant.type.highest + 1, dtype=np.float64)
        values = (integers - quant.zero_point) * quant.scale
        return _Operand(placed_feature(builder, layer, name, layout), values, slack=quant.scale / 2)
    values, places = np.unique(constant.astype(np.float64), return_inverse=True)
    type_ = IntegerType(8 if values.size <= _NARROW_ENTRIES else 16, signed=False)
    full = (1,) * (len(layout) - constant.ndim) + constant.shape
    places = places.reshape(full).transpose(layout)
    tensor = builder.add_tensor(
        f"{layer.name}/{name}", places.shape, FeatureQuant(type_, 1.0), places
    )
    return _Operand(tensor, np.pad(values, (0, type_.highest + 1 - values.size), mode="edge"))


def _parities(exponent: _Operand) -> NDArray[np.int64]:
    """0 for even integers, 1 for odd ones, 2 for what is none."""
    whole = np.rint(exponent.values)
    is_whole = np.abs(exponent.values - whole) <= exponent.slack
    return np.where(is_whole, np.abs(whole) % 2, _NO_INTEGER).astype(np.int64)


def binary_logarithms(values: Float64) -> Float64:
    """Logarithms to base 2; 0 for 0.

    By additions, products and quotients in a fixed order, so that every machine writes the same
    bytes: 2 / ln(2) * artanh((m - 1) / (m + 1)) with m within a factor of the root of 2 of 1.

    Args:
        values: float64, none negative.
    """
    mantissas, exponents = np.frexp(np.where(values > 0, values, 1.0))
    is_low = mantissas < np.sqrt(0.5)
    mantissas = np.where(is_low, 2 * mantissas, mantissas)
    ratio = (mantissas - 1) / (mantissas + 1)
    square = ratio * ratio
    series = np.zeros_like(ratio)
    for term in range(_TERMS - 1, -1, -1):
        series = series * square + 1.0 / (2 * term + 1)
    return np.asarray((exponents - is_low) + ratio * series * (2 / _LN2), np.float64)
