"""Groups of layers that must share a precision, and the states that a group can be in.

Features are joined over the layers whose inputs and outputs have one precision; what is left apart
can be chosen freely. A choice of states is therefore a legal precision, whatever it is.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import operand_index
from tidlq.graph.partition import Partition, StageKind
from tidlq.spec import Precision
from tidlq.target import Device

_CHANGING = frozenset(
    {
        LayerKind.CONVOLUTION,
        LayerKind.BATCH_NORM,
        LayerKind.AVERAGE_POOL,
        LayerKind.SUM,
        LayerKind.PRODUCT,
        LayerKind.DIVISION,
        LayerKind.POWER,
        LayerKind.EXTREMUM,
        LayerKind.REDUCTION,
        LayerKind.FUNCTION,
        LayerKind.CLAMP,
        LayerKind.PRELU,
    }
)
"""Kinds whose inputs and output may have different precisions: TIDL's convolution, batch-norm,
pooling other than max (reductions that do not select are such), and element-wise layers."""

_FLOAT_OUTPUT = frozenset({LayerKind.SOFTMAX})
"""Kinds that write float in TIDL, so that their output says nothing about their input."""


class GroupState(enum.Enum):
    """Bits of a group's features and of the parameters of the layers that write them.

    NARROW: both 8. WIDE_PARAMETERS: features 8, parameters 16. WIDE: both 16.
    """

    NARROW = "8/8"
    WIDE_PARAMETERS = "8/16"
    WIDE = "16/16"

    @property
    def feature_bits(self) -> int:
        """Bits of the features."""
        return 16 if self is GroupState.WIDE else 8

    @property
    def parameter_bits(self) -> int:
        """Bits of the parameters."""
        return 8 if self is GroupState.NARROW else 16


@dataclass(frozen=True)
class PrecisionGroup:
    """Layers that share a precision.

    Attributes:
        name: its first layer's, or the tensor's where it is the input of a stage; unique.
        layers: layers that write its features, in execution order.
        features: feature maps, in execution order.
        parameters: those of its layers that have parameters.
        states: what it can be in, from the cheapest on; NARROW first.
    """

    name: str
    layers: tuple[str, ...]
    features: tuple[str, ...]
    parameters: tuple[str, ...]
    states: tuple[GroupState, ...]


def find_precision_groups(
    graph: Graph, partition: Partition, device: Device | None = None
) -> tuple[PrecisionGroup, ...]:
    """The groups of a network, in execution order of their first feature map.

    Every feature map of the fixed-point stages is in one group, and so is every layer.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        device: restricts the states: some have no 16-bit deconvolution.
    """
    joined = _joined_features(graph, partition)
    writers = {layer.output: layer for layer in partition.layers}
    groups: list[PrecisionGroup] = []
    names: set[str] = {layer.name for layer in partition.layers}
    for features in joined:
        layers = tuple(writers[name] for name in features if name in writers)
        parameters = tuple(layer.name for layer in layers if has_parameters(graph, layer))
        name = layers[0].name if layers else _free_name(features[0], names)
        names.add(name)
        groups.append(
            PrecisionGroup(
                name,
                tuple(layer.name for layer in layers),
                features,
                parameters,
                _states(layers, bool(parameters), device),
            )
        )
    return tuple(groups)


def precision_of_states(
    groups: Iterable[PrecisionGroup], states: Mapping[str, GroupState]
) -> Precision:
    """The precision of groups in given states, 8 bits elsewhere; legal by construction.

    Args:
        groups: of a network.
        states: by a group's name; a group that is not listed is NARROW.

    Raises:
        ValueError: A group cannot be in its state, or a name is no group's.
    """
    features: dict[str, int] = {}
    parameters: dict[str, int] = {}
    known: set[str] = set()
    for group in groups:
        known.add(group.name)
        state = states.get(group.name, GroupState.NARROW)
        if state not in group.states:
            allowed = ", ".join(possible.value for possible in group.states)
            raise ValueError(f"group {group.name!r} cannot be {state.value}, only {allowed}")
        if state.feature_bits == 16:
            features |= dict.fromkeys(group.features, 16)
        if state.parameter_bits == 16:
            parameters |= dict.fromkeys(group.parameters, 16)
    if unknown := sorted(states.keys() - known):
        raise ValueError(f"no group is called {unknown[0]!r}")
    return Precision(8, features, parameters)


def joined_precision(first: Precision, second: Precision) -> Precision:
    """The wider bits of two precisions of one network.

    Args:
        first: gives the default.
        second: of the same default, or 8 where it lists nothing.
    """
    features = {x: max(first.feature_bits(x), second.feature_bits(x)) for x in second.features}
    depth = {x: max(first.parameter_bits(x), second.parameter_bits(x)) for x in second.parameters}
    return Precision(first.default, {**first.features, **features}, {**first.parameters, **depth})


def has_parameters(graph: Graph, layer: Layer) -> bool:
    """Whether a layer has a weight, a slope or a constant operand to quantize."""
    return layer.weight is not None or operand_index(graph, layer) is not None


def is_of_one_precision(layer: Layer) -> bool:
    """Whether a layer's inputs and output must have the same bits."""
    if layer.keeps_quantization:
        return True
    return layer.kind not in _CHANGING and layer.kind not in _FLOAT_OUTPUT


def _joined_features(graph: Graph, partition: Partition) -> list[tuple[str, ...]]:
    """Feature maps by group: union-find over the layers of one precision."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for name in _features(graph, partition):
        parent[name] = name
    for layer in partition.layers:
        if is_of_one_precision(layer) and not layer.writes_positions:
            for name in layer.inputs:
                if name in parent:
                    parent[root(name)] = root(layer.output)
    members: dict[str, list[str]] = {}
    for name in parent:
        members.setdefault(root(name), []).append(name)
    return [tuple(names) for names in members.values()]


def _features(graph: Graph, partition: Partition) -> Iterator[str]:
    """Feature maps of the fixed-point stages, in execution order."""
    for stage in partition.stages:
        if stage.kind is StageKind.FIXED:
            yield from (name for name in stage.inputs if graph.constant(name) is None)
            yield from (x.output for x in stage.layers if not x.writes_positions)


def _states(
    layers: Iterable[Layer], are_parameters: bool, device: Device | None
) -> tuple[GroupState, ...]:
    is_deconvolved = any(layer.kind is LayerKind.TRANSPOSED_CONVOLUTION for layer in layers)
    if is_deconvolved and device is not None and not device.facts.deconvolution_16bit:
        return (GroupState.NARROW,)
    if are_parameters:
        return tuple(GroupState)
    return (GroupState.NARROW, GroupState.WIDE)


def _free_name(tensor: str, taken: set[str]) -> str:
    """A tensor's name, told apart where a layer has the same."""
    name = tensor
    while name in taken:
        name += " (input)"
    return name
