"""Bits and signs of features and parameters, as the options ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tidlq.errors import OptionError, nearest_names
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind
from tidlq.precision.groups import (
    GroupState,
    PrecisionGroup,
    find_precision_groups,
    has_parameters,
)
from tidlq.precision.wide_features import with_wide_features
from tidlq.spec import Precision
from tidlq.target import Options, TidlLayerType, is_asymmetric

_PARAMETERS = "advanced_options:params_16bit_names_list"
_FEATURES = "advanced_options:output_feature_16bit_names_list"
_SHOWN_NAMES = 6


@dataclass(frozen=True)
class Assignment:
    """A precision, and what asking for it took along.

    Attributes:
        precision: bits of features and parameters.
        asked: layers, or inputs of stages, whose features were asked to have 16 bits.
        taken_along: layers, or inputs of stages, that share a precision with one of them.
        notices: what the user should know, in plain sentences.
    """

    precision: Precision
    asked: tuple[str, ...] = ()
    taken_along: tuple[str, ...] = ()
    notices: tuple[str, ...] = field(default=())


def precision_of(options: Options, graph: Graph, partition: Partition) -> Precision:
    """The precision that the options ask for; `assign_precision` says how."""
    return assign_precision(options, graph, partition).precision


def assign_precision(options: Options, graph: Graph, partition: Partition) -> Assignment:
    """The precision that the options ask for: `tensor_bits` everywhere but in the named layers.

    A layer whose output features have 16 bits has 16-bit parameters too, and so have all the layers
    that share its precision (`tidlq.precision.groups`). Where no device is named, what stands in
    front of an activation, or only leaves from one of several heads, has 16 bits, unless that is
    left out.

    Args:
        options: `tensor_bits` 8 or 16, `output_feature_16bit_names_list` and
            `params_16bit_names_list`: layers by their name or their first output's name, or
            `start:end` for all layers from one to another in the order of the model. The first
            list also takes inputs of the network.
        graph: the canonical Graph.
        partition: its stages.

    Raises:
        OptionError: A name is not a layer's, or the layer runs in float, or is to have 16-bit
            parameters and has none; or the device does not have its layers in 16 bits.
    """
    groups = find_precision_groups(graph, partition, options.device)
    names = _Names(graph, partition)
    parameters = {layer.name: layer for layer in _with_parameters(names, options, graph)}
    asked = names.features(options.output_feature_16bit_names_list)
    wide = [group for group in groups if not asked.keys().isdisjoint(group.features)]
    for group in groups:
        if group in wide or not parameters.keys().isdisjoint(group.layers):
            option = _FEATURES if group in wide else _PARAMETERS
            _check_device(group, options, option)
    bits: dict[str, int] = {name: 16 for group in wide for name in group.features}
    depth = dict.fromkeys(parameters, 16)
    depth |= {name: 16 for group in wide for name in group.parameters}
    notices: tuple[str, ...] = ()
    if options.tensor_bits == 16:
        bits, depth, notices = _where_offered(groups, bits, depth, options)
    precision = Precision(options.tensor_bits, dict(sorted(bits.items())), depth)
    if options.tensor_bits == 8 and options.device is None:
        precision = with_wide_features(precision, graph, partition, options.left_out)
    taken = _taken_along(wide, asked)
    if taken:
        notices = (*notices, _taken_notice(wide, asked))
    return Assignment(precision, tuple(asked.values()), taken, notices)


def _with_parameters(names: _Names, options: Options, graph: Graph) -> Iterator[Layer]:
    """Layers whose parameters alone are to have 16 bits."""
    for entry in options.params_16bit_names_list:
        found = names.layers(_PARAMETERS, entry)
        fitting = [layer for layer in found if has_parameters(graph, layer)]
        if not fitting and len(found) == 1:
            raise OptionError(
                f"option {_PARAMETERS!r} names layer {found[0].name!r} ({found[0].op_type}), which "
                "has no parameters."
            )
        if not fitting:
            raise OptionError(
                f"option {_PARAMETERS!r} names {entry!r}, where no layer has parameters."
            )
        yield from fitting


def _check_device(group: PrecisionGroup, options: Options, option: str) -> None:
    if GroupState.WIDE in group.states:
        return
    assert options.device is not None
    raise OptionError(
        f"option {option!r} asks for 16 bits in {group.name!r}, which shares its precision with a "
        f"deconvolution; {options.device.value} has 8-bit deconvolution only."
    )


def _where_offered(
    groups: Iterable[PrecisionGroup],
    features: Mapping[str, int],
    parameters: Mapping[str, int],
    options: Options,
) -> tuple[dict[str, int], dict[str, int], tuple[str, ...]]:
    """Bits of an all-16-bit network, with 8 where the device has no others."""
    narrow = [group for group in groups if GroupState.WIDE not in group.states]
    bits = {**features, **{name: 8 for group in narrow for name in group.features}}
    depth = {**parameters, **{name: 8 for group in narrow for name in group.parameters}}
    if not narrow:
        return bits, depth, ()
    assert options.device is not None
    layers = [name for group in narrow for name in group.layers]
    notice = (
        f"{options.device.value} has 8-bit deconvolution only, so these layers stay at 8 bits: "
        f"{_listed(layers)}."
    )
    return bits, depth, (notice,)


def _members(group: PrecisionGroup) -> tuple[str, ...]:
    return group.layers or group.features


def _taken_along(groups: Sequence[PrecisionGroup], asked: Mapping[str, str]) -> tuple[str, ...]:
    names = set(asked.values())
    return tuple(name for group in groups for name in _members(group) if name not in names)


def _taken_notice(groups: Sequence[PrecisionGroup], asked: Mapping[str, str]) -> str:
    """What was taken along, by the first group that took something."""
    names = set(asked.values())
    texts = [
        f"{_listed(rest)} with {_listed([x for x in _members(group) if x in names])}"
        for group in groups
        if (rest := [name for name in _members(group) if name not in names])
    ]
    more = f"; and so on in {len(texts) - 3} more groups" if len(texts) > 3 else ""
    return (
        "Layers that share a precision have 16 bits together, which takes along "
        f"{'; '.join(texts[:3])}{more}."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN_NAMES]))
    more = len(names) - _SHOWN_NAMES
    return shown + (f" and {more} more" if more > 0 else "")


def asymmetry_of(options: Options) -> Callable[[LayerKind | None], bool]:
    """The device's restriction of asymmetric features, by kind of layer."""
    types = {
        LayerKind.CONVOLUTION: TidlLayerType.CONVOLUTION,
        LayerKind.INNER_PRODUCT: TidlLayerType.INNER_PRODUCT,
        LayerKind.CONCAT: TidlLayerType.CONCAT,
        LayerKind.SUM: TidlLayerType.ELTWISE,
        LayerKind.SOFTMAX: TidlLayerType.SOFTMAX,
    }
    return lambda kind: (
        options.device is None or (kind in types and is_asymmetric(types[kind], options.device))
    )


class _Names:
    """What the entries of a list mean."""

    def __init__(self, graph: Graph, partition: Partition) -> None:
        self._by_name = _layers_by_name(graph, partition)
        self._floats = {
            name: node.name
            for node in partition.float_nodes
            for name in (*node.outputs[:1], node.name)
        }
        position = {node.name or "": index for index, node in enumerate(graph.nodes)}
        self._ordered = sorted(partition.layers, key=lambda x: position[x.nodes[0]])
        self._position = position
        self._inputs = {
            name
            for stage in partition.stages
            if stage.kind is StageKind.FIXED
            for name in stage.inputs
        } - {layer.output for layer in partition.layers}

    def features(self, entries: Iterable[str]) -> dict[str, str]:
        """Feature maps by their layer's name, or their own where no layer writes them."""
        found: dict[str, str] = {}
        for entry in entries:
            if entry in self._inputs and entry not in self._by_name:
                found[entry] = entry
            else:
                layers = (x for x in self.layers(_FEATURES, entry) if not x.writes_positions)
                found |= {layer.output: layer.name for layer in layers}
        return found

    def layers(self, option: str, entry: str) -> tuple[Layer, ...]:
        """The layers that an entry names: one, or a range of them."""
        if entry in self._by_name:
            return (self._by_name[entry],)
        if entry in self._floats:
            raise OptionError(
                f"option {option!r} names layer {entry!r}, which runs in float; only fixed-point "
                "layers have 16 bits."
            )
        ends = self._ends(entry)
        if ends is None:
            known = sorted({*self._by_name, *self._floats, *self._inputs} - {""})
            raise OptionError(
                f"option {option!r} names layer {entry!r}, which the network does not have."
                f"{nearest_names(entry, known)}"
            )
        first, last = (self._place(name) for name in ends)
        if first > last:
            raise OptionError(
                f"option {option!r} has the range {entry!r}, but layer {ends[1]!r} comes before "
                f"{ends[0]!r}; write the earlier one first."
            )
        found = tuple(x for x in self._ordered if first <= self._position[x.nodes[0]] <= last)
        if not found:
            raise OptionError(
                f"option {option!r} has the range {entry!r}, all of which runs in float; only "
                "fixed-point layers have 16 bits."
            )
        return found

    def _ends(self, entry: str) -> tuple[str, str] | None:
        """Both ends of a range; names may contain colons themselves."""
        parts = entry.split(":")
        for count in range(1, len(parts)):
            start, end = ":".join(parts[:count]), ":".join(parts[count:])
            if self._is_known(start) and self._is_known(end):
                return start, end
        return None

    def _is_known(self, name: str) -> bool:
        return name in self._by_name or name in self._floats

    def _place(self, name: str) -> int:
        layer = self._by_name.get(name)
        return self._position[layer.nodes[0] if layer else self._floats[name]]


def _layers_by_name(graph: Graph, partition: Partition) -> dict[str, Layer]:
    """Fixed-point layers by their name, their output's, and their leading node's output's."""
    first_outputs = {node.name: node.outputs[0].name for node in graph.nodes if node.outputs}
    layers = {layer.name: layer for layer in partition.layers}
    for layer in partition.layers:
        for alias in (layer.output, first_outputs.get(layer.nodes[0])):
            if alias:
                layers.setdefault(alias, layer)
    return layers
