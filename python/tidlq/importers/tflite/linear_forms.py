"""Integers and the real numbers that they stand for, as nodes: exact in both directions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.builder import GraphBuilder
from tidlq.spec import FeatureQuant


def add_dequantize(
    builder: GraphBuilder, integers: ir.Value, quant: FeatureQuant, name: str
) -> ir.Value:
    """The real numbers of integers: float32 scale * (q - zero point)."""
    parameters = _parameters(builder, quant, name)
    return builder.add_node("DequantizeLinear", [integers, *parameters], [name], {}, name)[0]


def add_quantize(builder: GraphBuilder, real: ir.Value, quant: FeatureQuant, name: str) -> ir.Value:
    """The integers nearest to real numbers, saturated."""
    parameters = _parameters(builder, quant, name)
    return builder.add_node("QuantizeLinear", [real, *parameters], [name], {}, name)[0]


def _parameters(builder: GraphBuilder, quant: FeatureQuant, name: str) -> tuple[ir.Value, ir.Value]:
    scale, zero_point = builder.take_name(f"{name}_scale"), builder.take_name(f"{name}_zero_point")
    return (
        builder.add_constant(scale, np.array(quant.scale, np.float32)),
        builder.add_constant(zero_point, np.array(quant.zero_point, quant.type.dtype)),
    )
