"""The constants of fixed-point layers as integers, in the form that ONNX's operators read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import (
    ConvolutionAttributes,
    InnerProductAttributes,
    Layer,
    LayerKind,
)
from tidlq.graph.model import Graph
from tidlq.graph.parameters import (
    exchanged_channels,
    layer_parameters,
    operand_index,
    operand_values,
)
from tidlq.spec import IntegerType, LayerQuant, ParameterQuant, StatedParameter

_BYTE = 8
_BIAS_BITS = 32
# A bias that needs more than 32 bits is the sum of two; the lower one has so many.
LOW_BITS = 24
_SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


@dataclass(frozen=True, eq=False)
class StoredConstant:
    """An integer initializer and what its DequantizeLinear says:  x = scale * (q - zero_point).

    Attributes:
        name: of the constant in the Graph, or what it would be called there.
        integers: int8, uint8, int16, uint16 or int32.
        scales: float32, () or [sizes of the axis].
        axis: that the scales belong to, where there is more than one.
        zero_points: of the integers' type, of the scales' shape; None: all zero.
    """

    name: str
    integers: NDArray[np.generic]
    scales: NDArray[np.float32]
    axis: int = 0
    zero_points: NDArray[np.generic] | None = None

    @property
    def bits(self) -> int:
        """Width of the integers."""
        return self.integers.dtype.itemsize * 8


@dataclass(frozen=True, eq=False)
class StoredBias:
    """A bias as the sum of one or two integer constants; or real values where no scale fits."""

    name: str
    parts: tuple[StoredConstant, ...]
    values: NDArray[np.float32]


def _scales(values: Sequence[float]) -> NDArray[np.float32]:
    """One scale per channel, or a single one without an axis."""
    scales = np.asarray(values, np.float32)
    return scales.reshape(()) if scales.size == 1 else scales


def stored_weight(graph: Graph, layer: Layer, quant: LayerQuant) -> StoredConstant | None:
    """The weight of a layer, or PReLU's slope; None where the layer has none.

    Gemm's alpha and a batch-norm's statistics are part of the integers.
    """
    if layer.weight is None:
        return None
    assert quant.weight is not None, layer.name
    weight = layer_parameters(graph, layer).weight
    integers: NDArray[np.generic] = quant.weight.quantize(weight)
    stated = None if graph.stated is None else graph.stated.parameters.get(layer.weight)
    zero_points = None
    if stated is not None and _has_offset_bytes(stated, quant.weight):
        # The plan has q - zero_point in 16 bits.
        offsets = np.asarray(stated.zero_points)
        rows = offsets.reshape(-1, *[1] * (integers.ndim - 1)) if offsets.size > 1 else offsets
        integers = (integers + rows).astype(stated.type.dtype)
        zero_points = _scales(stated.zero_points).astype(stated.type.dtype)
    axis = 0
    if isinstance(layer.attributes, InnerProductAttributes) and not layer.attributes.transposed:
        integers, axis = np.ascontiguousarray(integers.T), 1
    elif isinstance(layer.attributes, ConvolutionAttributes) and _is_transposed(layer):
        groups = layer.attributes.groups
        integers = exchanged_channels(integers, groups)
        axis = 0 if groups > 1 and integers.shape[:2] == (groups, 1) else 1
    elif layer.kind is LayerKind.PRELU:
        integers = integers.reshape(graph.shape(layer.weight) or ())
    return StoredConstant(layer.weight, integers, _scales(quant.weight.scales), axis, zero_points)


def _is_transposed(layer: Layer) -> bool:
    return layer.kind is LayerKind.TRANSPOSED_CONVOLUTION


def _has_offset_bytes(stated: StatedParameter, weight: ParameterQuant) -> bool:
    """The model stores the weight in bytes with zero points, and the plan has its scales."""
    is_offset = stated.type.bits == _BYTE and any(stated.zero_points)
    return is_offset and stated.scales == weight.scales


def stored_bias(layer: Layer, quant: LayerQuant, input_scale: float) -> StoredBias | None:
    """The bias of a weighted layer at scale s_x * s_w; None where the plan has none.

    Integers beyond 32 bits are  high * 2^24 + low,  each part with a scale of its own. Scales below
    float32's normal numbers leave real values, all of them tiny; so does an output in float32 to
    which the bias is added.
    """
    if not layer.kind.has_weight or not quant.bias:
        return None
    assert quant.weight is not None
    name = layer.bias or f"{layer.name}.bias"
    integers = quant.quantize_bias(input_scale)
    exact = np.asarray(quant.weight.scales, np.float64) * input_scale
    values = np.asarray(quant.bias, np.float32)
    if quant.is_bias_real or exact.min() < _SMALLEST_NORMAL:
        return StoredBias(name, (), values)
    scales = _scales(exact.tolist())
    type_ = IntegerType(_BIAS_BITS, signed=True)
    if type_.lowest <= integers.min() and integers.max() <= type_.highest:
        part = StoredConstant(name, integers.astype(np.int32), scales)
        return StoredBias(name, (part,), values)
    high = (integers + (1 << (LOW_BITS - 1))) >> LOW_BITS
    low = integers - (high << LOW_BITS)
    parts = (
        StoredConstant(
            f"{name}/high", high.astype(np.int32), np.ldexp(scales, LOW_BITS).astype(np.float32)
        ),
        StoredConstant(f"{name}/low", low.astype(np.int32), scales),
    )
    return StoredBias(name, parts, values)


def stored_operand(
    graph: Graph, layer: Layer, quant: LayerQuant
) -> tuple[int, StoredConstant] | None:
    """Which input of a sum or product is constant, and its integers; a divisor is inverted."""
    index, values = operand_index(graph, layer), operand_values(graph, layer)
    if index is None or values is None:
        return None
    operand = quant.operand
    assert operand is not None, layer.name
    q = np.rint(values / operand.scale) + operand.zero_point
    integers = np.clip(q, operand.type.lowest, operand.type.highest).astype(operand.type.dtype)
    zero_point = np.asarray(operand.zero_point, operand.type.dtype)
    scale = _scales([operand.scale])
    return index, StoredConstant(layer.inputs[index], integers, scale, 0, zero_point)
