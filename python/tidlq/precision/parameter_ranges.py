"""Ranges of the parameters: read from the graph, not measured."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.graph.layers import Layer, LayerKind, ProductAttributes
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.spec import ParameterRole, Range, RangeOrigin, Ranges, parameter_name


def operand_index(graph: Graph, layer: Layer) -> int | None:
    """Which input of a sum or product is constant, if any."""
    if layer.kind not in (LayerKind.SUM, LayerKind.PRODUCT):
        return None
    for index, name in enumerate(layer.inputs):
        if graph.constant(name) is not None:
            return index
    return None


def operand_values(graph: Graph, layer: Layer) -> NDArray[np.float64] | None:
    """The constant operand of a sum or product as a factor: a divisor is inverted."""
    index = operand_index(graph, layer)
    if index is None:
        return None
    values = np.asarray(graph.constant(layer.inputs[index]), np.float64)
    if isinstance(layer.attributes, ProductAttributes) and layer.attributes.reciprocal:
        return np.asarray(1.0 / values, np.float64)
    return values


def _range_of(values: NDArray[np.floating], where: str) -> Range:
    # A NaN survives min and max, and a range refuses what float32 cannot hold.
    try:
        return Range(float(values.min()), float(values.max()), RangeOrigin.PARAMETER)
    except ValueError:
        raise ModelError(
            f"{where} holds NaN, Inf or values beyond float32; weights must be finite."
        ) from None


def _channel_ranges(weight: NDArray[np.floating]) -> tuple[Range, ...]:
    flat = weight.reshape(weight.shape[0], -1)
    ends = zip(flat.min(axis=1).tolist(), flat.max(axis=1).tolist(), strict=True)
    return tuple(Range(low, high, RangeOrigin.PARAMETER) for low, high in ends)


def measure_parameters(graph: Graph, layers: Iterable[Layer]) -> Ranges:
    """Ranges of every weight, bias, slope and constant operand, without features.

    Returns:
        Whole-tensor ranges, and per-output-channel ranges of the weights of weighted layers.

    Raises:
        ModelError: A folded parameter is not finite.
    """
    whole: dict[str, Range] = {}
    channels: dict[str, tuple[Range, ...]] = {}
    for layer in layers:
        operand = operand_values(graph, layer)
        if operand is not None:
            key = parameter_name(layer.name, ParameterRole.WEIGHT)
            whole[key] = _range_of(operand, f"The constant operand of layer {layer.name!r}")
        if layer.weight is None:
            continue
        parameters = layer_parameters(graph, layer)
        slope = layer.kind is LayerKind.PRELU
        role = ParameterRole.SLOPE if slope else ParameterRole.WEIGHT
        key = parameter_name(layer.name, role)
        where = f"The {role.value} of layer {layer.name!r}"
        whole[key] = _range_of(parameters.weight, where)
        if not slope:
            channels[key] = _channel_ranges(parameters.weight)
        if parameters.bias is not None:
            key = parameter_name(layer.name, ParameterRole.BIAS)
            whole[key] = _range_of(parameters.bias, f"The bias of layer {layer.name!r}")
    return Ranges({}, whole, channels)
