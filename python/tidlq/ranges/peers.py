"""Files of other tools, held against a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidlq.calibration import find_possible_ranges
from tidlq.graph.layers import FunctionAttributes, Layer, LayerKind, SumAttributes
from tidlq.graph.parameters import operand_index
from tidlq.quantproto.peers import PeerFile, PeerRange
from tidlq.ranges.table import RangeTable
from tidlq.spec import ParameterRole, Range, parameter_name

_SHOWN_NAMES = 8
_NEVER_NEGATIVE = frozenset({"Sigmoid", "HardSigmoid", "Relu", "Exp", "Sqrt", "Abs"})
_SPREADING = frozenset(
    {
        LayerKind.MAX_POOL,
        LayerKind.AVERAGE_POOL,
        LayerKind.CONCAT,
        LayerKind.RESHAPE,
        LayerKind.TRANSPOSE,
        LayerKind.SLICE,
        LayerKind.RESIZE,
        LayerKind.CLAMP,
    }
)


@dataclass(frozen=True)
class Taken:
    """What a table took from a file.

    Attributes:
        features, parameters: number of ranges.
        missing: feature maps that still have no range.
        unused: tensors of the file that the network has no use for.
        notices: what the user should know, in plain sentences.
    """

    features: int
    parameters: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    notices: tuple[str, ...]


def take_ranges(table: RangeTable, file: PeerFile) -> Taken:
    """Fills a table with the ranges of a file, by the names that tensors have in the model.

    A magnitude becomes a range from zero where the feature map is never negative, and ends where
    a function's values end. Parameters keep their own range where it lies within the file's.

    Args:
        table: of the network.
        file: what another tool wrote.
    """
    used: set[str] = set()
    features = _take_features(table, file, used)
    parameters = _take_parameters(table, file, used)
    names = [*file.features, *file.parameters]
    unused = tuple(name for name in dict.fromkeys(names) if name not in used)
    return Taken(features, parameters, table.missing, unused, tuple(_notices(table, file, unused)))


def model_names(table: RangeTable) -> Mapping[str, str]:
    """Names that parameters have in the model, by their names in the proto."""
    found = {}
    for layer in table.layers:
        for role, name in _sources(table, layer):
            found[parameter_name(layer.name, role)] = name
    return found


def _take_features(table: RangeTable, file: PeerFile, used: set[str]) -> int:
    possible = find_possible_ranges(table.layers)
    positive = _never_negative(table.layers) if file.is_magnitude else set()
    count = 0
    for tensor in table:
        stated = file.features.get(tensor.name)
        if tensor.role != "feature" or stated is None:
            continue
        known = stated.range
        if tensor.name in positive:
            known = Range(0.0, known.max)
        if file.is_magnitude and tensor.name in possible:
            known = known.clipped(possible[tensor.name])
        table[tensor.name] = known.min, known.max
        if stated.bits is not None:
            table.set_bits(tensor.name, stated.bits)
        used.add(tensor.name)
        count += 1
    # A layer that hands values on has its input's range.
    used |= {x.output for x in table.layers if x.keeps_quantization and x.output in file.features}
    return count


def _take_parameters(table: RangeTable, file: PeerFile, used: set[str]) -> int:
    sources = model_names(table)
    count = 0
    for tensor in table:
        if tensor.role not in ("weight", "slope"):
            continue
        names = [sources.get(tensor.name, tensor.name), tensor.name]
        places = ((part, name) for name in names for part in (file.parameters, file.features))
        found = next(((part[name], name) for part, name in places if name in part), None)
        if found is None or tensor.range is None:
            continue
        stated, name = found
        _set_parameter(table, tensor.name, tensor.range, stated)
        if stated.bits is not None:
            table.set_bits(tensor.name, stated.bits)
        used.add(name)
        count += 1
    return count


def _set_parameter(table: RangeTable, name: str, own: Range, stated: PeerRange) -> None:
    channels = table.own_channels(name)
    if stated.channels and len(stated.channels) == len(channels):
        inside = [x.clipped(y) for x, y in zip(channels, stated.channels, strict=True)]
        table.set_channels(name, [(x.min, x.max) for x in inside])
        return
    known = own.clipped(stated.range)
    table[name] = known.min, known.max


def _sources(table: RangeTable, layer: Layer) -> Iterable[tuple[ParameterRole, str]]:
    """Role and name in the model of each parameter of a layer."""
    index = operand_index(table.graph, layer)
    if index is not None:
        yield ParameterRole.WEIGHT, layer.inputs[index]
    if layer.weight is not None:
        is_slope = layer.kind is LayerKind.PRELU
        yield ParameterRole.SLOPE if is_slope else ParameterRole.WEIGHT, layer.weight
    if layer.bias is not None:
        yield ParameterRole.BIAS, layer.bias


def _never_negative(layers: Iterable[Layer]) -> set[str]:
    """Feature maps whose values cannot be below zero."""
    found: set[str] = set()
    for layer in layers:
        attributes, clamp = layer.attributes, layer.clamp
        is_bounded = clamp is not None and clamp.low is not None and clamp.low >= 0
        is_function = isinstance(attributes, FunctionAttributes) and (
            attributes.function in _NEVER_NEGATIVE
        )
        spreads = layer.kind in _SPREADING or (
            isinstance(attributes, SumAttributes) and min(attributes.signs) > 0
        )
        is_spread = spreads and set(layer.inputs) <= found
        if is_bounded or is_function or layer.kind is LayerKind.SOFTMAX or is_spread:
            found.add(layer.output)
    return found


def _notices(table: RangeTable, file: PeerFile, unused: tuple[str, ...]) -> Iterable[str]:
    if file.is_magnitude:
        yield (
            "The file has magnitudes only: ranges are symmetric, except where the network cannot "
            "be negative."
        )
    if table.missing:
        yield (
            f"The file has no range for {_listed(table.missing)}; 'tidlq compile' with calibration "
            "data finds them and keeps the others."
        )
    if file.left_out:
        yield f"Nothing follows from {_listed(file.left_out)}."
    if unused:
        yield f"The network has no use for {_listed(unused)}."


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} of it: {shown}"
