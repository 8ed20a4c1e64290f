"""Plain orders of groups, which the choice of 16-bit layers tries beside its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ErrorStatistics
from tidlq.calibration import BiasFrames, FloatFeatures
from tidlq.graph.layers import LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.groups import PrecisionGroup, find_precision_groups
from tidlq.spec import QuantPlan

_ENDS = frozenset(
    {LayerKind.CONVOLUTION, LayerKind.TRANSPOSED_CONVOLUTION, LayerKind.INNER_PRODUCT}
)

Frame = Mapping[str, NDArray[np.generic]]


NOISE_FRAMES = 8
"""Frames at most that local noise is measured on."""


def plain_orders(
    graph: Graph, partition: Partition, plan: QuantPlan, frames: BiasFrames, threads: int = 0
) -> tuple[tuple[str, ...], ...]:
    """Orders of groups by name: by local noise; first and last, then nothing or the noisiest.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: of 8 bits.
        frames: of calibration.
        threads: 0 means one per core; the result is the same.

    Raises:
        ModelError: ONNX Runtime fails on the graph.
    """
    groups = find_precision_groups(graph, partition)
    count = min(frames.count, NOISE_FRAMES)
    some = [frames.frame(index) for index in range(count)]
    noisiest = by_local_noise(graph, plan, groups, some, threads)
    ends = first_and_last(partition, groups)
    return noisiest, ends, tuple(dict.fromkeys((*ends, *noisiest)))


def first_and_last(partition: Partition, groups: Iterable[PrecisionGroup]) -> tuple[str, ...]:
    """Groups of the first and of the last layer with products, by name."""
    names = [layer.name for layer in partition.layers if layer.kind in _ENDS]
    return tuple(g.name for g in groups if names and {names[0], names[-1]} & set(g.layers))


def by_local_noise(
    graph: Graph,
    plan: QuantPlan,
    groups: Sequence[PrecisionGroup],
    frames: Iterable[Frame],
    threads: int = 0,
) -> tuple[str, ...]:
    """Groups by the worst SQNR that rounding gives their own feature maps, by name.

    Args:
        graph: the canonical Graph.
        plan: of 8 bits.
        groups: of the network.
        frames: of calibration; a few are enough.
        threads: 0 means one per core; the result is the same.

    Raises:
        ModelError: ONNX Runtime fails on the graph.
    """
    names = [name for group in groups for name in group.features]
    network = FloatFeatures(graph, names, threads=threads)
    totals = {name: ErrorStatistics() for name in names}
    for frame in frames:
        for name, value in network.run(frame).items():
            quant, real = plan.features[name], np.ascontiguousarray(value, np.float32)
            integers = np.rint(real / np.float32(quant.scale)) + np.float32(quant.zero_point)
            integers = np.clip(integers, quant.type.lowest, quant.type.highest)
            found = (integers - np.float32(quant.zero_point)) * np.float32(quant.scale)
            totals[name].update_known(real, found.astype(np.float32))
    noise = {g.name: max(totals[x].relative_error for x in g.features) for g in groups}
    return tuple(sorted(noise, key=lambda name: -noise[name]))
