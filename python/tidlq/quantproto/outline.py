"""A network's layers as a quantization proto lists them, with whatever ranges are known so far."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_values
from tidlq.graph.partition import Partition
from tidlq.quantproto.model import Provenance, SavedLayer, SavedRanges, SavedTensor
from tidlq.quantproto.network_ranges import data_layers, feature_ranges, tidl_type
from tidlq.spec import (
    ParameterRole,
    Precision,
    Range,
    RangeOrigin,
    Ranges,
    parameter_name,
)
from tidlq.target import TidlLayerType

_DIGEST_BYTES = 8


@dataclass(frozen=True)
class OutlineRules:
    """What an outline states besides ranges.

    Attributes:
        symmetric: zero points are 0.
        per_channel: weights have one scale for each output channel.
        precision: bits of features and parameters.
        unquantized: feature maps that stay float32.
        provenance: where the ranges come from.
    """

    symmetric: bool = True
    per_channel: bool = False
    precision: Precision = field(default_factory=Precision)
    unquantized: Collection[str] = ()
    provenance: Provenance | None = None


def outline(
    graph: Graph, partition: Partition, ranges: Ranges, rules: OutlineRules | None = None
) -> SavedRanges:
    """Every layer and tensor that a proto of a network has, without scales.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        ranges: those that are known; features that it lacks are unknown in the outline.
        rules: bits and the like; None: 8 bits, symmetric, per tensor.
    """
    rules = rules or OutlineRules()
    known = feature_ranges(partition, ranges)
    digests = parameter_digests(graph, partition)
    bits = rules.precision.feature_bits
    layers = [
        SavedLayer(
            name,
            TidlLayerType.DATA.value,
            (_feature(graph, tensor, known, rules),),
            bit_depth=bits(tensor),
        )
        for name, tensor in data_layers(partition)
    ]
    for layer in partition.layers:
        weights, bias, slope = _parameters(graph, layer, ranges)
        depth, own = bits(layer.output), rules.precision.parameter_bits(layer.name)
        has_own = bool(weights or slope) and own != depth
        layers.append(
            SavedLayer(
                layer.name,
                tidl_type(layer).value,
                (_feature(graph, layer.output, known, rules),),
                weights,
                bias,
                slope,
                bit_depth=depth,
                parameter_bit_depth=own if has_own else None,
                equalization=ranges.equalization.factors.get(layer.name, ()),
                equalization_bound=ranges.equalization.bounds.get(layer.name),
                parameter_digest=digests.get(layer.name, ""),
            )
        )
    return SavedRanges(tuple(layers), rules.symmetric, rules.per_channel, rules.provenance)


def parameter_digests(graph: Graph, partition: Partition) -> dict[str, str]:
    """Tells the parameters of layers from others: 64 bits (hex) by layer that has any."""
    found = {}
    for layer in partition.layers:
        arrays = _arrays(graph, layer)
        if not arrays:
            continue
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for role, array in arrays.items():
            digest.update(f"{role.value} {array.dtype.str} {array.shape};".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        found[layer.name] = digest.hexdigest()
    return found


def _arrays(graph: Graph, layer: Layer) -> Mapping[ParameterRole, NDArray[np.floating]]:
    """A layer's parameters by role."""
    operand = operand_values(graph, layer)
    if operand is not None:
        return {ParameterRole.WEIGHT: operand}
    if layer.weight is None:
        return {}
    parameters = layer_parameters(graph, layer)
    role = ParameterRole.SLOPE if layer.kind is LayerKind.PRELU else ParameterRole.WEIGHT
    found = {role: parameters.weight}
    return found if parameters.bias is None else {**found, ParameterRole.BIAS: parameters.bias}


def _feature(
    graph: Graph, name: str, known: Mapping[str, Range], rules: OutlineRules
) -> SavedTensor:
    size = math.prod(graph.shape(name) or ())
    is_float = name in rules.unquantized and name not in known
    return SavedTensor(name, known.get(name), size, is_float=is_float)


def _parameters(
    graph: Graph, layer: Layer, ranges: Ranges
) -> tuple[tuple[SavedTensor, ...], tuple[SavedTensor, ...], tuple[SavedTensor, ...]]:
    """Weights, biases and slopes of a layer."""
    found: dict[ParameterRole, tuple[SavedTensor, ...]] = {}
    for role, array in _arrays(graph, layer).items():
        name = parameter_name(layer.name, role)
        if role is ParameterRole.BIAS:
            found[role] = (_bias(name, tuple(array.tolist()), ranges),)
            continue
        channels = tuple(ranges.channels.get(name, ()))
        decided = any(channel.origin is not RangeOrigin.PARAMETER for channel in channels)
        tensor = SavedTensor(
            name, ranges.parameters.get(name), array.size, channels=channels if decided else ()
        )
        found[role] = (tensor,)
    name = parameter_name(layer.name, ParameterRole.BIAS)
    if name in ranges.biases and ParameterRole.BIAS not in found:
        found[ParameterRole.BIAS] = (_bias(name, (), ranges),)
    return (
        found.get(ParameterRole.WEIGHT, ()),
        found.get(ParameterRole.BIAS, ()),
        found.get(ParameterRole.SLOPE, ()),
    )


def _bias(name: str, own: tuple[float, ...], ranges: Ranges) -> SavedTensor:
    values = tuple(ranges.biases.get(name, own))
    known = ranges.parameters.get(name)
    span = Range(min(values), max(values), RangeOrigin.MEASURED)
    if known is not None and (known.min, known.max) == (span.min, span.max):
        span = known
    return SavedTensor(name, span, len(values), values)
