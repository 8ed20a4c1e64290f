"""Where the biases are to lead: the float network's means before the non-linearities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.means import FloatMeans, accumulator_means
from tidlq.calibration.bias.state import arrays_of_kind
from tidlq.calibration.checkpoints import State
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]
Targets = dict[str, tuple[Float64, Float64]]
"""By layer, means of its output channels over the measured and over the held-out frames."""


def float_targets(
    graph: Graph,
    layers: Sequence[Layer],
    frames: BiasFrames,
    threads: int,
    *,
    held_out: bool = True,
) -> Targets:
    """The float network's means on the measured and on the held-out frames, by layer.

    Without `held_out` there are no such frames, and the second of each pair is the first.
    """
    measured, held = FloatMeans(graph, layers), FloatMeans(graph, layers)
    features = FloatFeatures(graph, measured.tensors, threads=threads)
    for index in range(frames.count):
        means = measured if index in frames.measured else held
        means.add(features.run(frames.frame(index)))
    targets: Targets = {}
    for layer in layers:
        parameters = layer_parameters(graph, layer)
        weight, groups = parameters.weight, group_count(layer, parameters.weight)
        own = 0.0 if parameters.bias is None else parameters.bias
        first, second = (
            accumulator_means(in_taps(weight), groups, means.of(layer)) + own
            for means in (measured, held if held_out else measured)
        )
        targets[layer.name] = (first, second)
    return targets


def float_accumulator_means(
    graph: Graph, layers: Sequence[Layer], frames: Sequence[Mapping[str, Array]], threads: int = 0
) -> dict[str, Float64]:
    """The float network's means before the non-linearities: float64 [C_out] by layer."""
    inputs = {s.name: np.stack([frame[s.name] for frame in frames]) for s in graph.inputs}
    targets = float_targets(graph, layers, BiasFrames(inputs, len(frames)), threads, held_out=False)
    return {name: measured for name, (measured, _) in targets.items()}


def targets_state(targets: Targets) -> State:
    """The exact values, as checkpoints keep them."""
    kinds = ("measured", "held")
    return {
        f"{kind} {name}": array.tobytes()
        for name, pair in targets.items()
        for kind, array in zip(kinds, pair, strict=True)
    }


def read_targets(state: State) -> Targets:
    """What `targets_state` gave."""
    held = arrays_of_kind(state, "held")
    return {name: (first, held[name]) for name, first in arrays_of_kind(state, "measured").items()}
