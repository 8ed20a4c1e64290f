"""Operators that change what numbers are made of: quantization, casts, sparse constants."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.constants import dequantized
from tidlq.importers.tflite.linear_forms import add_dequantize, add_quantize
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.importers.tflite.tensors import graph_type
from tidlq.passes.stated import stated_feature


def rewrite_quantize(rewrite: Rewrite) -> None:
    """QUANTIZE: from float, a statement about the values; from integers, an Identity.

    Where others read the float values as well, an Identity keeps the two apart.
    """
    quant = rewrite.output_quant()
    if quant is None:
        raise rewrite.fault("writes a tensor without a scale.")
    if (array := rewrite.array(0)) is not None:
        scaled = np.asarray(array, np.float32) / np.float32(quant.scale)
        integers = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
        low, high = quant.type.lowest, quant.type.highest
        stored = np.clip(integers.astype(np.int64) + quant.zero_point, low, high)
        rewrite.write_array(dequantized(rewrite.stored_output(), stored))
        return
    layout = rewrite.follow(0)
    value = rewrite.read(0, layout)
    there = stated_feature(value)
    index = rewrite.index(0)
    if there == quant or (there is None and rewrite.tensors.is_free(index)):
        rewrite.tensors.alias(rewrite.operator.outputs[0], index, rename=there is None)
    elif there is None and rewrite.tensors.is_sole_input(index):
        rewrite.tensors.alias(rewrite.operator.outputs[0], index, rename=False)
    else:
        rewrite.write(rewrite.emit("Identity", value), layout)


def rewrite_dequantize(rewrite: Rewrite) -> None:
    """DEQUANTIZE: the same values; of a constant, its real numbers."""
    if (array := rewrite.array(0)) is not None:
        rewrite.write_array(array.astype(np.float32))
    else:
        rewrite.tensors.alias(rewrite.operator.outputs[0], rewrite.index(0), rename=False)


def rewrite_densify(rewrite: Rewrite) -> None:
    """DENSIFY of a constant: its dense form."""
    rewrite.write_array(rewrite.needed_array(0, "a sparse tensor"))


def rewrite_cast(rewrite: Rewrite) -> None:
    """CAST, which reads and writes the integers themselves, whatever scale they have."""
    layout = rewrite.follow(0)
    value = rewrite.read(0, layout)
    if (quant := rewrite.quant(0)) is not None:
        name = rewrite.builder.take_name(f"{rewrite.name}_integers")
        value = add_quantize(rewrite.builder, value, quant, name)
    if (quant := rewrite.output_quant()) is not None:
        kind = ir.DataType.from_numpy(quant.type.dtype)
        value = rewrite.emit("Cast", value, role="stored", to=int(kind))
        name = rewrite.builder.take_name(f"{rewrite.name}_real")
        rewrite.write(add_dequantize(rewrite.builder, value, quant, name), layout)
        return
    to = ir.DataType.from_numpy(graph_type(rewrite.stored_output()))
    rewrite.write(rewrite.emit("Cast", value, to=int(to)), layout)
