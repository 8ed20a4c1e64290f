"""What matters of the feature maps: beyond it, nothing changes in what follows."""

from __future__ import annotations

from tidlq.calibration import MeasuredFeatures, find_possible_ranges, find_relevant_ranges
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.spec import Range


def relevant_ranges(
    graph: Graph, parts: Partition, measured: MeasuredFeatures, bits: int
) -> dict[str, Range]:
    """What matters of the feature maps, as far as the frames tell.

    Args:
        graph: the canonical Graph.
        parts: its stages.
        measured: statistics of the frames.
        bits: of the feature maps.
    """
    minima = {name: seen.minima for name, seen in measured.channels.items()}
    relevant = find_relevant_ranges(graph, parts.layers, bits, minima)
    possible = find_possible_ranges(parts.layers)
    both = {n: relevant[n].clipped(possible[n]) for n in relevant.keys() & possible.keys()}
    return relevant | possible | both
