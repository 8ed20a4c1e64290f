"""Ranges of the parameters: read from the graph, not measured."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_values
from tidlq.spec import (
    ChannelRanges,
    ParameterRole,
    Range,
    RangeOrigin,
    Ranges,
    parameter_name,
)


def _range_of(values: NDArray[np.floating], where: str) -> Range:
    return _spanned(values, values, where)


def _spanned(lows: NDArray[np.floating], highs: NDArray[np.floating], where: str) -> Range:
    # A NaN survives min and max, and a range refuses what float32 cannot hold.
    try:
        return Range(float(lows.min()), float(highs.max()), RangeOrigin.PARAMETER)
    except ValueError:
        raise ModelError(
            f"{where} holds NaN, Inf or values beyond float32; weights must be finite."
        ) from None


def _weight_ranges(weight: NDArray[np.floating], where: str) -> tuple[Range, ChannelRanges]:
    """The range of a whole weight, and that of each output channel."""
    flat = weight.reshape(weight.shape[0], -1)
    lows, highs = flat.min(axis=1), flat.max(axis=1)
    whole = _spanned(lows, highs, where)
    low, high = lows.astype(np.float32), highs.astype(np.float32)
    return whole, ChannelRanges(low, high, RangeOrigin.PARAMETER)


def measure_parameters(graph: Graph, layers: Iterable[Layer]) -> Ranges:
    """Ranges of every weight, bias, slope and constant operand, without features.

    Returns:
        Whole-tensor ranges, and per-output-channel ranges of the weights of weighted layers.

    Raises:
        ModelError: A folded parameter is not finite.
    """
    whole: dict[str, Range] = {}
    channels: dict[str, ChannelRanges] = {}
    for layer in layers:
        operand = operand_values(graph, layer)
        if operand is not None:
            key = parameter_name(layer.name, ParameterRole.WEIGHT)
            whole[key] = _range_of(operand, f"The constant operand of layer {layer.name!r}")
        if layer.weight is None:
            continue
        parameters = layer_parameters(graph, layer)
        role = ParameterRole.SLOPE if layer.kind is LayerKind.PRELU else ParameterRole.WEIGHT
        key = parameter_name(layer.name, role)
        where = f"The {role.value} of layer {layer.name!r}"
        if role is ParameterRole.SLOPE:
            whole[key] = _range_of(parameters.weight, where)
        else:
            whole[key], channels[key] = _weight_ranges(parameters.weight, where)
        if parameters.bias is not None:
            key = parameter_name(layer.name, ParameterRole.BIAS)
            whole[key] = _range_of(parameters.bias, f"The bias of layer {layer.name!r}")
    return Ranges({}, whole, channels)
