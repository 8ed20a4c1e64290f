"""Weight clipping: ranges of weights that leave outliers out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ChannelStatistics, select_weight_range
from tidlq.graph.channels import group_count, in_taps, input_axis
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import Partition
from tidlq.spec import (
    ChannelRanges,
    ParameterRole,
    Precision,
    Range,
    RangeOrigin,
    Ranges,
    ScaleRule,
    Scheme,
    parameter_name,
)


def clip_weights(
    graph: Graph,
    partition: Partition,
    own: Ranges,
    statistics: Mapping[str, ChannelStatistics],
    scheme: Scheme,
    precision: Precision,
    *,
    has_bias_calibration: bool,
    threads: int = 0,
) -> Ranges:
    """Ranges of the weights with the least expected error of the layers' outputs.

    The error of output o is the sum over inputs k of  m_k (w_ok - Q(w_ok))^2, inputs taken as
    uncorrelated, with m_k the second moment of input k, or its variance where bias calibration
    takes care of the mean; 1 where it is not known.

    Args:
        graph: gives weights.
        partition: its layers.
        own: the weights' own ranges.
        statistics: channels of the layers' inputs, by tensor name.
        scheme: rules for scales.
        precision: bits of parameters.
        has_bias_calibration: the mean of an error will be corrected.
        threads: worker threads; 0 means one per core. The result is the same.

    Returns:
        `own` with the ranges that were narrowed, of origin MEASURED.
    """
    parameters, channels = dict(own.parameters), dict(own.channels)
    layers = [
        layer
        for layer in partition.layers
        if layer.kind.has_output_channels and precision.parameter_bits(layer.name) <= 8
    ]

    def keep(layer: Layer) -> NDArray[np.float64]:
        return _kept(graph, layer, statistics, scheme, has_bias_calibration)

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        limits = list(pool.map(keep, layers))
    for layer, kept in zip(layers, limits, strict=True):
        name = parameter_name(layer.name, ParameterRole.WEIGHT)
        if scheme.channel_wise:
            found = own.channels[name]
            low = np.array([channel.min for channel in found], np.float32)
            high = np.array([channel.max for channel in found], np.float32)
            limit = np.maximum(kept, 0).astype(np.float32)
            if (np.maximum(-low, high) > limit).any():
                low, high = np.clip(low, -limit, limit), np.clip(high, -limit, limit)
                channels[name] = ChannelRanges(low, high, RangeOrigin.MEASURED)
                parameters[name] = Range(float(low.min()), float(high.max()), RangeOrigin.MEASURED)
        else:
            whole = own.parameters[name]
            limit_of_all = float(kept[0])
            if whole.absolute_max > limit_of_all:
                bound = Range(-limit_of_all, limit_of_all, RangeOrigin.MEASURED)
                parameters[name] = whole.clipped(bound)
    return Ranges(own.features, parameters, channels, own.biases)


def _kept(
    graph: Graph,
    layer: Layer,
    statistics: Mapping[str, ChannelStatistics],
    scheme: Scheme,
    has_bias_calibration: bool,
) -> NDArray[np.float64]:
    """The largest magnitude of a weight that is kept, for each channel or for all."""
    weight = layer_parameters(graph, layer).weight
    inputs = _channel_statistics(graph, layer, statistics)
    return select_weight_range(
        np.ascontiguousarray(weight.reshape(len(weight), -1)),
        _moments(layer, weight, inputs, has_bias_calibration),
        8,
        scheme.weight_rule is ScaleRule.POWER_OF_TWO,
        scheme.full_weight_code,
        scheme.channel_wise,
    )


def _moments(
    layer: Layer,
    weight: NDArray[np.floating],
    inputs: ChannelStatistics | None,
    has_bias_calibration: bool,
) -> NDArray[np.float64] | None:
    """The moment of each element of a row of the weight: [1 or C_out, K]."""
    if inputs is None:
        return None
    means = inputs.sums / inputs.count
    moments = inputs.sums_of_squares / inputs.count
    if has_bias_calibration:
        moments = np.maximum(moments - means**2, 0.0) + _SHARE_OF_MEAN * moments
    groups = group_count(layer, weight)
    rows = np.repeat(moments.reshape(groups, -1), in_taps(weight).shape[2], axis=1)
    return rows if groups == 1 else np.repeat(rows, len(weight) // groups, axis=0)


def _channel_statistics(
    graph: Graph, layer: Layer, statistics: Mapping[str, ChannelStatistics]
) -> ChannelStatistics | None:
    """Statistics of the channels that a layer weighs.

    A feature map that a convolution and a matrix product read has statistics for one of them only.
    """
    name = layer.inputs[0]
    found, rank = statistics.get(name), len(graph.shape(name) or ())
    if found is None or not found.count or found.axis % rank != input_axis(layer) % rank:
        return None
    return found


_SHARE_OF_MEAN = 2.0**-7
