"""What a tensor of a TFLite file says about its quantization, in this package's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from tidlq.errors import ModelError
from tidlq.importers.tflite.contents import StoredTensor
from tidlq.spec import FeatureQuant, IntegerType, StatedParameter

_INTEGER_TYPES: Mapping[str, IntegerType] = MappingProxyType(
    {
        # Four bits are stored as eight: their values are what matters.
        "INT4": IntegerType(8, signed=True),
        "INT8": IntegerType(8, signed=True),
        "UINT8": IntegerType(8, signed=False),
        "INT16": IntegerType(16, signed=True),
        "UINT16": IntegerType(16, signed=False),
    }
)
# A channel with scale 0 holds zeros only, whatever its scale; a plan needs one that divides.
_SCALE_OF_ZEROS = 1.0


def is_quantized(tensor: StoredTensor) -> bool:
    """Whether a tensor's integers stand for real numbers.

    Wider integers are indices, sizes or biases, whatever scale they come with.
    """
    return tensor.quantization is not None and tensor.type in _INTEGER_TYPES


def feature_quant(tensor: StoredTensor) -> FeatureQuant | None:
    """The quantization of a feature map; None where it is not quantized.

    Raises:
        ModelError: It has several scales, or one that is not a positive number.
    """
    quantization = tensor.quantization
    if quantization is None or not is_quantized(tensor):
        return None
    kind = _INTEGER_TYPES[tensor.type]
    if len(quantization.scales) != 1 or quantization.is_special:
        raise ModelError(
            f"tensor {tensor.name!r} has {len(quantization.scales)} scales; a feature map must "
            "have a single one."
        )
    scale, zero_point = quantization.scales[0], quantization.zero_points[0]
    if not (math.isfinite(scale) and scale > 0):
        raise ModelError(f"tensor {tensor.name!r} has scale {scale}; it must be positive.")
    if not kind.lowest <= zero_point <= kind.highest:
        raise ModelError(
            f"tensor {tensor.name!r} of type {tensor.type} has zero point {zero_point}; it must be "
            f"from {kind.lowest} to {kind.highest}."
        )
    return FeatureQuant(kind, scale, zero_point)


def parameter_statement(tensor: StoredTensor, axis: int | None = None) -> StatedParameter | None:
    """How a constant is stored; None where it is not quantized.

    Args:
        tensor: its data have been read, so its scales fit its shape.
        axis: where its quantized axis stands in the Graph; as stored by default.
    """
    quantization = tensor.quantization
    if quantization is None or not is_quantized(tensor):
        return None
    scales = tuple(scale if scale > 0 else _SCALE_OF_ZEROS for scale in quantization.scales)
    kind = _INTEGER_TYPES[tensor.type]
    where = quantization.axis if axis is None else axis
    if len(scales) == 1:
        where = 0
    return StatedParameter(kind, scales, quantization.zero_points, where)
