"""A tensor of a network with its range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration import FeatureStatistics
from tidlq.errors import DataError
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_values
from tidlq.graph.partition import Partition
from tidlq.precision.plan import ranged_features
from tidlq.quantproto.network_ranges import data_layers, tidl_type
from tidlq.spec import ParameterRole, Range, parameter_name
from tidlq.target import TidlLayerType


@dataclass(frozen=True, eq=False)
class RangeTensor:
    """A tensor whose range decides a scale, as it is when it is asked for.

    Attributes:
        name: of the feature map in the graph, or of the parameter: "conv1.weight", "conv1.bias".
        layer: the layer that writes or owns it; of a network input the input's name.
        layer_type: TIDL's name of the layer's type, without TIDL_ and Layer: "Convolution".
        role: "feature", "weight", "bias" or "slope".
        shape: of one frame, batch included; of a parameter as its layer multiplies by it.
        bits: 8 or 16.
        range: what is set or known; None: not yet.
        values: elements of a parameter; None for feature maps.
        statistics: what the frames showed of a feature map; None without frames, for parameters,
            and where the model itself states the range.
    """

    name: str
    layer: str
    layer_type: str
    role: str
    shape: tuple[int, ...]
    bits: int
    range: Range | None
    values: NDArray[np.floating] | None = None
    statistics: FeatureStatistics | None = None

    @property
    def histogram(self) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """Counts and edges of the values seen, as `numpy.histogram` gives them.

        Raises:
            DataError: There are no statistics.
        """
        if self.statistics is None:
            raise DataError(f"tensor {self.name!r} has no statistics: give calibration frames.")
        seen = self.statistics.tensor
        edges = np.arange(len(seen.counts) + 1, dtype=np.float64) + seen.first_bin
        return seen.counts, edges * seen.bin_width


@dataclass(frozen=True)
class TensorPlace:
    """Where in a network a tensor stands.

    Attributes:
        name, layer, layer_type, role: as `RangeTensor` has them.
        owner: the layer; None for network inputs.
    """

    name: str
    layer: str
    layer_type: str
    role: str
    owner: Layer | None = None

    def values(
        self, graph: Graph, given: tuple[float, ...] | None = None
    ) -> NDArray[np.floating] | None:
        """Elements of a parameter, None for feature maps; a bias that there is not is zero.

        Args:
            graph: the canonical Graph.
            given: values of a bias that stand in for the graph's.
        """
        if self.owner is None or self.role == "feature":
            return None
        if given is not None:
            return np.asarray(given, np.float64)
        operand = operand_values(graph, self.owner)
        if operand is not None:
            return operand
        parameters = layer_parameters(graph, self.owner)
        if self.role != "bias":
            return parameters.weight
        return np.zeros(len(parameters.weight)) if parameters.bias is None else parameters.bias


def tensor_places(graph: Graph, parts: Partition) -> Mapping[str, TensorPlace]:
    """Every tensor of a network that decides a scale, by name, in execution order."""
    found = [
        TensorPlace(tensor, name, _short(TidlLayerType.DATA), "feature")
        for name, tensor in data_layers(parts)
    ]
    needed = set(ranged_features(parts))
    for layer in parts.layers:
        kind = _short(tidl_type(layer))
        roles = [
            (role, parameter_name(layer.name, role)) for role in _parameter_roles(graph, layer)
        ]
        found += [TensorPlace(name, layer.name, kind, role.value, layer) for role, name in roles]
        if layer.output in needed:
            found.append(TensorPlace(layer.output, layer.name, kind, "feature", layer))
    return {place.name: place for place in found}


def _parameter_roles(graph: Graph, layer: Layer) -> tuple[ParameterRole, ...]:
    if layer.kind is LayerKind.PRELU:
        return (ParameterRole.SLOPE,)
    if layer.kind.has_output_channels:
        return (ParameterRole.WEIGHT, ParameterRole.BIAS)
    return () if operand_values(graph, layer) is None else (ParameterRole.WEIGHT,)


def _short(kind: TidlLayerType) -> str:
    return kind.value.removeprefix("TIDL_").removesuffix("Layer")
