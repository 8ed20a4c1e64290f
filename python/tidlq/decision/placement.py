"""Where the layers of a network run, also after its channels have been rescaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidlq.equalization import ChannelGroup, equalize, find_channel_groups
from tidlq.errors import QuantProtoError
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, partition
from tidlq.graph.recognition import find_layers
from tidlq.graph.recognition.fusions import NO_FUSION, FusionChoice
from tidlq.graph.statements import incomplete_nodes
from tidlq.lowering.placement import PlacementLists, find_allowed, find_denied
from tidlq.spec import Equalization
from tidlq.target import Options

_STATED_FLOAT = "the model says that it runs in float"


def place_layers(
    graph: Graph,
    options: Options,
    added: Sequence[str] = (),
    *,
    only_stated: bool = False,
    needs_ranges: bool = False,
    fusions: FusionChoice | None = None,
) -> Partition:
    """Says which layers run in fixed point and which nodes in float islands.

    Args:
        graph: the canonical Graph.
        options: those that place layers count.
        added: layers that the options' lists cannot know; they are allowed.
        only_stated: layers whose quantization a pre-quantized model does not state run in float.
        needs_ranges: so do those of which it states all but the output's.
        fusions: which ones are allowed; None: those that the options do not leave out.

    Raises:
        OptionError: A list of the options names a layer or operator that the network does not have.
    """
    allowed = options.allow_list_layer_name
    lists = PlacementLists(
        options.deny_list_layer_type,
        options.deny_list_layer_name,
        options.deny_list,
        (*allowed, *added) if allowed else (),
        "tensor_bits is 32" if options.tensor_bits == 32 else None,
    )
    denied = {n: why for n, why in find_denied(graph, lists).items() if n not in added}
    if graph.stated is not None:
        denied = dict.fromkeys(graph.stated.float_nodes, _STATED_FLOAT) | denied
    fusions = fusions or FusionChoice(options.left_out)
    table = find_layers(graph, denied, find_allowed(graph, lists), fusions)
    while only_stated and (
        incomplete := incomplete_nodes(graph, table.layers, needs_ranges=needs_ranges)
    ):
        denied |= incomplete
        table = find_layers(graph, denied, find_allowed(graph, lists), fusions)
    return partition(graph, table, options.max_num_subgraphs)


def rescale(
    graph: Graph, parts: Partition, options: Options, equalization: Equalization, where: str
) -> tuple[Graph, Partition]:
    """The Graph with rescaled channels, and its stages.

    Raises:
        QuantProtoError: The equalization names a layer whose channels cannot be rescaled, has
            another number of factors, or takes weights beyond float32.
    """
    if not equalization:
        return graph, parts
    groups = rescalable_groups(graph, options)
    _check_equalization(groups, equalization, where)
    try:
        with np.errstate(over="raise"):
            changed = equalize(graph, groups, equalization)
    except FloatingPointError:
        raise QuantProtoError(
            f"{where} has equalization factors that take weights beyond float32."
        ) from None
    added = sorted({node.name or "" for node in changed.nodes} - {n.name for n in graph.nodes})
    fusions = FusionChoice(options.left_out, frozenset(layer.output for layer in parts.layers))
    return changed, place_layers(changed, options, added, fusions=fusions)


def rescalable_groups(graph: Graph, options: Options) -> tuple[ChannelGroup, ...]:
    """Feature maps whose channels can be rescaled; what stands in front of a gate is never fused.

    Args:
        graph: the canonical Graph.
        options: those that place layers count.
    """
    return find_channel_groups(graph, place_layers(graph, options, fusions=NO_FUSION))


def _check_equalization(
    groups: Sequence[ChannelGroup], equalization: Equalization, where: str
) -> None:
    channels = {layer.name: group.channels for group in groups for layer in group.producers}
    clipped = {layer.name for group in groups for layer in group.clipped}
    for name, factors in equalization.factors.items():
        if len(factors) != channels.get(name, 0):
            raise QuantProtoError(
                f"{where} has {len(factors)} equalization factors for layer "
                f"{name!r}, which takes {channels.get(name, 0)}."
            )
    for group in groups:
        if len({equalization.factors.get(layer.name) for layer in group.producers}) > 1:
            names = ", ".join(repr(layer.name) for layer in group.producers)
            raise QuantProtoError(
                f"{where} has different equalization factors for layers "
                f"{names}, whose outputs are joined; they must be equal."
            )
    for name in equalization.bounds.keys() - (clipped & equalization.factors.keys()):
        raise QuantProtoError(
            f"{where} has an equalization_bound for layer {name!r}, which has "
            "no Clip whose channels are rescaled."
        )
