"""Saved ranges to protobuf messages and back.

`decode` expects a message in which `faults.find_faults` found nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext
from tidlq.quantproto.model import FLOAT32_MAX, Provenance, SavedLayer, SavedRanges, SavedTensor
from tidlq.spec import ChannelRanges, IntegerType, Range, RangeOrigin, maxima, minima

# Some writers state bytes instead of bits.
BIT_DEPTHS = {1: 8, 2: 16, 8: 8, 16: 16}

_ELEMENT_TYPES = {
    0: IntegerType(8, signed=False),
    1: IntegerType(8, signed=True),
    2: IntegerType(16, signed=False),
    3: IntegerType(16, signed=True),
    5: IntegerType(32, signed=True),
}
_ELEMENT_CODES = {integer: code for code, integer in _ELEMENT_TYPES.items()}

FLOAT_CODE = 6
"""The element type of a feature map that is not quantized."""

# A range that was read from a file without an origin is SAVED, and written without one again.
_ORIGINS = {
    ext.RANGE_ORIGIN_UNSPECIFIED: RangeOrigin.SAVED,
    ext.RANGE_ORIGIN_MEASURED: RangeOrigin.MEASURED,
    ext.RANGE_ORIGIN_STATED: RangeOrigin.STATED,
    ext.RANGE_ORIGIN_PARAMETER: RangeOrigin.PARAMETER,
}
_ORIGIN_CODES = {origin: code for code, origin in _ORIGINS.items()}


def is_known_range(low: float, high: float) -> bool:
    """True when neither bound of a range is left at its default."""
    return low != -FLOAT32_MAX and high != FLOAT32_MAX


def encode(saved: SavedRanges, *, strict: bool) -> pb.TIDLNetQuantParams:
    """Returns the message of the saved ranges; `strict` leaves every extension out."""
    net = pb.TIDLNetQuantParams(
        num_layers=len(saved.layers),
        quant_type=pb.SYMMETRIC if saved.symmetric else pb.ASYMMETRIC,
        calib_type=pb.PERCHANNEL if saved.per_channel else pb.PERTENSOR,
    )
    for layer in saved.layers:
        _encode_layer(layer, net.layers.add(), strict=strict)
    if saved.provenance is not None and not strict:
        _encode_provenance(saved.provenance, net.Extensions[ext.provenance])
    return net


def decode(net: pb.TIDLNetQuantParams) -> SavedRanges:
    """Returns what a valid message says."""
    provenance = None
    if net.HasExtension(ext.provenance):
        provenance = _decode_provenance(net.Extensions[ext.provenance])
    return SavedRanges(
        layers=tuple(_decode_layer(layer) for layer in net.layers),
        symmetric=net.quant_type == pb.SYMMETRIC,
        per_channel=net.calib_type == pb.PERCHANNEL,
        provenance=provenance,
    )


def _encode_layer(layer: SavedLayer, target: pb.TidlLayerQuantParams, *, strict: bool) -> None:
    target.layer_name = layer.name
    target.layer_type = layer.layer_type
    target.bit_depth = layer.bit_depth
    if layer.parameter_bit_depth is not None and not strict:
        target.Extensions[ext.parameter_bit_depth] = layer.parameter_bit_depth
    if not strict:
        target.Extensions[ext.equalization].extend(layer.equalization)
        if layer.equalization_bound is not None:
            target.Extensions[ext.equalization_bound] = layer.equalization_bound
        if layer.parameter_digest:
            target.Extensions[ext.parameter_digest] = layer.parameter_digest
    for role, tensors in layer.roles.items():
        for tensor in tensors:
            _encode_tensor(tensor, getattr(target, role).add(), strict=strict)


def _encode_tensor(tensor: SavedTensor, target: pb.TidlTensorQuantParams, *, strict: bool) -> None:
    if tensor.range is not None:
        target.min = tensor.range.min
        target.max = tensor.range.max
    target.size = tensor.size
    if tensor.is_float:
        target.element_type = FLOAT_CODE
    elif tensor.type is not None:
        target.element_type = _ELEMENT_CODES[tensor.type]
    target.scale.extend(tensor.scales)
    target.zero_point.extend(point & 0xFFFFFFFF for point in tensor.zero_points)
    target.value.extend(tensor.values)
    if strict:
        return
    if tensor.name:
        target.Extensions[ext.tensor_name] = tensor.name
    target.Extensions[ext.channel_min].extend(minima(tensor.channels).tolist())
    target.Extensions[ext.channel_max].extend(maxima(tensor.channels).tolist())
    known = tensor.range if tensor.range is not None else next(iter(tensor.channels), None)
    if known is not None and known.origin is not RangeOrigin.SAVED:
        target.Extensions[ext.range_origin] = _ORIGIN_CODES[known.origin]


def _encode_provenance(provenance: Provenance, target: ext.Provenance) -> None:
    target.tool_version = provenance.tool_version
    target.graph_fingerprint = provenance.graph_fingerprint
    target.scheme = provenance.scheme
    target.accuracy_level = provenance.accuracy_level
    target.frames = provenance.frames
    for key, value in provenance.options:
        target.options.add(key=key, value=value)
    if provenance.calibration_method:
        target.calibration_method = provenance.calibration_method
    target.ingredients.extend(provenance.ingredients)


def _decode_layer(layer: pb.TidlLayerQuantParams) -> SavedLayer:
    parameter_bit_depth = None
    if layer.HasExtension(ext.parameter_bit_depth):
        parameter_bit_depth = BIT_DEPTHS[layer.Extensions[ext.parameter_bit_depth]]
    bound = None
    if layer.HasExtension(ext.equalization_bound):
        bound = layer.Extensions[ext.equalization_bound]
    return SavedLayer(
        name=layer.layer_name,
        layer_type=layer.layer_type,
        outputs=_decode_tensors(layer.outputs),
        weights=_decode_tensors(layer.weights),
        bias=_decode_tensors(layer.bias),
        slope=_decode_tensors(layer.slope),
        bit_depth=BIT_DEPTHS[layer.bit_depth],
        parameter_bit_depth=parameter_bit_depth,
        equalization=tuple(layer.Extensions[ext.equalization]),
        equalization_bound=bound,
        parameter_digest=layer.Extensions[ext.parameter_digest],
    )


def _decode_tensors(tensors: Iterable[pb.TidlTensorQuantParams]) -> tuple[SavedTensor, ...]:
    return tuple(_decode_tensor(tensor) for tensor in tensors)


def _decode_tensor(tensor: pb.TidlTensorQuantParams) -> SavedTensor:
    origin = _ORIGINS[tensor.Extensions[ext.range_origin]]
    is_known = is_known_range(tensor.min, tensor.max)
    low = np.array(tensor.Extensions[ext.channel_min], np.float32)
    high = np.array(tensor.Extensions[ext.channel_max], np.float32)
    return SavedTensor(
        name=tensor.Extensions[ext.tensor_name],
        range=Range(tensor.min, tensor.max, origin) if is_known else None,
        size=tensor.size,
        values=tuple(tensor.value),
        channels=ChannelRanges(low, high, origin) if len(low) else (),
        type=_ELEMENT_TYPES.get(tensor.element_type) if tensor.HasField("element_type") else None,
        scales=tuple(tensor.scale),
        zero_points=tuple(p - (1 << 32) if p >= 1 << 31 else p for p in tensor.zero_point),
        is_float=tensor.element_type == FLOAT_CODE,
    )


def _decode_provenance(provenance: ext.Provenance) -> Provenance:
    return Provenance(
        tool_version=provenance.tool_version,
        graph_fingerprint=provenance.graph_fingerprint,
        scheme=provenance.scheme,
        accuracy_level=provenance.accuracy_level,
        frames=provenance.frames,
        options=tuple((option.key, option.value) for option in provenance.options),
        calibration_method=provenance.calibration_method,
        ingredients=tuple(provenance.ingredients),
    )
