"""What a proto that lacks ranges decides nevertheless."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tidlq.decision.placement import rescale
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.quantproto import ExpectedLayer, SavedRanges, resolve_ranges
from tidlq.spec import Equalization, Precision, Range, Ranges
from tidlq.target import Options


@dataclass(frozen=True)
class Given:
    """What a partial proto decides; calibration finds the rest.

    Attributes:
        ranges: of features and parameters, biases, equalization.
        features: bits by tensor.
        parameters: bits by layer.
        name: of the file; empty where there is none.
        digest: of the file's content.
    """

    ranges: Ranges = field(default_factory=lambda: Ranges({}, {}, {}))
    features: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    digest: str = ""

    @staticmethod
    def of(
        saved: SavedRanges, expected: Sequence[ExpectedLayer], name: str, content: bytes
    ) -> Given:
        """What a proto states.

        Args:
            saved: what it says.
            expected: what the network needs.
            name: of the file.
            content: of the file.
        """
        decided = resolve_ranges(saved, expected)
        return Given(
            replace(decided.ranges, biases=decided.values, equalization=saved.equalization),
            decided.precision.features,
            decided.precision.parameters,
            name,
            hashlib.sha256(content).hexdigest(),
        )

    @property
    def equalization(self) -> Equalization:
        """Rescaling of channels, after which all the ranges are."""
        return self.ranges.equalization

    def rescaled(self, graph: Graph, parts: Partition, options: Options) -> tuple[Graph, Partition]:
        """The Graph with its channels rescaled as the file says, and its stages."""
        return rescale(graph, parts, options, self.equalization, self.name)

    def over(self, chosen: Ranges, own: Ranges) -> Ranges:
        """Ranges of parameters with those that are given in their place.

        Args:
            chosen: of the parameters, perhaps narrowed.
            own: as the graph has them.
        """
        given = self.ranges.parameters
        kept = {name: c for name, c in chosen.channels.items() if name not in given}
        return with_channels(
            own,
            replace(
                chosen,
                parameters={**chosen.parameters, **given},
                channels={**kept, **self.ranges.channels},
                biases={**chosen.biases, **self.ranges.biases},
            ),
        )

    def over_precision(self, precision: Precision) -> Precision:
        """Bits with those that are given in their place."""
        return Precision(
            precision.default,
            {**precision.features, **self.features},
            {**precision.parameters, **self.parameters},
        )

    def concerns(self, names: Collection[str]) -> bool:
        """Whether a range of one of the tensors or parameters is given."""
        known = {*self.ranges.features, *self.ranges.parameters, *self.ranges.biases}
        return not known.isdisjoint(names)


def with_channels(
    own: Ranges, ranges: Ranges, others: Mapping[str, Sequence[Range]] | None = None
) -> Ranges:
    """Channel ranges that are not stated are the weights' own, within the whole's range.

    Args:
        own: ranges of the parameters as the graph has them.
        ranges: stated ones.
        others: channel ranges that stand in for the weights' own.
    """
    channels: dict[str, Sequence[Range]] = {**own.channels, **ranges.channels}
    for name in own.channels.keys() - ranges.channels.keys():
        whole, found = ranges.parameters[name], (others or {}).get(name, ())
        if len(found) == len(own.channels[name]):
            channels[name] = tuple(channel.clipped(whole) for channel in found)
        elif own.parameters[name].clipped(whole) != own.parameters[name]:
            channels[name] = tuple(channel.clipped(whole) for channel in own.channels[name])
    return replace(ranges, channels=channels)
