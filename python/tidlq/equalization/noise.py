"""How much rounding noise a choice of factors leaves at the network's output: a model.

Rounding errors are taken as independent and uniform, so a step d has the variance d^2 / 12. Noise
of variance v in channel c of a feature map reaches the output with variance  importance[c] * v,
where importance is propagated backwards through the squared weights; a fused ReLU or Clip passes
half.
With steps d_t of a group's feature maps, d_p of its producers' weights and d_q of its consumers',
all after the division by s, the noise of a group is the sum over channels c of

    d_t^2 s_c^2 B_c  +  sum over p of d_p^2 s_c^2 P_c  +  sum over q of d_q^2 / s_c^2 Q_c

    B_c = sum over consumers and their outputs o of  w_oc^2 importance_o
    P_c = importance_c * sum over inputs k of  var(x_k) / f_k^2         (f: factors of the inputs)
    Q_c = var(x_c) * sum over outputs o of  importance_o g_o^2          (g: factors of the outputs)

The variance of the inputs counts, not their square: bias calibration takes their mean away.

Where biases have few bits, a bias b asks for a weight step of  |b| / (largest code * input step)
at least, as if the weight had an element of that many steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tidlq import _core
from tidlq.equalization.channel_wise import ChannelWiseTerms, ReaderTerm
from tidlq.equalization.groups import ChannelGroup
from tidlq.equalization.importance import (
    PASSED_BY_CLAMP,
    find_importance,
    squares_of,
    to_inputs,
)
from tidlq.equalization.rewrite import by_output, input_channels, scaled_inputs
from tidlq.graph.channels import in_taps
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import Partition
from tidlq.spec import Range

Float64 = NDArray[np.float64]

# Largest square of the slope of x * sigmoid(z) in z, for z = x up to 8.
_MOST_MOVED = 0.05
_FEATURE_CODES = 255.0
_WEIGHT_CODES = 128.0


@dataclass(frozen=True, eq=False)
class ChannelSpread:
    """What calibration saw of a feature map's channels.

    Attributes:
        magnitudes: float64 [C]. Largest |x|.
        variances: float64 [C].
        headroom: factor by which a small channel may come to exceed what was seen of it, in groups
            with gates or added constants, and everywhere with a scale per output channel.
    """

    magnitudes: Float64
    variances: Float64
    headroom: float = 1.0

    @classmethod
    def of(
        cls,
        seen: _core.ChannelStatistics,
        relevant: Range | None = None,
        headroom: float = 1.0,
    ) -> ChannelSpread:
        """From what the calibration frames have shown; what is not relevant has no magnitude."""
        means = seen.sums / seen.count
        variances = np.maximum(seen.sums_of_squares / seen.count - means**2, 0.0)
        minima, maxima = seen.minima, seen.maxima
        if relevant is not None:
            minima, maxima = (np.clip(x, relevant.min, relevant.max) for x in (minima, maxima))
        magnitudes = np.maximum(np.abs(minima), np.abs(maxima)).astype(np.float64)
        return cls(magnitudes, variances, headroom)


def _peaks(weight: NDArray[np.floating]) -> NDArray[np.floating]:
    """Largest |w| over the kernel, of which factors scale all alike: [C_out, C_in / groups, 1].

    Of the weight's own type: with those of all layers in float64, memory would be what the search
    costs most.
    """
    return np.asarray(np.abs(in_taps(weight)).max(axis=2, keepdims=True))


def _per_input(layer: Layer, weight: NDArray[np.floating], outputs: Float64) -> Float64:
    """Sum over the outputs that read each input channel."""
    groups, per_group = input_channels(layer, weight)
    return np.repeat(outputs.reshape(groups, -1).sum(axis=1), per_group)


def _per_output(layer: Layer, weight: NDArray[np.floating], inputs: Float64) -> Float64:
    """Sum over the inputs that each output channel reads."""
    groups, _ = input_channels(layer, weight)
    return np.repeat(inputs.reshape(groups, -1).sum(axis=1), len(weight) // groups)


def largest_by_output(weight: NDArray[np.floating]) -> Float64:
    """Largest |w| of each output channel."""
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1), np.float64)


def largest_by_input(layer: Layer, weight: NDArray[np.floating]) -> Float64:
    """Largest |w| of each input channel."""
    groups, per_group = input_channels(layer, weight)
    blocks = np.abs(weight).reshape(groups, len(weight) // groups, per_group, -1)
    return np.asarray(blocks.max(axis=(1, 3)), np.float64).reshape(-1)


def step_of(largest: np.float64 | float, codes: float, is_power_of_two: bool) -> float:
    """The step of an integer whose largest code holds a magnitude."""
    step = float(largest) / codes
    if is_power_of_two and step > 0:
        mantissa, exponent = math.frexp(step)
        return math.ldexp(1.0, exponent - int(mantissa == 0.5))
    return step


@dataclass(frozen=True, eq=False)
class WeightTerm:
    """A layer's share in the noise of a group.

    Attributes:
        largest: float64 [C]. Largest |w| of each of the group's channels, without the factor.
        noise: float64 [C]. P_c or Q_c.
        bias: consumers only: what the largest |bias|, divided by the step of the group's feature
            maps, makes of `largest`.
    """

    largest: Float64
    noise: Float64
    bias: float = 0.0

    @cached_property
    def divisor(self) -> Float64 | None:
        """`largest` without zeros; None where it is all zero, which keeps to any extent."""
        return np.maximum(self.largest, _TINY) if self.largest.any() else None


@dataclass(frozen=True, eq=False)
class GroupTerms:
    """All that the noise of a group depends on; see the page's head.

    Attributes:
        magnitudes: float64 [C]. Largest |x|.
        features: float64 [C]. B_c.
        producers, consumers: one term per layer.
        is_power_of_two: steps are rounded up to powers of two.
    """

    magnitudes: Float64
    features: Float64
    producers: tuple[WeightTerm, ...]
    consumers: tuple[WeightTerm, ...]
    is_power_of_two: bool

    def step(self, largest: np.float64 | float, codes: float) -> float:
        """The step of an integer whose largest code holds a magnitude."""
        return step_of(largest, codes, self.is_power_of_two)

    def noise(self, factors: Float64) -> float:
        """The noise that factors float64 [C] leave."""
        squares = factors**2
        total = self.feature_noise(factors, squares)
        total += sum([self.producer_noise(i, factors, squares) for i in range(len(self.producers))])
        step = self.feature_step(factors)
        total += sum(
            [self.consumer_noise(i, factors, squares, step) for i in range(len(self.consumers))]
        )
        return total

    def feature_noise(self, factors: Float64, squares: Float64) -> float:
        """The feature maps' share; `squares` are those of the factors, here and below."""
        return self.feature_step(factors) ** 2 * float(np.add.reduce(squares * self.features))

    def feature_step(self, factors: Float64) -> float:
        """The step of the group's feature maps."""
        return self.step(np.maximum.reduce(self.magnitudes / factors), _FEATURE_CODES)

    def producer_noise(self, index: int, factors: Float64, squares: Float64) -> float:
        """A producer's share."""
        term = self.producers[index]
        step = self.step(np.maximum.reduce(term.largest / factors), _WEIGHT_CODES)
        return step**2 * float(np.add.reduce(squares * term.noise))

    def consumer_noise(
        self, index: int, factors: Float64, squares: Float64, feature_step: float
    ) -> float:
        """A consumer's share."""
        term = self.consumers[index]
        largest = float(np.maximum.reduce(term.largest * factors))
        if term.bias > 0:
            largest = max(largest, term.bias / max(feature_step, _TINY))
        step = self.step(largest, _WEIGHT_CODES)
        return step**2 * float(np.add.reduce(term.noise / squares))

    def best_factors(self, extents: Float64) -> Float64:
        """The factors of least noise for given extents, which they keep to.

        Without limits  s^4 = sum of d_q^2 Q / (d_t^2 B + sum of d_p^2 P).

        Args:
            extents: float64 [1 + producers + consumers]. Largest magnitude after the division: of
                the features, of each producer's and of each consumer's weight.
        """
        first = 1 + len(self.producers)
        produced, consumed = extents[1:first], extents[first:]
        pairs = tuple(zip(produced.tolist(), self.producers, strict=True))
        readers = tuple(zip(consumed.tolist(), self.consumers, strict=True))
        above = sum((e / _WEIGHT_CODES) ** 2 * t.noise for e, t in readers)
        below = (extents[0] / _FEATURE_CODES) ** 2 * self.features
        for extent, term in pairs:
            below = below + (extent / _WEIGHT_CODES) ** 2 * term.noise
        factors = (above / np.maximum(below, _TINY)) ** 0.25
        least = self.magnitudes / extents[0]
        for extent, term in pairs:
            least = np.maximum(least, term.largest / extent)
        most = np.full_like(least, np.inf)
        for extent, term in readers:
            if term.divisor is not None:
                most = np.minimum(most, extent / term.divisor)
        return np.asarray(np.minimum(np.maximum(factors, least), np.maximum(most, _TINY)))


_TINY = 1e-30


def _magnitudes(
    group: ChannelGroup,
    statistics: Mapping[str, ChannelSpread],
    is_channel_wise: bool,
) -> Float64:
    """Largest |x| to expect of each channel of a group.

    Where a Clip stands, other inputs than the calibration frames may come to its bound, and the
    bound of the channel must not be in their way. Elsewhere a channel may exceed what was seen
    of it by the headroom, but not the largest of all.
    """
    known = [statistics[name].magnitudes for name in group.tensors if name in statistics]
    if group.is_scaled:
        known = _to_scale_of_readers(group, statistics, known)
    seen = np.asarray(np.max(known, axis=0), np.float64)
    if group.bound is None:
        headroom = max(statistics[name].headroom for name in group.tensors if name in statistics)
        has_headroom = (is_channel_wise or group.is_scaled) and headroom > 1
        return np.minimum(seen * headroom, seen.max()) if has_headroom else seen
    return np.where(seen > 0, np.maximum(seen, group.bound), 0.0)


def _to_scale_of_readers(
    group: ChannelGroup, statistics: Mapping[str, ChannelSpread], known: list[Float64]
) -> list[Float64]:
    """Magnitudes as if every feature map of the group had the largest value of those read."""
    largest = max(statistics[layer.inputs[0]].magnitudes.max() for layer in group.consumers)
    return [each * (largest / max(each.max(), _TINY)) for each in known]


class NoiseModel:
    """The network's layers with the factors chosen so far.

    Args:
        graph: gives weights.
        partition: its layers.
        groups: channel groups.
        statistics: of every feature map that a layer with a weight reads, and of the groups'.
        is_power_of_two: steps are powers of two.
        bias_codes: largest integer of a bias.
        is_channel_wise: each output channel of a weight has its own scale.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        groups: tuple[ChannelGroup, ...],
        statistics: Mapping[str, ChannelSpread],
        is_power_of_two: bool,
        bias_codes: float = math.inf,
        is_channel_wise: bool = False,
    ) -> None:
        self.groups = groups
        self.statistics = statistics
        self.is_power_of_two = is_power_of_two
        self.factors = [np.ones(group.channels) for group in groups]
        weighted = [layer for layer in partition.layers if layer.kind.has_weight]
        weights = {layer.name: layer_parameters(graph, layer).weight for layer in weighted}
        self._taps = {name: in_taps(weight).shape[2] for name, weight in weights.items()}
        self._peaks = {name: _peaks(weight) for name, weight in weights.items()}
        self._largest: dict[tuple[str, bool], Float64] = {}
        self._bias_codes = bias_codes
        self._biases = {
            layer.name: np.abs(bias)
            for layer in weighted
            if (bias := layer_parameters(graph, layer).bias) is not None
        }
        squares = {name: squares_of(weight) for name, weight in weights.items()}
        self._importance = find_importance(graph, partition, squares)
        self._input_group = {x.name: i for i, g in enumerate(groups) for x in g.consumers}
        self._output_group = {x.name: i for i, g in enumerate(groups) for x in g.producers}
        self.is_channel_wise = is_channel_wise
        self._magnitudes = [_magnitudes(group, statistics, is_channel_wise) for group in groups]
        self._features = [
            sum(
                (
                    to_inputs(layer, squares[layer.name], self._passed(layer))
                    for layer in group.consumers
                ),
                np.zeros(group.channels),
            )
            for group in groups
        ]

    def terms(self, index: int) -> GroupTerms:
        """What the noise of a group depends on, the other groups' factors as they are."""
        group = self.groups[index]
        return GroupTerms(
            self._magnitudes[index],
            self._features[index],
            tuple(self._producer(index, layer) for layer in group.producers),
            (
                *(self._consumer(index, layer) for layer in group.consumers),
                *(self._gain(index, layer, tensor) for layer, tensor in group.restored),
            ),
            self.is_power_of_two,
        )

    def channel_wise_terms(self, index: int) -> ChannelWiseTerms:
        """The same where each output channel of a weight has its own scale."""
        group = self.groups[index]
        names = {layer.inputs[0] for layer in group.consumers}
        variances = np.max([self.statistics[name].variances for name in sorted(names)], axis=0)
        return ChannelWiseTerms(
            self._magnitudes[index],
            self._features[index],
            variances,
            tuple(self._reader(layer) for layer in group.consumers),
        )

    def noise_of(self, index: int, factors: Float64) -> float:
        """The noise of a group, the other groups' factors as they are."""
        if self.is_channel_wise:
            return self.channel_wise_terms(index).noise(factors)
        return self.terms(index).noise(factors)

    def noise_to_signal(self, index: int, factors: Float64) -> float:
        """The noise of a group as a part of what its values bring to the output."""
        sources = {layer.inputs[0] for layer in self.groups[index].consumers}
        variances = np.max([self.statistics[name].variances for name in sorted(sources)], axis=0)
        signal = float((self._features[index] * variances).sum())
        return self.noise_of(index, factors) / max(signal, _TINY)

    def noise(self) -> float:
        """The noise of all groups; a layer between two of them counts once."""
        if self.is_channel_wise:
            return sum(self.noise_of(i, factors) for i, factors in enumerate(self.factors))
        total = 0.0
        for index, (group, factors) in enumerate(zip(self.groups, self.factors, strict=True)):
            terms, squares = self.terms(index), factors**2
            total += terms.feature_noise(factors, squares)
            places = range(len(group.producers))
            total += sum(terms.producer_noise(i, factors, squares) for i in places)
            step = terms.feature_step(factors)
            total += sum(
                terms.consumer_noise(place, factors, squares, step)
                for place in range(len(terms.consumers))
                if place >= len(group.consumers)
                or group.consumers[place].name not in self._output_group
            )
        return total

    def set_factors(self, index: int, factors: Float64) -> None:
        """Takes factors for a group."""
        self.factors[index] = factors
        for layer in (*self.groups[index].producers, *self.groups[index].consumers):
            self._largest.pop((layer.name, True), None)
            self._largest.pop((layer.name, False), None)

    def _largest_of(self, layer: Layer, *, by_input: bool) -> Float64:
        """Largest |w| of each output or input channel, with the factors chosen so far."""
        key = layer.name, by_input
        if key not in self._largest:
            peaks = self._peaks[layer.name]
            read, written = (
                table.get(layer.name) for table in (self._input_group, self._output_group)
            )
            if read is not None:
                peaks = scaled_inputs(layer, peaks, self.factors[read])
            if written is not None:
                peaks = peaks / by_output(self.factors[written], peaks.ndim)
            self._largest[key] = (
                largest_by_input(layer, peaks) if by_input else largest_by_output(peaks)
            )
        return self._largest[key]

    def _passed(self, layer: Layer) -> Float64:
        importance = self._importance[layer.output]
        return importance if layer.clamp is None else importance * PASSED_BY_CLAMP

    def _producer(self, index: int, layer: Layer) -> WeightTerm:
        peaks = self._peaks[layer.name]
        variances = self.statistics[layer.inputs[0]].variances
        if layer.name in self._input_group:
            variances = variances / self.factors[self._input_group[layer.name]] ** 2
        inputs = _per_output(layer, peaks, variances) * self._taps[layer.name]
        largest = self._largest_of(layer, by_input=False) * self.factors[index]
        largest = np.maximum(largest, self._reach(layer) / max(self._input_step(layer), _TINY))
        return WeightTerm(largest, self._passed(layer) * inputs)

    def _consumer(self, index: int, layer: Layer) -> WeightTerm:
        peaks = self._peaks[layer.name]
        outputs = self._passed(layer)
        if layer.name in self._output_group:
            outputs = outputs * self.factors[self._output_group[layer.name]] ** 2
        noise = self.statistics[layer.inputs[0]].variances * _per_input(layer, peaks, outputs)
        largest = self._largest_of(layer, by_input=True) / self.factors[index]
        reach = self._reach(layer)
        if layer.name in self._output_group:
            reach = reach / self.factors[self._output_group[layer.name]]
        return WeightTerm(largest, noise * self._taps[layer.name], float(reach.max()))

    def _gain(self, index: int, layer: Layer, tensor: str) -> WeightTerm:
        """Gains in front of a gate: what they get wrong moves the gate, and x times it."""
        spread = self.statistics[tensor]
        moved = np.minimum(spread.variances / 16, _MOST_MOVED) * spread.variances
        importance = self._importance[layer.output]
        return WeightTerm(np.ones(self.groups[index].channels), moved * importance)

    def _reader(self, layer: Layer) -> ReaderTerm:
        peaks = self._peaks[layer.name]
        groups, per_group = input_channels(layer, peaks)
        largest = peaks.astype(np.float64).reshape(groups, -1, per_group)
        importance = self._passed(layer) * self._taps[layer.name]
        return ReaderTerm(largest, importance.reshape(groups, -1))

    def _reach(self, layer: Layer) -> Float64:
        """What biases, divided by the step of the layer's input, ask of the weights: [C_out]."""
        bias = self._biases.get(layer.name, np.zeros(len(self._peaks[layer.name])))
        index = self._output_group.get(layer.name)
        if index is not None and layer in self.groups[index].clipped:
            # A bound per channel is added to the mirrored bias.
            bias = bias + self._magnitudes[index]
        return bias * (_WEIGHT_CODES / self._bias_codes)

    def _input_step(self, layer: Layer) -> float:
        index = self._input_group.get(layer.name)
        if index is None:
            magnitudes = self.statistics[layer.inputs[0]].magnitudes
        else:
            magnitudes = self._magnitudes[index] / self.factors[index]
        return step_of(magnitudes.max(), _FEATURE_CODES, self.is_power_of_two)
