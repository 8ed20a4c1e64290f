"""Whether, and by how much, the channels of a network should be rescaled, by the noise model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tidlq.calibration import MeasuredFeatures
from tidlq.decision.placement import place_layers
from tidlq.decision.relevant_ranges import relevant_ranges
from tidlq.equalization import (
    ChannelGroup,
    ChannelSpread,
    EqualizationGain,
    find_equalization,
    is_read_by_channel,
)
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.graph.recognition.fusions import NO_FUSION
from tidlq.precision.weights import largest_bias_code
from tidlq.spec import ScaleRule, Scheme
from tidlq.target import Options, scheme_of

LEAST_HEADROOM, MOST_HEADROOM = 2.0, 16.0
"""At 16 bits: how far beyond what was seen of it a small channel may come before it saturates.

The more values were seen of a channel, the less: the most up to `FEW_VALUES`, from there on with
their fourth root.
"""
FEW_VALUES = 1000
CERTAIN_GAIN = 0.05
"""Part of the noise that rescaled channels may leave, by the model, to be chosen unmeasured."""
WORTHWHILE_CHANNEL_WISE = 0.5
"""Part of the noise to signal that rescaled channels may leave, by the model, to be tried at all
where weights have a scale per channel and need it less."""


def groups_worth_rescaling(
    graph: Graph, groups: Iterable[ChannelGroup], scheme: Scheme, is_forced: bool
) -> tuple[ChannelGroup, ...]:
    """The groups whose noise may be lowered enough for a search.

    With a weight scale per channel, a bound per channel costs layers for little, and layers that
    read many channels lose in their weights much of what their input gains: only a network with
    gates, or with a depthwise layer that reads such a group, is searched.

    Args:
        graph: the network as it is.
        groups: channels that may be rescaled together.
        scheme: rules of the scales.
        is_forced: rescaling is asked for, however little it brings.
    """
    if not scheme.channel_wise:
        return tuple(groups)
    free = tuple(group for group in groups if group.bound is None)
    is_likely = any(x.restored or is_read_by_channel(graph, x) for x in free)
    return free if is_forced or is_likely else ()


def find_rescaling(
    graph: Graph,
    parts: Partition,
    groups: Sequence[ChannelGroup],
    measured: MeasuredFeatures,
    options: Options,
    is_forced: bool,
) -> EqualizationGain:
    """The best factors for the channels, by the noise model.

    Args:
        graph: the network as it is.
        parts: its stages.
        groups: channels that may be rescaled together.
        measured: statistics of the features, and of the channels of the groups' tensors.
        options: of the compilation.
        is_forced: rescaling is asked for, however little it brings.
    """
    bits, scheme = options.tensor_bits, scheme_of(options)
    relevant = relevant_ranges(graph, parts, measured, bits)
    return find_equalization(
        graph,
        place_layers(graph, options, fusions=NO_FUSION),
        tuple(groups),
        {
            name: ChannelSpread.of(seen, relevant.get(name), _headroom(seen.count, bits))
            for name, seen in measured.channels.items()
        },
        is_power_of_two=scheme.weight_rule is ScaleRule.POWER_OF_TWO,
        bias_codes=largest_bias_code(scheme, bits),
        is_channel_wise=scheme.channel_wise,
        worthwhile=1.0 if is_forced else WORTHWHILE_CHANNEL_WISE,
    )


def _headroom(values: int, bits: int) -> float:
    """Of a channel of which so many values were seen."""
    if bits == 8:
        return 1.0
    less = MOST_HEADROOM * math.sqrt(math.sqrt(FEW_VALUES / max(values, FEW_VALUES)))
    return max(less, LEAST_HEADROOM)


def is_certain(gain: EqualizationGain) -> bool:
    """The noise model is in no doubt: nothing need be measured to choose the factors."""
    return gain.noise_after < CERTAIN_GAIN * gain.noise_before
