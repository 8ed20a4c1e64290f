"""What is wrong inside a quantization proto: every fault of a message, in one pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tidlq.errors import nearest_names
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext
from tidlq.quantproto.codec import BIT_DEPTHS, FLOAT_CODE, is_known_range
from tidlq.target.tidl_layers import TidlLayerType

ROLES = ("outputs", "weights", "bias", "slope")


def find_faults(net: pb.TIDLNetQuantParams) -> list[str]:
    """Returns everything that keeps a message from being read, one sentence each."""
    return list(_net_faults(net))


def find_gaps(net: pb.TIDLNetQuantParams) -> list[str]:
    """Returns what keeps a readable message from replacing calibration, or from TI's tools."""
    return list(_gaps(net))


def _net_faults(net: pb.TIDLNetQuantParams) -> Iterator[str]:
    yield from _unknown_fields(net, "file")
    if not net.layers:
        yield "the file has no layers"
    if net.num_layers != len(net.layers):
        yield f"num_layers is {net.num_layers}, but the file has {len(net.layers)} layers"
    if net.HasExtension(ext.provenance):
        yield from _string_faults(net.Extensions[ext.provenance], "provenance")
    names = Counter(layer.layer_name for layer in net.layers)
    for name, count in names.items():
        if count > 1 and name:
            yield f"{count} layers have the name {name!r}; layer names are unique"
    for index, layer in enumerate(net.layers):
        yield from _layer_faults(layer, index)


def _layer_faults(layer: pb.TidlLayerQuantParams, index: int) -> Iterator[str]:
    where = _layer_place(layer, index)
    yield from _unknown_fields(layer, where)
    yield from _string_faults(layer, where)
    if not layer.layer_name:
        yield f"{where}: layer_name is missing"
    depths = {"bit_depth": layer.bit_depth}
    if layer.HasExtension(ext.parameter_bit_depth):
        depths["parameter_bit_depth"] = layer.Extensions[ext.parameter_bit_depth]
    for field, depth in depths.items():
        if depth not in BIT_DEPTHS:
            yield f"{where}: {field} is {depth}; it is 8 or 16 (or 1 or 2, in bytes)"
    for index, factor in enumerate(layer.Extensions[ext.equalization]):
        if not (math.isfinite(factor) and factor > 0):
            yield f"{where}: equalization[{index}] is {factor}; it must be finite and positive"
            break
    if layer.HasExtension(ext.equalization_bound):
        bound = layer.Extensions[ext.equalization_bound]
        if not (math.isfinite(bound) and bound > 0):
            yield f"{where}: equalization_bound is {bound}; it must be finite and positive"
        if not layer.Extensions[ext.equalization]:
            yield f"{where}: equalization_bound stands without equalization"
    for place, tensor in _tensors(layer, where):
        yield from _tensor_faults(tensor, place)


def _tensor_faults(tensor: pb.TidlTensorQuantParams, where: str) -> Iterator[str]:
    yield from _unknown_fields(tensor, where)
    yield from _string_faults(tensor, where)
    yield from _bound_faults(tensor.min, tensor.max, where)
    lows, highs = tensor.Extensions[ext.channel_min], tensor.Extensions[ext.channel_max]
    if len(lows) != len(highs):
        yield f"{where}: {len(lows)} values of channel_min, but {len(highs)} of channel_max"
    for channel, (low, high) in enumerate(zip(lows, highs, strict=False)):
        yield from _bound_faults(low, high, f"{where}, channel {channel}")
    if tensor.value and len(tensor.value) != tensor.size:
        yield f"{where}: {len(tensor.value)} values, but size is {tensor.size}"
    yield from _infinite(tensor.value, f"{where}, value")
    yield from _infinite(tensor.scale, f"{where}, scale")


def _bound_faults(low: float, high: float, where: str) -> Iterator[str]:
    if not (math.isfinite(low) and math.isfinite(high)):
        yield f"{where}: the range [{low}, {high}] is not finite"
    elif low > high:
        yield f"{where}: min {low} is above max {high}"


def _infinite(values: Sequence[float], where: str) -> Iterator[str]:
    bad = [index for index, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        yield f"{where}[{bad[0]}] is {values[bad[0]]}; it must be finite"


def _unknown_fields(message: Message, where: str) -> Iterator[str]:
    fields = UnknownFieldSet(message)
    numbers = sorted({fields[index].field_number for index in range(len(fields))})
    if numbers:
        yield f"{where}: unknown field numbers {', '.join(map(str, numbers))}"


def _string_faults(message: Message, where: str) -> Iterator[str]:
    # The binary parser leaves a string that is not UTF-8 as bytes.
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING and isinstance(value, bytes):
            yield f"{where}: {field.name} is not UTF-8 text"
        elif field.type == field.TYPE_STRING and field.name == "ingredients":
            if any(isinstance(name, bytes) for name in value):
                yield f"{where}: {field.name} is not UTF-8 text"
        elif field.type == field.TYPE_MESSAGE and field.name == "options":
            for option in value:
                yield from _string_faults(option, f"{where}, options")


def _gaps(net: pb.TIDLNetQuantParams) -> Iterator[str]:
    published = [kind.value for kind in TidlLayerType]
    for index, layer in enumerate(net.layers):
        where = _layer_place(layer, index)
        if layer.layer_type not in published:
            hint = nearest_names(layer.layer_type, published)
            yield f"{where}: layer_type {layer.layer_type!r} is not a TIDL layer type.{hint}"
        if not layer.outputs:
            yield f"{where}: no outputs"
        for place, tensor in _tensors(layer, where):
            is_float = tensor.element_type == FLOAT_CODE
            if not (is_float or is_known_range(tensor.min, tensor.max)):
                yield f"{place}: the range is not known"
        for position, bias in enumerate(layer.bias):
            if len(bias.value) == 0:
                yield f"{where}, bias[{position}]: no values, but size is {bias.size}"


def _layer_place(layer: pb.TidlLayerQuantParams, index: int) -> str:
    return f"layer {layer.layer_name!r}" if layer.layer_name else f"layer {index}"


def _tensors(
    layer: pb.TidlLayerQuantParams, where: str
) -> Iterator[tuple[str, pb.TidlTensorQuantParams]]:
    for role in ROLES:
        for position, tensor in enumerate(getattr(layer, role)):
            yield f"{where}, {role}[{position}]", tensor
