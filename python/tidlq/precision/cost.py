"""What a choice of states costs: the latency of a network, by a model of its layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tidlq.precision.groups import GroupState, PrecisionGroup
from tidlq.spec import Precision
from tidlq.target import Device, LayerBits, LayerWork, layer_cycles

LayerCost = Callable[[LayerWork, LayerBits], float]
"""Latency of a layer in milliseconds."""


@dataclass(frozen=True)
class LatencyModel:
    """Where latencies come from.

    Attributes:
        name: for reports.
        layer_cost: of one layer.
    """

    name: str
    layer_cost: LayerCost


def device_latency(device: Device) -> LatencyModel:
    """The device's model: `tidlq.target.cost`, on one core.

    Args:
        device: gives rates.
    """
    cycles_per_ms = device.facts.clock_ghz * 1e6
    return LatencyModel(
        f"model of {device.value}",
        lambda work, bits: layer_cycles(work, bits, device) / cycles_per_ms,
    )


class StateCosts:
    """Latency of a network with its groups in given states.

    Args:
        groups: of the network.
        work: of its layers.
        model: latency of one layer.
        base: bits that features and parameters have at least, whatever the states.
    """

    def __init__(
        self,
        groups: Sequence[PrecisionGroup],
        work: Sequence[LayerWork],
        model: LatencyModel,
        base: Precision | None = None,
    ) -> None:
        self.groups = tuple(groups)
        self.model = model
        self._place = {group.name: index for index, group in enumerate(groups)}
        feature_place = {name: i for i, group in enumerate(groups) for name in group.features}
        every = [_Layer(item, feature_place, base or Precision(), model) for item in work]
        layers = [layer for layer in every if len(layer.members) <= _MOST_MEMBERS]
        self._large = [layer for layer in every if len(layer.members) > _MOST_MEMBERS]
        # The latencies of a layer for all states of the groups that it touches, one after the
        # other: the states are the digits of a number to the base of `_STATES`.
        tables = [layer.table() for layer in layers]
        self._latencies = np.concatenate([*tables, np.zeros(1)])
        self._begins = np.cumsum([0, *map(len, tables)])[:-1]
        most = max((len(layer.members) for layer in layers), default=0)
        self._members = np.zeros((len(layers), most), np.int64)
        self._digits = np.zeros((len(layers), most), np.int64)
        for row, layer in enumerate(layers):
            count = len(layer.members)
            self._members[row, :count] = layer.members
            self._digits[row, :count] = len(_STATES) ** np.arange(count)
        self.narrow = self.cost({})
        self.wide = self.cost({group.name: group.states[-1] for group in groups})

    def cost(self, states: Mapping[str, GroupState]) -> float:
        """Latency in milliseconds.

        Args:
            states: by group; those that are not listed are NARROW.
        """
        codes = np.zeros(max(len(self._place), 1), np.int64)
        for name, state in states.items():
            codes[self._place[name]] = _CODES[state]
        numbers = (codes[self._members] * self._digits).sum(axis=1)
        total = float(self._latencies[self._begins + numbers].sum())
        return total + sum(layer.latency_of(codes) for layer in self._large)


_STATES = tuple(GroupState)
_CODES = MappingProxyType({state: code for code, state in enumerate(_STATES)})
_MOST_MEMBERS = 6
"""Groups of a layer whose latencies are kept in a table: three to the power of them."""


class _Layer:
    """A layer's latency, by the states of the groups that its features are in."""

    def __init__(
        self,
        work: LayerWork,
        place: Mapping[str, int],
        base: Precision,
        model: LatencyModel,
    ) -> None:
        self._work, self._model = work, model
        self._inputs = [(place[name], base.feature_bits(name)) for name, _ in work.inputs]
        self._output = place[work.output], base.feature_bits(work.output)
        self._least_depth = base.parameter_bits(work.name)
        self.members = tuple(dict.fromkeys([self._output[0], *(i for i, _ in self._inputs)]))

    def table(self) -> NDArray[np.float64]:
        """Latencies; the first member's state is the lowest digit."""
        count = len(self.members)
        return np.array(
            [
                self._latency(dict(zip(self.members, reversed(states), strict=True)))
                for states in itertools.product(_STATES, repeat=count)
            ]
        )

    def latency_of(self, codes: NDArray[np.int64]) -> float:
        """Latency for states by their codes."""
        return self._latency({index: _STATES[codes[index]] for index in self.members})

    def _latency(self, states: Mapping[int, GroupState]) -> float:
        index, least = self._output
        depth = max(states[index].parameter_bits, self._least_depth)
        read = tuple(max(states[i].feature_bits, low) for i, low in self._inputs)
        written = max(states[index].feature_bits, least)
        return self._model.layer_cost(self._work, LayerBits(read, depth, written))
