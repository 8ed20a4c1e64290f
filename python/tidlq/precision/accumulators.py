"""Exact bounds of accumulators, from integer weights, integer biases and the input's integers.

    acc[o] = bias[o] + sum over k of weight[o, k] * x[k],   low <= x[k] <= high

so accumulators lie between  bias + P * low + N * high  and  bias + P * high + N * low,  with P the
sum of a channel's positive weights and N that of its negative ones. Both are reached, by the input
that has the matching end at every position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import (
    ConvolutionAttributes,
    Layer,
    LayerKind,
    PadAttributes,
    PadMode,
)
from tidlq.lowering.requantize import clamp_integers
from tidlq.spec import FeatureQuant

Int64 = NDArray[np.int64]

NARROW_BITS = 32
WIDE_BITS = 64


def accumulator_bits(feature_bits: int, parameter_bits: int) -> int:
    """Signed bits of an accumulator: 32 for 8-bit operands, 64 where one has 16 bits."""
    return NARROW_BITS if max(feature_bits, parameter_bits) == 8 else WIDE_BITS


@dataclass(frozen=True)
class Interval:
    """Integers low .. high, both possible."""

    low: int
    high: int

    def joined(self, value: int) -> Interval:
        """The same interval, widened to hold a value."""
        return Interval(min(self.low, value), max(self.high, value))

    def clipped(self, low: int, high: int) -> Interval:
        """Both ends moved into low .. high."""
        return Interval(min(max(self.low, low), high), min(max(self.high, low), high))

    def shifted(self, offset: int) -> Interval:
        """Both ends plus an offset."""
        return Interval(self.low + offset, self.high + offset)


def output_integers(layer: Layer, output: FeatureQuant, source: Interval) -> Interval:
    """The integers that a layer can write.

    The output's type and a fused ReLU or Clip limit every layer; one that moves, selects or
    averages values adds none to those it reads, but for what a Pad writes.

    Args:
        layer: writes the feature.
        output: its quantization.
        source: integers of the layer's first input.
    """
    low, high = clamp_integers(output, layer.clamp)
    if not layer.keeps_quantization:
        return Interval(low, high)
    attributes = layer.attributes
    if isinstance(attributes, PadAttributes) and attributes.mode is PadMode.CONSTANT:
        source = source.joined(output.quantize(attributes.value))
    if layer.kind is LayerKind.GRID_SAMPLE:
        # Beyond the edges there may be zeros.
        source = source.joined(output.zero_point)
    return source.clipped(low, high)


def input_terms(layer: Layer, source: Interval, zero_point: int) -> Interval:
    """The factors x = q - zero_point that a weighted layer multiplies by its weights.

    Positions outside the input contribute zero.
    """
    terms = source.shifted(-zero_point)
    attributes = layer.attributes
    if isinstance(attributes, ConvolutionAttributes):
        window = attributes.window
        if layer.kind is LayerKind.TRANSPOSED_CONVOLUTION:
            # An output is reached by some taps alone.
            return terms.joined(0)
        if any(window.pad_begin) or any(window.pad_end):
            return terms.joined(0)
    return terms


@dataclass(frozen=True, eq=False)
class WeightSums:
    """Sums over the weights of each output channel.

    Attributes:
        positive, negative: int64 [C_out]. Of the positive and of the negative integers.
    """

    positive: Int64
    negative: Int64

    @classmethod
    def of(cls, weights: NDArray[np.signedinteger]) -> WeightSums:
        """Sums the integers [C_out, ...] of a weight; each channel has fewer than 2^30 of them."""
        flat = weights.reshape(len(weights), -1)
        positive = np.maximum(flat, 0).sum(axis=1, dtype=np.int64)
        return cls(positive, flat.sum(axis=1, dtype=np.int64) - positive)

    def bounds(self, terms: Interval, bias: Int64 | int = 0) -> tuple[Int64, Int64]:
        """The smallest and the largest accumulator of each channel, int64 [C_out]; exact."""
        low = self.positive * terms.low + self.negative * terms.high + bias
        high = self.positive * terms.high + self.negative * terms.low + bias
        return low, high

    def reach(self, terms: Interval) -> Int64:
        """The largest magnitude of each channel's sum, its bias aside: int64 [C_out]."""
        low, high = self.bounds(terms)
        return np.maximum(np.abs(low), np.abs(high))


def headroom_bits(low: Int64, high: Int64, bits: int) -> float:
    """Bits that the worst channel leaves unused:  bits - 1 - log2(max |bound|)."""
    largest = int(max(np.abs(low).max(), np.abs(high).max(), 1))
    return bits - 1 - math.log2(largest)
