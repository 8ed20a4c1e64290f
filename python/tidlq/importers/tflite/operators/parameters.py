"""Weights and biases: arrays rearranged for ONNX, with what the file states about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.importers.tflite.constants import stored_values
from tidlq.importers.tflite.quantization import is_quantized
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.passes.stated import state_bias, state_parameter
from tidlq.spec import IntegerType, StatedParameter

_BIAS_TYPES = frozenset({"INT32", "INT64"})
_WIDE = 16


def read_weight(
    rewrite: Rewrite, position: int, perm: Sequence[int], *, features: int = 0
) -> ir.Value:
    """A weight with its axes rearranged; constant or computed.

    Args:
        rewrite: the operator.
        position: of the weight among its inputs.
        perm: axis i of the result is axis perm[i] of the stored weight.
        features: position of the feature map. Where that is float, the operator computes in float
            whatever the weight's type, and the weight counts as float.
    """
    if rewrite.rank(position) != len(perm):
        raise rewrite.fault(
            f"has a weight with {rewrite.rank(position)} axes; {len(perm)} are needed."
        )
    array = rewrite.array(position)
    is_moved = tuple(perm) != tuple(range(len(perm)))
    if array is None:
        value = rewrite.read(position)
        return rewrite.emit("Transpose", value, role="weight", perm=perm) if is_moved else value
    quantization = rewrite.stored(position).quantization
    axis = 0 if quantization is None else quantization.axis
    axis = list(perm).index(axis) if 0 <= axis < len(perm) else 0
    is_stated = rewrite.quant(features) is not None
    return rewrite.tensors.parameter(
        rewrite.index(position), array, tuple(perm), axis, is_stated=is_stated
    )


def read_bias(
    rewrite: Rewrite, position: int, *, weight: int = 1, features: int = 0
) -> ir.Value | None:
    """A bias; None where there is none.

    Integers stand for  q * scale of the features * scale of the weight's channel.

    Args:
        rewrite: the operator.
        position: of the bias among its inputs.
        weight: position of the weight.
        features: position of the feature map.
    """
    if not rewrite.has_input(position):
        return None
    stored = rewrite.stored(position)
    quant = rewrite.quant(features)
    if stored.type not in _BIAS_TYPES or stored.data is None:
        return rewrite.read(position)
    integers = stored_values(stored).astype(np.int64).reshape(-1)
    scales = _weight_scales(rewrite, weight)
    if quant is None or scales is None or scales.size not in (1, integers.size):
        raise rewrite.fault(
            f"has a bias of {integers.size} integers, but its features or its weight do not have "
            "the scales that these need."
        )
    # A channel whose scale is 0 multiplies its accumulator by 0, bias and all.
    integers = np.where(scales > 0, integers, 0)
    real = (integers * (quant.scale * scales)).astype(np.float32)
    if not np.isfinite(real).all():
        raise rewrite.fault("has a bias that is not finite in float32.")
    value = rewrite.tensors.add_constant(rewrite.index(position), real)
    state_bias(value, tuple(integers.tolist()))
    if quant.type.bits == _WIDE:
        # LiteRT multiplies sums of 32 bits otherwise than those of 64.
        type_ = IntegerType(32 if stored.type == "INT32" else 64, signed=True)
        steps = tuple((quant.scale * scales).astype(np.float32).tolist())
        state_parameter(value, StatedParameter(type_, steps, (0,) * len(steps)))
    return value


def _weight_scales(rewrite: Rewrite, position: int) -> NDArray[np.float64] | None:
    stored = rewrite.stored(position)
    if stored.quantization is None or not is_quantized(stored):
        return None
    return np.asarray(stored.quantization.scales, np.float64)
