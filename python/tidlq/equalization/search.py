"""Choosing the factors: block by block, the noise model's least."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.equalization.groups import ChannelGroup
from tidlq.equalization.noise import ChannelSpread, GroupTerms, NoiseModel
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.spec import Equalization

__all__ = ["ChannelSpread", "EqualizationGain", "find_equalization"]

Float64 = NDArray[np.float64]

_MOST_SWEEPS = 10
_LEAST_SWEEP_GAIN = 0.01
_LARGEST_STEP = 2.0
_SMALLEST_FIRST_STEP = 0.25
_SMALLEST_STEP = 0.05
_LEAST_GAIN = 1e-6
_LARGEST_FACTOR = 2.0**20
# A channel whose largest value comes this close to the Clip is taken for clipped.
_AT_BOUND = 0.999
# Share of the network's noise that a bound per channel has to remove to be worth its layer.
_WORTH_A_LAYER = 0.001
# The same for the gain in front of a gate, as a share of all groups' noise to signal.
_WORTH_A_GAIN = 0.01


@dataclass(frozen=True)
class EqualizationGain:
    """A chosen equalization, with the noise model's word on it.

    Attributes:
        equalization: factors and bounds.
        noise_before, noise_after: of all groups.
    """

    equalization: Equalization
    noise_before: float
    noise_after: float


def find_equalization(
    graph: Graph,
    partition: Partition,
    groups: tuple[ChannelGroup, ...],
    statistics: Mapping[str, ChannelSpread],
    *,
    is_power_of_two: bool,
    bias_codes: float = math.inf,
    is_channel_wise: bool = False,
    worthwhile: float = 1.0,
) -> EqualizationGain:
    """Chooses the factors of every group.

    Groups are visited in execution order, several times; each takes the factors of least noise, the
    others staying as they are. A bound per channel costs a layer: where one bound for all, under
    which clipped channels keep the factor 1, leaves hardly more noise, that is what stays.

    Args:
        graph: the canonical Graph.
        partition: its layers.
        groups: its channel groups.
        statistics: of every feature map that a layer with a weight reads, and of the groups'.
        is_power_of_two: the scheme's scales are powers of two.
        bias_codes: largest integer of a bias; one that does not fit makes the weights coarser.
        is_channel_wise: each output channel of a weight has its own scale.
        worthwhile: with such scales, the part of the noise to signal that factors may leave; where
            they leave more, none are chosen.
    """
    model = NoiseModel(
        graph,
        partition,
        groups,
        statistics,
        is_power_of_two,
        bias_codes,
        is_channel_wise,
    )
    before = model.noise()
    is_free = [True] * len(groups)
    if is_channel_wise:
        _choose_channel_wise(model)
        _drop_gains(model)
        plain = [np.ones(group.channels) for group in groups]
        if _relative_noise(model, model.factors) > worthwhile * _relative_noise(model, plain):
            return EqualizationGain(Equalization(), before, before)
    else:
        places = list(range(len(groups)))
        _sweep(model, is_free, places)
        if any(group.restored for group in groups):
            dropped = _drop_gains(model)
            places = [index for index in places if index not in dropped]
            _sweep(model, is_free, places)
        if any(group.bound is not None for group in groups):
            _drop_bounds(model, is_free)
            _sweep(model, is_free, places)
    after = model.noise()
    if after > before:
        return EqualizationGain(Equalization(), before, before)
    return EqualizationGain(_result(model, is_free), before, after)


def _choose_channel_wise(model: NoiseModel) -> None:
    """Groups do not meet in a weight then; those with a Clip are left as they are."""
    for index, group in enumerate(model.groups):
        if group.bound is not None:
            continue
        terms = model.channel_wise_terms(index)
        factors = np.clip(terms.best_factors(), 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
        if terms.noise(factors) < terms.noise(np.ones_like(factors)):
            model.set_factors(index, factors)


def _relative_noise(model: NoiseModel, factors: list[Float64]) -> float:
    return sum(model.noise_to_signal(index, chosen) for index, chosen in enumerate(factors))


def _drop_gains(model: NoiseModel) -> set[int]:
    """Leaves groups as they were where gains in front of gates bring next to nothing.

    Noise is weighed against the signal here, group by group: how much of it comes through the many
    layers between a group and the output is beyond the model.
    """
    plain = [np.ones(group.channels) for group in model.groups]
    before = [model.noise_to_signal(i, x) for i, x in enumerate(plain)]
    after = [model.noise_to_signal(i, x) for i, x in enumerate(model.factors)]
    least = _WORTH_A_GAIN * sum(after)
    dropped: set[int] = set()
    for index, group in enumerate(model.groups):
        if group.restored and before[index] - after[index] < least * len(group.restored):
            model.set_factors(index, plain[index])
            dropped.add(index)
    return dropped


def _drop_bounds(model: NoiseModel, is_free: list[bool]) -> None:
    """Goes back to one bound for all channels where that costs next to nothing."""
    worth_a_layer = _WORTH_A_LAYER * model.noise()
    for index, group in enumerate(model.groups):
        if group.bound is None:
            continue
        terms, chosen = model.terms(index), model.factors[index]
        limited = _descend(terms, np.ones_like(chosen), _limits(terms, group), _LARGEST_STEP)
        if terms.noise(limited) - terms.noise(chosen) < worth_a_layer:
            is_free[index] = False
            model.set_factors(index, limited)


def _sweep(model: NoiseModel, is_free: list[bool], places: list[int]) -> None:
    """Visits the groups until that brings no more."""
    noise, step = model.noise(), _LARGEST_STEP
    for _ in range(_MOST_SWEEPS):
        for index in places:
            group = model.groups[index]
            terms, chosen = model.terms(index), model.factors[index]
            limits = None if is_free[index] else _limits(terms, group)
            is_loop = not {*group.producers}.isdisjoint(group.consumers)
            current = model.noise() if is_loop else math.inf
            model.set_factors(index, _descend(terms, chosen, limits, step))
            # The terms of a layer that reads and writes the group move with its factors.
            if is_loop and model.noise() > current:
                model.set_factors(index, chosen)
        last, noise = noise, model.noise()
        if noise > last * (1 - _LEAST_SWEEP_GAIN):
            return
        step = max(step / 2, _SMALLEST_FIRST_STEP)


def _limits(terms: GroupTerms, group: ChannelGroup) -> Float64 | None:
    """Least factors under a common Clip; 1 stands for a channel that reaches it."""
    if group.bound is None:
        return None
    limits = np.minimum(terms.magnitudes / group.bound, 1.0)
    return np.where(limits >= _AT_BOUND, 1.0, limits)


def _descend(terms: GroupTerms, start: Float64, limits: Float64 | None, step: float) -> Float64:
    """Pattern search over the extents, by factors of two and less.

    Args:
        terms: the group's noise.
        start: float64 [C]. Factors to begin with.
        limits: float64 [C]. Least factors under a common Clip; where 1, the factor is 1. None: the
            factors are free.
        step: first change of an extent, as a base-2 logarithm.
    """
    best, least = start, terms.noise(start)
    extents = np.log2(_extents(terms, start))
    while step > _SMALLEST_STEP:
        has_moved = False
        for axis in range(len(extents)):
            for sign in (1.0, -1.0):
                moved = extents.copy()
                moved[axis] += sign * step
                factors = _limited(terms, terms.best_factors(2.0**moved), limits)
                noise = terms.noise(factors)
                if noise < least * (1 - _LEAST_GAIN):
                    best, least, extents, has_moved = factors, noise, moved, True
        if not has_moved:
            step /= 2
    return best


def _extents(terms: GroupTerms, factors: Float64) -> Float64:
    values = [(terms.magnitudes / factors).max()]
    values += [(term.largest / factors).max() for term in terms.producers]
    values += [(term.largest * factors).max() for term in terms.consumers]
    return np.maximum(np.array(values, np.float64), np.finfo(np.float64).tiny)


def _limited(terms: GroupTerms, factors: Float64, limits: Float64 | None) -> Float64:
    factors = np.minimum(np.maximum(factors, 1 / _LARGEST_FACTOR), _LARGEST_FACTOR)
    # A dead channel has nothing to gain, and its weights nothing to lose.
    factors = np.where(terms.magnitudes == 0, 1.0, factors)
    if limits is None:
        return np.asarray(factors)
    return np.where(limits == 1.0, 1.0, np.maximum(factors, limits))


def _result(model: NoiseModel, is_free: list[bool]) -> Equalization:
    factors: dict[str, tuple[float, ...]] = {}
    bounds: dict[str, float] = {}
    for index, (group, chosen) in enumerate(zip(model.groups, model.factors, strict=True)):
        if (chosen == 1.0).all():
            continue
        # float32 is what a Network and an ONNX model can say.
        exact = chosen.astype(np.float32).astype(np.float64)
        factors |= {layer.name: tuple(exact.tolist()) for layer in group.producers}
        if is_free[index] and group.bound is not None:
            largest = float((model.terms(index).magnitudes / exact).max())
            bounds |= {layer.name: float(np.float32(largest)) for layer in group.clipped}
    return Equalization(factors, bounds)
