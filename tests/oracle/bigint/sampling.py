"""Samples of a feature at the places that a grid names."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np

from oracle.bigint.requantization import requantize_accumulators
from oracle.bigint.tensors import Array, centered, shape_of, store
from tidlq.lowering import network_pb2 as pb


def grid_sample(
    layer: pb.GridSample, xs: Sequence[Array], sources: Sequence[pb.Tensor], output: pb.Tensor
) -> Array:
    """acc: the positions around each place, weighted by how near they are."""
    image, grid = (
        np.asarray(centered(x, t), dtype=object) for x, t in zip(xs, sources, strict=True)
    )
    acc = np.empty(shape_of(output), dtype=object)
    for n, row, column in np.ndindex(*acc.shape[:-1]):
        x, y = grid[n, row, column].tolist()
        total = np.zeros(acc.shape[-1], dtype=object)
        for h, tall in _taps(layer, 0, y, image.shape[1]):
            for w, wide in _taps(layer, 1, x, image.shape[2]):
                total = total + image[n, h, w] * (tall * wide)
        acc[n, row, column] = total
    return store(requantize_accumulators(acc, layer.requantize), output)


def _taps(layer: pb.GridSample, axis: int, steps: int, size: int) -> list[tuple[int, int]]:
    """Positions inside the feature with their weights."""
    one = 1 << layer.fraction_bits
    whole = (layer.multiplier[axis] * steps + layer.offset[axis]) >> layer.shift
    place = Fraction(whole, one)
    if layer.cubic:
        return _cubic_taps(layer, place, size)
    if layer.nearest:
        place = Fraction(round(place))
    place = _padded(layer.padding, place, size)
    low = floor(place)
    share = int((place - low) * one)
    taps = [(low, one - share), (low + 1, share)]
    return [(position, weight) for position, weight in taps if 0 <= position < size]


def _cubic_taps(layer: pb.GridSample, place: Fraction, size: int) -> list[tuple[int, int]]:
    """Four positions with the weights of a cubic function, moved inside one by one."""
    one, shift = 1 << layer.fraction_bits, 2 * layer.fraction_bits + 2
    low = floor(place)
    share = int((place - low) * one)

    def near(t: int) -> int:
        return (5 * t**3 - 9 * t**2 * one + 4 * one**3 + 2 * one**2) >> shift

    def far(t: int) -> int:
        return (-3 * t * (one - t) ** 2 + 2 * one**2) >> shift

    weights = (far(share), near(share), near(one - share), far(one - share))
    places = (_padded(layer.padding, Fraction(low + tap), size) for tap in range(-1, 3))
    taps = zip(map(int, places), weights, strict=True)
    return [(position, weight) for position, weight in taps if 0 <= position < size]


def _padded(padding: int, place: Fraction, size: int) -> Fraction:
    if padding == pb.GridSample.PADDING_ZEROS:
        return place
    if padding != pb.GridSample.PADDING_BORDER:
        at_edges = padding == pb.GridSample.PADDING_MIRROR_AT_EDGES
        low, high = (
            (Fraction(-1, 2), size - Fraction(1, 2)) if at_edges else (0, Fraction(size - 1))
        )
        if low == high:
            return Fraction(0)
        beyond = (place - low) % (2 * (high - low))
        place = low + min(beyond, 2 * (high - low) - beyond)
    return min(max(place, Fraction(0)), Fraction(size - 1))
