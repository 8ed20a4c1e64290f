"""16 bits for feature maps that nothing rounds to 8 but a narrow tensor."""

from __future__ import annotations

from collections.abc import Collection

from tidlq.graph.layers import LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.wide_outputs import find_wide_outputs
from tidlq.precision.wide_pre_activations import find_wide_pre_activations
from tidlq.spec import Fusion, Precision


def find_wide_features(
    graph: Graph, partition: Partition, left_out: Collection[Fusion]
) -> frozenset[str]:
    """Feature maps inside activations, and those that only leave the network.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        left_out: WIDE_PRE_ACTIVATION and WIDE_OUTPUT leave out the one and the other.
    """
    found = frozenset[str]()
    if Fusion.WIDE_PRE_ACTIVATION not in left_out:
        found |= find_wide_pre_activations(graph, partition)
    if Fusion.WIDE_OUTPUT not in left_out:
        found |= find_wide_outputs(graph, partition)
    return found


def with_wide_features(
    precision: Precision, graph: Graph, partition: Partition, left_out: Collection[Fusion]
) -> Precision:
    """A precision with 16 bits where `find_wide_features` has them; gains there have 16 bits, too.

    Args:
        precision: of all else.
        graph: the canonical Graph.
        partition: its stages.
        left_out: as `find_wide_features` takes it.
    """
    wide = find_wide_features(graph, partition, left_out)
    # One gain per channel, all of one scale: with 8 bits the smallest ones would be lost.
    gains = [layer for layer in partition.layers if layer.kind is LayerKind.BATCH_NORM]
    return Precision(
        precision.default,
        dict(sorted({**precision.features, **dict.fromkeys(wide, 16)}.items())),
        {**precision.parameters, **{x.name: 16 for x in gains if x.output in wide}},
    )
