"""Where the biases are to lead: the float network's means before the non-linearities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration.bias.means import FloatMeans, accumulator_means
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]


def float_accumulator_means(
    graph: Graph, layers: Sequence[Layer], frames: Sequence[Mapping[str, Array]], threads: int = 0
) -> dict[str, Float64]:
    """The float network's means before the non-linearities: float64 [C_out] by layer."""
    means = FloatMeans(graph, layers)
    features = FloatFeatures(graph, means.tensors, threads=threads)
    for frame in frames:
        means.add(features.run(frame))
    return {layer.name: means_of_accumulators(graph, layer, means) for layer in layers}


def means_of_accumulators(graph: Graph, layer: Layer, means: FloatMeans) -> Float64:
    """A layer's means before its non-linearity: float64 [C_out].

    Args:
        graph: gives parameters.
        layer: with output channels.
        means: of its inputs.
    """
    if not layer.kind.has_weight:
        return means.of(layer).reshape(-1)
    parameters = layer_parameters(graph, layer)
    groups = group_count(layer, parameters.weight)
    own = 0.0 if parameters.bias is None else parameters.bias
    return accumulator_means(in_taps(parameters.weight), groups, means.of(layer)) + own
