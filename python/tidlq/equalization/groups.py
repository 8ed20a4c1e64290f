"""Feature maps whose channels can be rescaled together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tidlq.equalization.gates import Gates, find_gates
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.layers import (
    BatchNormAttributes,
    FunctionAttributes,
    InnerProductAttributes,
    Layer,
    LayerKind,
    PadAttributes,
    PadMode,
    PoolAttributes,
)
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_index
from tidlq.graph.partition import Partition, StageKind

CHANNEL_AXIS = 1
_SHARING = frozenset({LayerKind.CLAMP, LayerKind.RESIZE, LayerKind.PRELU})


@dataclass(frozen=True)
class ChannelGroup:
    """Feature maps that one factor per channel can divide without changing the network.

    Attributes:
        tensors: the feature maps, each [N, channels, ...].
        channels: number of channels.
        producers: layers with a weight that write them.
        consumers: layers with a weight that read them.
        clipped: producers whose output is clipped from above (ReLU6); they are all of one bound.
        bound: that bound, or None.
        shifted: sums with a constant, which the factors divide.
        restored: layers that need a tensor of the group as it was, each with that tensor.
    """

    tensors: tuple[str, ...]
    channels: int
    producers: tuple[Layer, ...]
    consumers: tuple[Layer, ...]
    clipped: tuple[Layer, ...] = ()
    bound: float | None = None
    shifted: tuple[Layer, ...] = ()
    restored: tuple[tuple[Layer, str], ...] = ()

    @property
    def is_scaled(self) -> bool:
        """Its feature maps differ by more than what moves, pools or clamps."""
        return bool(self.restored or self.shifted)


def is_read_by_channel(graph: Graph, group: ChannelGroup) -> bool:
    """A depthwise layer reads it: with a weight scale per channel, any factors suit that one."""
    weights = ((x, layer_parameters(graph, x).weight) for x in group.consumers)
    return any(in_taps(weight).shape[1] == 1 < group_count(x, weight) for x, weight in weights)


def find_channel_groups(graph: Graph, partition: Partition) -> tuple[ChannelGroup, ...]:
    """Finds every group between layers with weights, in execution order.

    A group ends at convolutions, matrix products and batch-norms, and passes through whatever
    commutes with a positive factor per channel: ReLU, PReLU, LeakyReLU, sums, pools, resizes,
    zero padding. What the world outside a fixed stage sees is left alone.
    """
    joints = _Joints()
    restored: dict[str, str] = {}
    for stage in partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        for name in (*stage.inputs, *stage.outputs):
            joints.block(name)
        gates = find_gates(graph, stage.layers)
        restored |= gates.restored
        for layer in stage.layers:
            _visit(graph, layer, joints, gates)
    layers = partition.layers
    found = (_group(graph, layers, restored, tensors) for tensors in joints.free_sets())
    return tuple(group for group in found if group is not None)


def _visit(graph: Graph, layer: Layer, joints: _Joints, gates: Gates) -> None:
    variable = [name for name in layer.inputs if graph.constant(name) is None]
    for name in (*variable, layer.output):
        joints.add(name)
    if layer.name in gates.restored:
        joints.block(layer.output)
        return
    if layer.clamp is not None and layer.clamp.low not in (None, 0.0):
        joints.block(layer.output)
    if layer.kind.has_weight:
        if not _has_channels(graph, layer):
            joints.block(*variable, layer.output)
    elif layer.name in gates.carriers:
        carrier = gates.carriers[layer.name]
        joints.join(carrier, layer.output)
        joints.block(*(name for name in variable if name != carrier))
    elif _is_transparent(graph, layer):
        for name in variable:
            joints.join(name, layer.output)
    else:
        joints.block(*variable, layer.output)


def _has_channels(graph: Graph, layer: Layer) -> bool:
    """Input and output have their channels along `CHANNEL_AXIS`, and so has the stored weight."""
    if layer.kind is LayerKind.TRANSPOSED_CONVOLUTION:
        return False
    if isinstance(layer.attributes, BatchNormAttributes):
        return True
    shape = graph.shape(layer.output) or ()
    return not isinstance(layer.attributes, InnerProductAttributes) or len(shape) == 2


def _is_transparent(graph: Graph, layer: Layer) -> bool:
    """A positive factor per channel may be moved from the layer's input to its output."""
    source, target = graph.shape(layer.inputs[0]) or (), graph.shape(layer.output) or ()
    attributes = layer.attributes
    if isinstance(attributes, FunctionAttributes):
        return attributes.function == "LeakyRelu" and attributes.is_plain
    if isinstance(attributes, PadAttributes):
        is_zero = attributes.mode is not PadMode.CONSTANT or attributes.value == 0
        leading = (*attributes.begin[: CHANNEL_AXIS + 1], *attributes.end[: CHANNEL_AXIS + 1])
        return is_zero and not any(leading)
    if isinstance(attributes, PoolAttributes):
        return CHANNEL_AXIS not in attributes.window.axes
    if layer.kind is LayerKind.DIVISION:
        return False
    if operand_index(graph, layer) is not None:
        return _has_fitting_operand(graph, layer)
    if layer.kind is LayerKind.SUM:
        return all(graph.constant(n) is None and graph.shape(n) == target for n in layer.inputs)
    if layer.kind is LayerKind.RESHAPE:
        is_flat = math.prod(source[2:]) == 1 == math.prod(target[2:])
        return len(source) >= 2 and source[:2] == target[:2] and is_flat
    return layer.kind in _SHARING and len(target) >= 2


def _has_fitting_operand(graph: Graph, layer: Layer) -> bool:
    """A constant that multiplies, or one that is added and has at most a value per channel."""
    target = graph.shape(layer.output) or ()
    index = operand_index(graph, layer)
    if index is None or len(target) < 2 or len(layer.inputs) != 2:
        return False
    if graph.shape(layer.inputs[1 - index]) != target:
        return False
    given = graph.shape(layer.inputs[index]) or ()
    shape = (1,) * (len(target) - len(given)) + given
    places = shape[:CHANNEL_AXIS] + shape[CHANNEL_AXIS + 1 :]
    return layer.kind is LayerKind.PRODUCT or all(size == 1 for size in places)


def _group(
    graph: Graph,
    layers: Sequence[Layer],
    restored: Mapping[str, str],
    tensors: frozenset[str],
) -> ChannelGroup | None:
    writing = [layer for layer in layers if layer.output in tensors]
    producers = tuple(layer for layer in writing if layer.kind.has_weight)
    consumers = tuple(x for x in layers if x.kind.has_weight and x.inputs[0] in tensors)
    bounded = [
        layer for layer in writing if layer.clamp is not None and layer.clamp.high is not None
    ]
    bounds = {layer.clamp.high for layer in bounded if layer.clamp is not None}
    is_plain = all(_is_plain_clip(layer) for layer in bounded)
    if not producers or not consumers or len(bounds) > 1 or not is_plain:
        return None
    names = tuple(name for name in graph.values if name in tensors)
    sums = (layer for layer in writing if layer.kind is LayerKind.SUM)
    channels = (graph.shape(names[0]) or (0, 0))[CHANNEL_AXIS]
    return ChannelGroup(
        names,
        channels,
        producers,
        consumers,
        tuple(bounded),
        bounds.pop() if bounds else None,
        tuple(x for x in sums if operand_index(graph, x) is not None),
        tuple((x, restored[x.name]) for x in layers if restored.get(x.name) in tensors),
    )


def _is_plain_clip(layer: Layer) -> bool:
    """A convolution with a clip to [0, high] behind it: what `rewrite` can bound per channel."""
    clamp = layer.clamp
    if layer.kind is not LayerKind.CONVOLUTION or clamp is None or clamp.high is None:
        return False
    return clamp.low == 0.0 < clamp.high


class _Joints:
    """Disjoint sets of tensors; a blocked tensor blocks its whole set."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.blocked: set[str] = set()

    def add(self, name: str) -> None:
        self.parent.setdefault(name, name)

    def root(self, name: str) -> str:
        self.add(name)
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self.parent[self.root(one)] = self.root(other)

    def block(self, *names: str) -> None:
        for name in names:
            self.add(name)
            self.blocked.add(name)

    def free_sets(self) -> Iterable[frozenset[str]]:
        members: dict[str, list[str]] = {}
        for name in self.parent:
            members.setdefault(self.root(name), []).append(name)
        taken = {self.root(name) for name in self.blocked}
        return [frozenset(names) for root, names in members.items() if root not in taken]
