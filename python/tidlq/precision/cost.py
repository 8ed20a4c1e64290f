"""What a choice of states costs: the latency of a network, by a model of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
        base = base or Precision()
        self.groups = tuple(groups)
        self.model = model
        self._names = [group.name for group in groups]
        place = {name: i for i, group in enumerate(groups) for name in group.features}
        self._layers = [
            (
                item,
                tuple((place[name], base.feature_bits(name)) for name, _ in item.inputs),
                (place[item.output], base.feature_bits(item.output)),
                base.parameter_bits(item.name),
            )
            for item in work
        ]
        self._known: dict[tuple[int, tuple[int, ...], int, int], float] = {}
        self.narrow = self.cost({})
        self.wide = self.cost({group.name: group.states[-1] for group in groups})

    def cost(self, states: Mapping[str, GroupState]) -> float:
        """Latency in milliseconds.

        Args:
            states: by group; those that are not listed are NARROW.
        """
        every = [states.get(name, GroupState.NARROW) for name in self._names]
        bits = [state.feature_bits for state in every]
        depth = [state.parameter_bits for state in every]
        total = 0.0
        for index, (work, inputs, (output, least_output), least) in enumerate(self._layers):
            read = tuple(max(bits[i], least_input) for i, least_input in inputs)
            key = (index, read, max(depth[output], least), max(bits[output], least_output))
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = self.model.layer_cost(work, LayerBits(*key[1:]))
            total += known
        return total
