"""Which channel groups are worth a search for factors."""

from __future__ import annotations

from small_networks import SmallNetwork, parts_of
from tidlq.decision.rescaling import groups_worth_rescaling
from tidlq.equalization import find_channel_groups
from tidlq.graph.recognition.fusions import NO_FUSION
from tidlq.spec import ScaleRule
from tidlq.target import Options, scheme_of

PER_TENSOR = scheme_of(Options(quantization_scale_type=1))
PER_CHANNEL = scheme_of(Options(quantization_scale_type=4))


def worth(scheme: object, *, depthwise: bool, clip: bool = False, forced: bool = False) -> int:
    """How many groups of conv -> activation -> (depthwise) conv are worth it."""
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 8, 8), (4, 3, 1, 1))
    x = net.clip(x, 0, 6) if clip else net.node("Relu", x)
    x = net.conv(x, (4, 1, 1, 1), group=4) if depthwise else net.conv(x, (4, 4, 1, 1))
    graph = net.graph(net.conv(x, (5, 4, 1, 1)))
    groups = find_channel_groups(graph, parts_of(graph, NO_FUSION))
    assert len(groups) == 2
    return len(groups_worth_rescaling(graph, groups, scheme, forced))


def test_one_scale_per_weight_makes_every_group_worth_it() -> None:
    assert PER_TENSOR.weight_rule is ScaleRule.POWER_OF_TWO
    assert worth(PER_TENSOR, depthwise=False) == worth(PER_TENSOR, depthwise=True, clip=True) == 2


def test_a_scale_per_channel_asks_for_a_depthwise_reader() -> None:
    assert worth(PER_CHANNEL, depthwise=False) == 0
    assert worth(PER_CHANNEL, depthwise=True) == 2


def test_a_clip_in_front_of_the_depthwise_layer_leaves_nothing_to_rescale() -> None:
    assert worth(PER_CHANNEL, depthwise=True, clip=True) == 0


def test_what_is_asked_for_is_tried_without_the_bounded_groups() -> None:
    assert worth(PER_CHANNEL, depthwise=False, forced=True) == 2
    assert worth(PER_CHANNEL, depthwise=True, clip=True, forced=True) == 1
