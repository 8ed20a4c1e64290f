"""Batch-norm and per-channel arithmetic folded into the layer before.

What: a BatchNormalization, or a Mul, Div, Add or Sub with one constant per channel, that alone
    reads the output of a Conv, ConvTranspose, DeformConv or Gemm with constant weights, goes into
    them.
When: once constants are folded and nodes without effect are gone.
Before -> After: `BatchNormalization(Conv(x, w), gamma, beta, mean, var)` -> `Conv(x, w', b')` with
    w' = w * gamma / sqrt(var + epsilon) per output channel, b' = (b - mean) * ... + beta. The
    layer keeps its node name and writes the tensor that the folded node wrote. A layer whose own
    output is stated to be quantized keeps the affine node behind it; a stated weight stays stated,
    its scales times |gamma / sqrt(var + epsilon)|, and a stated bias becomes one that is added as
    a real number.
Numerics: w' and b' are computed in float64 and rounded once to float32; the result differs from
    the two-step one by float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.affine import Affine, affine_of, rounded, times
from tidlq.passes.node_editing import FreshNames, absorb_next, replace_constant
from tidlq.passes.node_reading import (
    constant_array,
    float_attribute,
    input_at,
    int_attribute,
    is_op,
    sole_consumer,
)
from tidlq.passes.stated import (
    state_parameter,
    state_real_bias,
    stated_feature,
    stated_parameter,
)
from tidlq.passes.weight_channels import output_axis
from tidlq.spec import IntegerType, StatedParameter


class FoldAffine(ir.passes.InPlacePass):
    """Folds chains of affine nodes backward, one by one."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the layers of the main graph in order."""
        names, modified = None, False
        for node in model.graph:
            if not is_op(node, "Conv", "ConvTranspose", "DeformConv", "Gemm"):
                continue
            while (found := _find_next(node)) is not None:
                names = names or FreshNames(model.graph)
                if not _fold(node, *found, names):
                    break
                modified = True
        return ir.passes.PassResult(model, modified=modified)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer's parameters.

    Attributes:
        weight: float32, as the node stores it.
        bias: float64 [C_out]; zeros where the node has none.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float64]


def _find_next(node: ir.Node) -> tuple[ir.Node, Affine] | None:
    """The affine node that alone reads the layer's output."""
    following = sole_consumer(node.outputs[0])
    if stated_feature(node.outputs[0]) is not None:
        return None
    if following is None or following.graph is not node.graph:
        return None
    affine = affine_of(following, 1)
    return None if affine is None or affine.data is not node.outputs[0] else (following, affine)


def _fold(node: ir.Node, following: ir.Node, affine: Affine, names: FreshNames) -> bool:
    layer = _read(node)
    if layer is None:
        return False
    channels = layer.bias.size
    if not {affine.scale.size, affine.shift.size} <= {1, channels}:
        return False
    scale, shift = affine.per_channel(channels)
    weight, bias = _scaled(node, layer.weight, scale), rounded(layer.bias * scale + shift)
    if weight is None or bias is None:
        return False
    if weight is not layer.weight:
        stated = _scaled_statement(node, layer.weight, scale)
        state_parameter(replace_constant(node, 1, weight, names, "weight"), stated)
    state_real_bias(replace_constant(node, _bias_input(node), bias, names, "bias"))
    node.attributes.pop("beta", None)
    absorb_next(node, following)
    return True


def _read(node: ir.Node) -> _Layer | None:
    given = input_at(node, _bias_input(node))
    weight, bias = constant_array(input_at(node, 1)), constant_array(given)
    if weight is None or weight.dtype != np.float32:
        return None
    if given is not None and (bias is None or bias.dtype != np.float32):
        return None
    added = _gemm_bias(node, weight, bias) if is_op(node, "Gemm") else _bias(node, weight, bias)
    return None if added is None else _Layer(np.asarray(weight, np.float32), added)


def _bias_input(node: ir.Node) -> int:
    """Where a layer has its bias; a DeformConv has its offsets before."""
    return 3 if is_op(node, "DeformConv") else 2


def _gemm_bias(
    node: ir.Node, weight: NDArray[np.generic], bias: NDArray[np.generic] | None
) -> NDArray[np.float64] | None:
    if weight.ndim != 2:
        return None
    channels = weight.shape[0 if int_attribute(node, "transB", 0) else 1]
    if bias is None:
        return np.zeros(channels)
    if bias.size not in (1, channels) or (bias.ndim and bias.shape[-1] != bias.size):
        return None
    beta = float_attribute(node, "beta", 1.0)
    return beta * np.broadcast_to(np.asarray(bias, np.float64).reshape(-1), channels)


def _bias(
    node: ir.Node, weight: NDArray[np.generic], bias: NDArray[np.generic] | None
) -> NDArray[np.float64] | None:
    groups = int_attribute(node, "group", 1)
    if weight.ndim < 3 or groups < 1 or weight.shape[0] % groups:
        return None
    is_transposed = is_op(node, "ConvTranspose")
    channels = weight.shape[1] * groups if is_transposed else weight.shape[0]
    if bias is None:
        return np.zeros(channels)
    return np.asarray(bias, np.float64) if bias.shape == (channels,) else None


def _scaled(
    node: ir.Node, weight: NDArray[np.float32], scale: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """The weight with each output channel scaled; the same array where the scale is 1."""
    if np.all(scale == 1):
        return weight
    if is_op(node, "Gemm"):
        return times(weight, scale[:, None] if int_attribute(node, "transB", 0) else scale)
    kernel = [1] * (weight.ndim - 2)
    if is_op(node, "Conv", "DeformConv"):
        return times(weight, scale.reshape(-1, 1, *kernel))
    # ConvTranspose stores (C_in, C_out / groups, ...).
    groups = int_attribute(node, "group", 1)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    product = times(grouped, scale.reshape(groups, 1, -1, *kernel))
    return None if product is None else product.reshape(weight.shape)


def _scaled_statement(
    node: ir.Node, weight: NDArray[np.float32], factor: NDArray[np.float64]
) -> StatedParameter | None:
    """The weight's statement after a factor per output channel; None where there can be none.

    A channel of factor zero keeps its scale: its integers are zero. A negative factor negates the
    integers, for which -128 needs more than 8 bits.
    """
    stated, axis = stated_parameter(input_at(node, 1)), output_axis(node)
    if stated is None or (len(stated.scales) > 1 and stated.axis != axis):
        return None
    if len(stated.scales) == 1 and np.all(factor == factor[0]):
        factor, axis = factor[:1], 0
    if axis is None:
        return None
    scales = np.broadcast_to(np.asarray(stated.scales, np.float64), factor.shape)
    products = (scales * np.where(factor == 0, 1, np.abs(factor))).astype(np.float32)
    if not np.all(np.isfinite(products) & (products >= np.finfo(np.float32).tiny)):
        return None
    zero_points = np.broadcast_to(np.asarray(stated.zero_points), factor.shape)
    kind = stated.type
    if np.any(factor < 0) and not _fits_negated(weight, stated, axis):
        kind = IntegerType(16, signed=True)
    return StatedParameter(kind, tuple(map(float, products)), tuple(map(int, zero_points)), axis)


def _fits_negated(weight: NDArray[np.float32], stated: StatedParameter, axis: int) -> bool:
    """Whether z - (q - z) fits the stored type for every integer q of the weight."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scales = np.asarray(stated.scales, np.float64)
    zero_points = np.asarray(stated.zero_points)
    low = zero_points - np.rint(weight.max(axis=others) / scales)
    high = zero_points - np.rint(weight.min(axis=others) / scales)
    return bool(np.all(low >= stated.type.lowest) and np.all(high <= stated.type.highest))
