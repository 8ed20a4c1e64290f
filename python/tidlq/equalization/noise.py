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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.equalization.groups import CHANNEL_AXIS, ChannelGroup
from tidlq.equalization.rewrite import by_output, input_channels, scaled_inputs
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import Partition

Float64 = NDArray[np.float64]

_PASSED_BY_CLAMP = 0.5
_FEATURE_CODES = 255.0
_WEIGHT_CODES = 128.0


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """What calibration saw of a feature map's channels.

    Attributes:
        magnitudes: float64 [C]. Largest |x|.
        variances: float64 [C].
    """

    magnitudes: Float64
    variances: Float64


def _squares(weight: Float64) -> Float64:
    """Squares summed over the kernel: [C_out, C_in / groups]."""
    flat = weight.reshape(*weight.shape[:2], -1) if weight.ndim > 1 else weight.reshape(-1, 1, 1)
    return np.asarray((flat * flat).sum(axis=2), np.float64)


def _to_inputs(layer: Layer, squares: Float64, outputs: Float64) -> Float64:
    """Sum over outputs of squares * outputs, per input channel."""
    groups, per_group = input_channels(layer, squares)
    blocks = squares.reshape(groups, -1, per_group) * outputs.reshape(groups, -1, 1)
    return np.asarray(blocks.sum(axis=1)).reshape(-1)


def _per_input(layer: Layer, weight: Float64, outputs: Float64) -> Float64:
    """Sum over the outputs that read each input channel."""
    groups, per_group = input_channels(layer, weight)
    return np.repeat(outputs.reshape(groups, -1).sum(axis=1), per_group)


def _per_output(layer: Layer, weight: Float64, inputs: Float64) -> Float64:
    """Sum over the inputs that each output channel reads."""
    groups, _ = input_channels(layer, weight)
    return np.repeat(inputs.reshape(groups, -1).sum(axis=1), len(weight) // groups)


def largest_by_output(weight: Float64) -> Float64:
    """Largest |w| of each output channel."""
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1), np.float64)


def largest_by_input(layer: Layer, weight: Float64) -> Float64:
    """Largest |w| of each input channel."""
    groups, per_group = input_channels(layer, weight)
    blocks = np.abs(weight).reshape(groups, len(weight) // groups, per_group, -1)
    return np.asarray(blocks.max(axis=(1, 3))).reshape(-1)


def find_importance(
    graph: Graph, partition: Partition, weights: Mapping[str, Float64]
) -> dict[str, Float64]:
    """Importance of every feature map's channels, by backward propagation.

    Args:
        graph: gives shapes.
        partition: its layers.
        weights: by layer, float64 [C_out, ...].

    Returns:
        float64 [C] by tensor; what no layer with a weight reads has 1 everywhere.
    """
    importance: dict[str, Float64] = {}
    for layer in reversed(partition.layers):
        channels = _channels(graph, layer.output)
        outputs = importance.setdefault(layer.output, np.ones(channels))
        if layer.clamp is not None:
            outputs = outputs * _PASSED_BY_CLAMP
        for name in layer.inputs:
            if graph.constant(name) is not None:
                continue
            known = importance.setdefault(name, np.zeros(_channels(graph, name)))
            if layer.name in weights:
                passed = _to_inputs(layer, _squares(weights[layer.name]), outputs)
            else:
                passed = outputs
            fits = passed.shape == known.shape
            importance[name] = known + (passed if fits else np.float64(passed.mean()))
    return importance


def _channels(graph: Graph, name: str) -> int:
    shape = graph.shape(name) or ()
    return shape[CHANNEL_AXIS] if len(shape) > CHANNEL_AXIS else 1


@dataclass(frozen=True, eq=False)
class WeightTerm:
    """A layer's share in the noise of a group.

    Attributes:
        largest: float64 [C]. Largest |w| of each of the group's channels, without the factor.
        noise: float64 [C]. P_c or Q_c.
    """

    largest: Float64
    noise: Float64


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
        step = float(largest) / codes
        if self.is_power_of_two and step > 0:
            mantissa, exponent = np.frexp(step)
            return float(np.ldexp(1.0, int(exponent) - int(mantissa == 0.5)))
        return step

    def noise(self, factors: Float64) -> float:
        """The noise that factors float64 [C] leave."""
        squares = factors**2
        total = self.step((self.magnitudes / factors).max(), _FEATURE_CODES) ** 2 * float(
            (squares * self.features).sum()
        )
        for term in self.producers:
            step = self.step((term.largest / factors).max(), _WEIGHT_CODES)
            total += step**2 * float((squares * term.noise).sum())
        for term in self.consumers:
            step = self.step((term.largest * factors).max(), _WEIGHT_CODES)
            total += step**2 * float((term.noise / squares).sum())
        return total

    def best_factors(self, extents: Float64) -> Float64:
        """The factors of least noise for given extents, which they keep to.

        Without limits  s^4 = sum of d_q^2 Q / (d_t^2 B + sum of d_p^2 P).

        Args:
            extents: float64 [1 + producers + consumers]. Largest magnitude after the division: of
                the features, of each producer's and of each consumer's weight.
        """
        first = 1 + len(self.producers)
        produced, consumed = extents[1:first], extents[first:]
        pairs = tuple(zip(produced, self.producers, strict=True))
        readers = tuple(zip(consumed, self.consumers, strict=True))
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
            most = np.minimum(most, extent / np.maximum(term.largest, _TINY))
        return np.asarray(np.minimum(np.maximum(factors, least), np.maximum(most, _TINY)))


_TINY = 1e-30


class NoiseModel:
    """The network's layers with the factors chosen so far.

    Args:
        graph: gives weights.
        partition: its layers.
        groups: channel groups.
        statistics: of every feature map that a layer with a weight reads, and of the groups'.
        is_power_of_two: steps are powers of two.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        groups: tuple[ChannelGroup, ...],
        statistics: Mapping[str, ChannelStatistics],
        is_power_of_two: bool,
    ) -> None:
        self.groups = groups
        self.statistics = statistics
        self.is_power_of_two = is_power_of_two
        self.factors = [np.ones(group.channels) for group in groups]
        self._own = {
            layer.name: layer_parameters(graph, layer).weight.astype(np.float64)
            for layer in partition.layers
            if layer.kind.has_weight
        }
        self._scaled = dict(self._own)
        self._importance = find_importance(graph, partition, self._own)
        self._input_group = {x.name: i for i, g in enumerate(groups) for x in g.consumers}
        self._output_group = {x.name: i for i, g in enumerate(groups) for x in g.producers}

    def terms(self, index: int) -> GroupTerms:
        """What the noise of a group depends on, the other groups' factors as they are."""
        group = self.groups[index]
        known = [self.statistics[name] for name in group.tensors if name in self.statistics]
        features = np.zeros(group.channels)
        for layer in group.consumers:
            features += _to_inputs(layer, _squares(self._own[layer.name]), self._passed(layer))
        return GroupTerms(
            np.max([item.magnitudes for item in known], axis=0),
            features,
            tuple(self._producer(index, layer) for layer in group.producers),
            tuple(self._consumer(index, layer) for layer in group.consumers),
            self.is_power_of_two,
        )

    def noise(self) -> float:
        """The noise of all groups."""
        return float(sum(self.terms(index).noise(f) for index, f in enumerate(self.factors)))

    def set_factors(self, index: int, factors: Float64) -> None:
        """Takes factors for a group."""
        ratio = factors / self.factors[index]
        self.factors[index] = factors
        for layer in self.groups[index].producers:
            weight = self._scaled[layer.name]
            self._scaled[layer.name] = weight / by_output(ratio, weight.ndim)
        for layer in self.groups[index].consumers:
            self._scaled[layer.name] = scaled_inputs(layer, self._scaled[layer.name], ratio)

    def _passed(self, layer: Layer) -> Float64:
        importance = self._importance[layer.output]
        return importance if layer.clamp is None else importance * _PASSED_BY_CLAMP

    def _producer(self, index: int, layer: Layer) -> WeightTerm:
        weight, source = self._scaled[layer.name], layer.inputs[0]
        variances = self.statistics[source].variances
        if layer.name in self._input_group:
            variances = variances / self.factors[self._input_group[layer.name]] ** 2
        inputs = _per_output(layer, weight, variances) * _taps(weight)
        largest = largest_by_output(weight) * self.factors[index]
        return WeightTerm(largest, self._passed(layer) * inputs)

    def _consumer(self, index: int, layer: Layer) -> WeightTerm:
        weight = self._scaled[layer.name]
        outputs = self._passed(layer)
        if layer.name in self._output_group:
            outputs = outputs * self.factors[self._output_group[layer.name]] ** 2
        noise = self.statistics[layer.inputs[0]].variances * _per_input(layer, weight, outputs)
        largest = largest_by_input(layer, weight) / self.factors[index]
        return WeightTerm(largest, noise * _taps(weight))


def _taps(weight: Float64) -> int:
    return int(np.prod(weight.shape[2:]))
