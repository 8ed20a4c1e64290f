"""What is wrong inside a quantization proto: every fault of a message, in one pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tidlq.errors import nearest_names
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext
from tidlq.quantproto.codec import BIT_DEPTHS, FLOAT_CODE, is_known_range
from tidlq.target.tidl_layers import TidlLayerType

ROLES = ("outputs", "weights", "bias", "slope")

Place = tuple[str | int, ...]
"""Where in a message something stands: ("layers", 3, "outputs", 0, "min")."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a message.

    Attributes:
        place: in the message.
        text: a phrase that names the layer and the tensor.
    """

    place: Place
    text: str


def find_faults(net: pb.TIDLNetQuantParams) -> list[Fault]:
    """Returns everything that keeps a message from being read."""
    return list(_net_faults(net))


def find_gaps(net: pb.TIDLNetQuantParams) -> list[Fault]:
    """Returns what keeps a readable message from replacing calibration, or from TI's tools."""
    return list(_gaps(net))


def _net_faults(net: pb.TIDLNetQuantParams) -> Iterator[Fault]:
    yield from _unknown_fields(net, (), "file")
    if not net.layers:
        yield Fault((), "the file has no layers")
    if net.num_layers != len(net.layers):
        text = f"num_layers is {net.num_layers}, but the file has {len(net.layers)} layers"
        yield Fault(("num_layers",), text)
    if net.HasExtension(ext.provenance):
        place = (_extension("provenance"),)
        yield from _string_faults(net.Extensions[ext.provenance], place, "provenance")
    names = Counter(layer.layer_name for layer in net.layers)
    for index, layer in enumerate(net.layers):
        count = names.pop(layer.layer_name, 1)
        if count > 1 and layer.layer_name:
            text = f"{count} layers have the name {layer.layer_name!r}; layer names are unique"
            yield Fault(("layers", index, "layer_name"), text)
        yield from _layer_faults(layer, ("layers", index))


def _layer_faults(layer: pb.TidlLayerQuantParams, place: Place) -> Iterator[Fault]:
    where = _layer_name(layer, place)
    yield from _unknown_fields(layer, place, where)
    yield from _string_faults(layer, place, where)
    if not layer.layer_name:
        yield Fault(place, f"{where}: layer_name is missing")
    depths: dict[str, tuple[str, int]] = {"bit_depth": ("bit_depth", layer.bit_depth)}
    if layer.HasExtension(ext.parameter_bit_depth):
        name = "parameter_bit_depth"
        depths[name] = (_extension(name), layer.Extensions[ext.parameter_bit_depth])
    for name, (field, depth) in depths.items():
        if depth not in BIT_DEPTHS:
            text = f"{where}: {name} is {depth}; it is 8 or 16 (or 1 or 2, in bytes)"
            yield Fault((*place, field), text)
    yield from _equalization_faults(layer, place, where)
    for at, name, tensor in _tensors(layer, place, where):
        yield from _tensor_faults(tensor, at, name)


def _equalization_faults(
    layer: pb.TidlLayerQuantParams, place: Place, where: str
) -> Iterator[Fault]:
    for index, factor in enumerate(layer.Extensions[ext.equalization]):
        if not (math.isfinite(factor) and factor > 0):
            text = f"{where}: equalization[{index}] is {factor}; it must be finite and positive"
            yield Fault((*place, _extension("equalization"), index), text)
            break
    if layer.HasExtension(ext.equalization_bound):
        at = (*place, _extension("equalization_bound"))
        bound = layer.Extensions[ext.equalization_bound]
        if not (math.isfinite(bound) and bound > 0):
            text = f"{where}: equalization_bound is {bound}; it must be finite and positive"
            yield Fault(at, text)
        if not layer.Extensions[ext.equalization]:
            yield Fault(at, f"{where}: equalization_bound stands without equalization")


def _tensor_faults(tensor: pb.TidlTensorQuantParams, place: Place, where: str) -> Iterator[Fault]:
    yield from _unknown_fields(tensor, place, where)
    yield from _string_faults(tensor, place, where)
    yield from _bound_faults(tensor.min, tensor.max, (*place, "min"), where)
    lows, highs = tensor.Extensions[ext.channel_min], tensor.Extensions[ext.channel_max]
    at = (*place, _extension("channel_min"))
    if len(lows) != len(highs):
        text = f"{where}: {len(lows)} values of channel_min, but {len(highs)} of channel_max"
        yield Fault(at, text)
    for channel in _unsound_bounds(lows, highs):
        low, high = lows[channel], highs[channel]
        yield from _bound_faults(low, high, (*at, channel), f"{where}, channel {channel}")
    if tensor.value and len(tensor.value) != tensor.size:
        text = f"{where}: {len(tensor.value)} values, but size is {tensor.size}"
        yield Fault((*place, "value"), text)
    yield from _infinite(tensor.value, (*place, "value"), f"{where}, value")
    yield from _infinite(tensor.scale, (*place, "scale"), f"{where}, scale")


def _unsound_bounds(lows: Sequence[float], highs: Sequence[float]) -> list[int]:
    """Where two bounds are no range."""
    count = min(len(lows), len(highs))
    low, high = np.array(lows[:count]), np.array(highs[:count])
    is_sound = np.isfinite(low) & np.isfinite(high) & (low <= high)
    return np.flatnonzero(~is_sound).tolist()


def _bound_faults(low: float, high: float, place: Place, where: str) -> Iterator[Fault]:
    if not (math.isfinite(low) and math.isfinite(high)):
        yield Fault(place, f"{where}: the range [{low}, {high}] is not finite")
    elif low > high:
        yield Fault(place, f"{where}: min {low} is above max {high}")


def _infinite(values: Sequence[float], place: Place, where: str) -> Iterator[Fault]:
    bad = np.flatnonzero(~np.isfinite(np.array(values))).tolist()
    if bad:
        text = f"{where}[{bad[0]}] is {values[bad[0]]}; it must be finite"
        yield Fault((*place, bad[0]), text)


def _unknown_fields(message: Message, place: Place, where: str) -> Iterator[Fault]:
    fields = UnknownFieldSet(message)
    numbers = sorted({fields[index].field_number for index in range(len(fields))})
    if numbers:
        yield Fault(place, f"{where}: unknown field numbers {', '.join(map(str, numbers))}")


def _string_faults(message: Message, place: Place, where: str) -> Iterator[Fault]:
    # The binary parser leaves a string that is not UTF-8 as bytes.
    for field, value in message.ListFields():
        at = (*place, _extension(field.name) if field.is_extension else field.name)
        if field.type == field.TYPE_STRING:
            texts = value if isinstance(value, (str, bytes)) else list(value)
            if any(isinstance(x, bytes) for x in (texts if isinstance(texts, list) else [texts])):
                yield Fault(at, f"{where}: {field.name} is not UTF-8 text")
        elif field.type == field.TYPE_MESSAGE and field.name == "options":
            for option in value:
                yield from _string_faults(option, at, f"{where}, options")


def _gaps(net: pb.TIDLNetQuantParams) -> Iterator[Fault]:
    published = [kind.value for kind in TidlLayerType]
    for index, layer in enumerate(net.layers):
        at: Place = ("layers", index)
        where = _layer_name(layer, at)
        if layer.layer_type not in published:
            hint = nearest_names(layer.layer_type, published)
            text = f"{where}: layer_type {layer.layer_type!r} is not a TIDL layer type.{hint}"
            yield Fault((*at, "layer_type"), text)
        if not layer.outputs:
            yield Fault(at, f"{where}: no outputs")
        for place, name, tensor in _tensors(layer, at, where):
            is_float = tensor.element_type == FLOAT_CODE
            if not (is_float or is_known_range(tensor.min, tensor.max)):
                yield Fault(place, f"{name}: the range is not known")
        for position, bias in enumerate(layer.bias):
            if len(bias.value) == 0:
                text = f"{where}, bias[{position}]: no values, but size is {bias.size}"
                yield Fault((*at, "bias", position), text)


def _layer_name(layer: pb.TidlLayerQuantParams, place: Place) -> str:
    return f"layer {layer.layer_name!r}" if layer.layer_name else f"layer {place[-1]}"


def _tensors(
    layer: pb.TidlLayerQuantParams, place: Place, where: str
) -> Iterator[tuple[Place, str, pb.TidlTensorQuantParams]]:
    for role in ROLES:
        for position, tensor in enumerate(getattr(layer, role)):
            yield (*place, role, position), f"{where}, {role}[{position}]", tensor


def _extension(name: str) -> str:
    """An extension as places name it."""
    return f"[{ext.DESCRIPTOR.package}.{name}]"
