"""Plans of one network that differ in precision: each is what a compilation would make."""

from __future__ import annotations

from dataclasses import replace

from tidlq.graph.model import Graph
from tidlq.graph.parameters import operand_index
from tidlq.graph.partition import Partition
from tidlq.precision.plan import ChooseRange, IsAsymmetric, PlanMemory, make_plan
from tidlq.spec import (
    FeatureScales,
    ParameterRole,
    Precision,
    QuantPlan,
    Range,
    Ranges,
    Scheme,
    parameter_name,
)


class VariantPlans:
    """Makes the plan of any precision from the same ranges; what two plans share is decided once.

    Args:
        graph: gives weights and biases.
        partition: its stages.
        ranges: as in `make_plan`: of the 8-bit network, with its calibrated biases.
        scheme: the rules.
        is_asymmetric: a device's restriction of asymmetric schemes.
        choose: ranges of feature maps from statistics, by the scales that they may have: 16 bits
            are given another range than 8. Without it, `ranges.features` serve both.
        wide: ranges of parameters of 16 bits, which are not clipped; without it, `ranges` serve
            both.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        ranges: Ranges,
        scheme: Scheme,
        *,
        is_asymmetric: IsAsymmetric | None = None,
        choose: ChooseRange | None = None,
        wide: Ranges | None = None,
    ) -> None:
        self._graph = graph
        self._partition = partition
        self._ranges = ranges
        self._scheme = scheme
        self._is_asymmetric = is_asymmetric
        self._choose = choose
        self._chosen: dict[tuple[str, FeatureScales], Range] = {}
        self._wide = wide
        self._memory = PlanMemory()
        self._with_parameters = tuple(
            layer.name
            for layer in partition.layers
            if layer.weight is not None or operand_index(graph, layer) is not None
        )

    def plan(self, precision: Precision) -> QuantPlan:
        """The plan of a precision.

        Raises:
            QuantProtoError: A range is missing, or a feature cannot have the bits asked for.
            ModelError: Ranges are too large for integers and shifts, or a layer sums too much for
                its accumulator.
        """
        return make_plan(
            self._graph,
            self._partition,
            self.ranges_of(precision),
            self._scheme,
            precision=precision,
            is_asymmetric=self._is_asymmetric,
            choose=None if self._choose is None else self._range,
            memory=self._memory,
        )

    def _range(self, name: str, scales: FeatureScales) -> Range:
        assert self._choose is not None
        key = (name, scales)
        if key not in self._chosen:
            self._chosen[key] = self._choose(name, scales)
        return self._chosen[key]

    def ranges_of(self, precision: Precision) -> Ranges:
        """The ranges of a precision: with those of 16-bit parameters."""
        wide = [x for x in self._with_parameters if precision.parameter_bits(x) > 8]
        if self._wide is None or not wide:
            return self._ranges
        roles = (ParameterRole.WEIGHT, ParameterRole.SLOPE)
        names = {parameter_name(layer, role) for layer in wide for role in roles}
        own = self._wide
        parameters = {n: own.parameters[n] for n in names & own.parameters.keys()}
        channels = {n: own.channels[n] for n in names & own.channels.keys()}
        return replace(
            self._ranges,
            parameters={**self._ranges.parameters, **parameters},
            channels={**self._ranges.channels, **channels},
        )
