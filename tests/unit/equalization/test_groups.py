"""Which feature maps can be rescaled together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from small_networks import SmallNetwork, parts_of
from tidlq.equalization import ChannelGroup, find_channel_groups
from tidlq.graph.model import Graph
from tidlq.graph.recognition.fusions import NO_FUSION

Middle = Callable[[SmallNetwork, str], str]


def groups_of(graph: Graph) -> tuple[ChannelGroup, ...]:
    return find_channel_groups(graph, parts_of(graph, NO_FUSION))


def between(middle: Middle, *, classes: bool = False) -> tuple[ChannelGroup, ...]:
    """Groups of conv -> middle -> conv (or a matrix product)."""
    net = SmallNetwork()
    net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3), pads=[1, 1, 1, 1], name="first")
    found = middle(net, "first_out")
    if classes:
        last = net.node("MatMul", found, net.random(4, 5), name="last")
    else:
        last = net.conv(found, (5, 4, 1, 1), name="last")
    return groups_of(net.graph(last))


def relu(net: SmallNetwork, x: str) -> str:
    return net.node("Relu", x)


def flat(net: SmallNetwork, x: str) -> str:
    return net.node("Flatten", net.node("GlobalAveragePool", x))


def squeezed(net: SmallNetwork, x: str) -> str:
    axes = net.integers([2, 3])
    return net.node("Squeeze", net.node("GlobalMaxPool", x), axes)


def padded(*pads: int, value: float = 0.0, mode: str = "constant") -> Middle:
    def add(net: SmallNetwork, x: str) -> str:
        return net.node("Pad", x, net.integers(pads), net.constant(value), mode=mode)

    return add


def resized(net: SmallNetwork, x: str) -> str:
    scales = net.constant([1.0, 1.0, 2.0, 2.0])
    return net.node("Resize", x, "", scales, mode="linear")


def hard_swish(net: SmallNetwork, x: str) -> str:
    gate = net.clip(net.node("Add", x, net.constant(3.0), name="gate"), 0, 6)
    return net.node("Div", net.node("Mul", x, gate), net.constant(6.0))


def excited(net: SmallNetwork, x: str) -> str:
    other = net.conv(net.node("GlobalAveragePool", "input0"), (4, 3, 1, 1), name="squeeze")
    return net.node("Mul", x, net.node("HardSigmoid", other))


THROUGH: dict[str, Middle] = {
    "nothing": lambda _net, x: x,
    "relu": relu,
    "relu behind a pool": lambda net, x: net.node(
        "Relu", net.node("MaxPool", x, kernel_shape=[2, 2])
    ),
    "leaky relu": lambda net, x: net.node("LeakyRelu", x, alpha=0.1),
    "prelu": lambda net, x: net.node("PRelu", x, net.random(4, 1, 1)),
    "max pool": lambda net, x: net.node("MaxPool", x, kernel_shape=[2, 2]),
    "average pool": lambda net, x: net.node("AveragePool", x, kernel_shape=[2, 2]),
    "global average": lambda net, x: net.node("GlobalAveragePool", x),
    "spatial mean": lambda net, x: net.node("ReduceMean", x, axes=[2, 3]),
    "zero pad": padded(0, 0, 1, 1, 0, 0, 1, 1),
    "reflected pad": padded(0, 0, 1, 1, 0, 0, 1, 1, mode="reflect"),
    "resize": resized,
    "clip": lambda net, x: net.clip(x, 0, 6),
    "depthwise": lambda net, x: net.conv(relu(net, x), (4, 1, 3, 3), group=4, name="dw"),
    "sum": lambda net, x: net.node("Add", x, relu(net, x)),
    "difference": lambda net, x: net.node("Sub", x, relu(net, x)),
    "sum with a constant": lambda net, x: net.node("Add", x, net.constant(0.5)),
    "sum with a constant per channel": lambda net, x: net.node("Add", x, net.random(1, 4, 1, 1)),
    "distance from a constant": lambda net, x: net.node("Sub", net.constant(0.5), x),
    "product with a constant": lambda net, x: net.node("Mul", x, net.random(1, 4, 1, 1)),
    "quotient by a constant": lambda net, x: net.node("Div", x, net.constant(6.0)),
    "silu": lambda net, x: net.node("Mul", x, net.node("Sigmoid", x)),
    "silu, gate first": lambda net, x: net.node("Mul", net.node("Sigmoid", x), x),
    "hard swish": hard_swish,
    "excitation": excited,
}

NOT_THROUGH: dict[str, Middle] = {
    "sigmoid": lambda net, x: net.node("Sigmoid", x),
    "softmax": lambda net, x: net.node("Softmax", x, axis=1),
    "concat": lambda net, x: net.node(
        "Slice",
        net.node("Concat", x, x, axis=1),
        net.integers([2]),
        net.integers([6]),
        net.integers([1]),
    ),
    "sum with a constant per place": lambda net, x: net.node("Add", x, net.random(8, 8)),
    "product of two feature maps": lambda net, x: net.node(
        "Mul", x, net.conv(net.node("Tanh", x), (4, 4, 1, 1))
    ),
    "square": lambda net, x: net.node("Mul", x, x),
    "clip of a sum with a constant": lambda net, x: net.clip(
        net.node("Add", x, net.constant(3.0)), 0, 6
    ),
    "broadcast sum": lambda net, x: net.node("Add", x, net.node("GlobalAveragePool", x)),
    "product": lambda net, x: net.node("Mul", x, net.node("GlobalAveragePool", x)),
    "transpose": lambda net, x: net.node("Transpose", x, perm=[0, 1, 3, 2]),
    "reshape that mixes channels": lambda net, x: net.node(
        "Reshape",
        net.node("Reshape", x, net.integers([1, 8, 8, 4])),
        net.integers([1, 4, 8, 8]),
    ),
    "pad on the channels": lambda net, x: net.node(
        "Slice",
        padded(0, 1, 0, 0, 0, 0, 0, 0)(net, x),
        net.integers([1]),
        net.integers([5]),
        net.integers([1]),
    ),
    "pad with a value": padded(0, 0, 1, 1, 0, 0, 1, 1, value=1.0),
    "clip from above alone": lambda net, x: net.clip(x, None, 6),
    "clip to [-1, 1]": lambda net, x: net.clip(x, -1, 1),
    "clip to [0.5, 6]": lambda net, x: net.clip(x, 0.5, 6),
    "clip from below at -1": lambda net, x: net.clip(x, -1, None),
    "clip to nothing": lambda net, x: net.clip(x, 0, 0),
    "sum clipped from above": lambda net, x: net.clip(
        net.node("Add", x, net.node("LeakyRelu", x)), 0, 6
    ),
    "clip behind a pool": lambda net, x: net.clip(
        net.node("MaxPool", x, kernel_shape=[2, 2]), 0, 6
    ),
    "mean over the channels": lambda net, x: net.node(
        "Add", net.node("ReduceMean", x, axes=[1, 2], keepdims=1), x
    ),
    "a node in float": lambda net, x: net.node("Abs", x),
}


@pytest.mark.parametrize("name", THROUGH)
def test_factors_pass_what_commutes_with_them(name: str) -> None:
    groups = between(THROUGH[name])
    assert groups, name
    assert {layer.name for layer in groups[0].producers} == {"first"}
    assert "last" in {layer.name for group in groups for layer in group.consumers}
    assert {group.channels for group in groups} == {4}


@pytest.mark.parametrize("name", NOT_THROUGH)
def test_factors_stop_at_what_does_not_commute_with_them(name: str) -> None:
    assert not between(NOT_THROUGH[name])


@pytest.mark.parametrize("middle", [flat, squeezed], ids=["flatten", "squeeze"])
def test_factors_reach_a_matrix_product_behind_a_pool(middle: Middle) -> None:
    (group,) = between(lambda net, x: middle(net, relu(net, x)), classes=True)
    assert [layer.name for layer in group.consumers] == ["last"]
    assert group.channels == 4


def test_a_mean_over_the_channels_ends_no_group_of_other_channels() -> None:
    net = SmallNetwork()
    net.conv(net.input(1, 3, 4, 4), (4, 3, 1, 1), name="first")
    mean = net.node("ReduceMean", "first_out", axes=[1, 3], keepdims=0)
    last = net.node("MatMul", mean, net.random(4, 5))
    assert not groups_of(net.graph(last))


def test_a_clip_is_the_bound_of_its_group() -> None:
    (group,) = between(THROUGH["clip"])
    assert group.bound == 6.0
    assert [layer.name for layer in group.clipped] == ["first"]
    (free,) = between(relu)
    assert free.bound is None
    assert free.clipped == ()


def test_a_residual_sum_joins_all_that_write_and_read_it() -> None:
    net = SmallNetwork()
    net.conv(net.input(1, 3, 6, 6), (4, 3, 1, 1), name="stem")
    net.conv("stem_out", (7, 4, 1, 1), name="expand")
    net.conv(net.node("Relu", "expand_out"), (4, 7, 1, 1), name="project")
    total = net.node("Relu", net.node("Add", "stem_out", "project_out"))
    left, right = (net.conv(total, (2, 4, 1, 1), name=name) for name in ("left", "right"))
    outer, inner = groups_of(net.graph(left, right))
    assert [layer.name for layer in outer.producers] == ["stem", "project"]
    assert [layer.name for layer in outer.consumers] == ["expand", "left", "right"]
    assert [layer.name for layer in inner.producers] == ["expand"]
    assert [layer.name for layer in inner.consumers] == ["project"]


def test_two_clips_of_one_bound_share_a_group_and_of_two_bounds_do_not() -> None:
    def groups(bound: float) -> tuple[ChannelGroup, ...]:
        net = SmallNetwork()
        x = net.input(1, 3, 6, 6)
        one = net.clip(net.conv(x, (4, 3, 1, 1), name="one"), 0, 6)
        other = net.clip(net.conv(x, (4, 3, 1, 1), name="other"), 0, bound)
        return groups_of(net.graph(net.conv(net.node("Add", one, other), (2, 4, 1, 1))))

    (group,) = groups(6)
    assert [layer.name for layer in group.clipped] == ["one", "other"]
    assert not groups(4)


def test_what_the_network_hands_out_is_left_alone() -> None:
    net = SmallNetwork()
    net.conv(net.input(1, 3, 8, 8), (4, 3, 1, 1), name="first")
    last = net.conv("first_out", (5, 4, 1, 1))
    assert groups_of(net.graph(last))
    assert not groups_of(net.graph(last, "first_out"))


def test_what_a_float_island_reads_or_writes_is_left_alone() -> None:
    net = SmallNetwork()
    net.conv(net.input(1, 3, 8, 8), (4, 3, 1, 1), name="first")
    last = net.conv("first_out", (5, 4, 1, 1))
    island = net.node("Abs", "first_out")
    assert not groups_of(net.graph(last, island))
    behind = net.node("Relu", island)
    assert not groups_of(net.graph(last, net.conv(behind, (2, 4, 1, 1))))


def test_a_weight_of_two_layers_or_of_a_float_node_does_not_hinder() -> None:
    net = SmallNetwork()
    shared = net.random(4, 4, 1, 1)
    x = net.conv(net.input(1, 3, 8, 8), (4, 3, 1, 1), name="first")
    x = net.node("Conv", net.node("Relu", x), shared, name="second")
    x = net.node("Conv", net.node("Relu", x), shared, name="third")
    groups = groups_of(net.graph(x, net.node("Abs", shared)))
    assert [[layer.name for layer in group.producers] for group in groups] == [
        ["first"],
        ["second"],
    ]


def test_a_matrix_product_over_more_axes_is_no_end() -> None:
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 8), (4, 3, 1), name="first")
    assert not groups_of(net.graph(net.node("MatMul", x, net.random(8, 5))))


def test_batch_norms_and_convolutions_over_one_axis_are_ends() -> None:
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 8), (4, 3, 3), name="first")
    x = net.batch_norm(net.node("Relu", x), 4, name="norm")
    groups = groups_of(net.graph(net.conv(net.node("Relu", x), (2, 4, 1), name="last")))
    ends = [(group.producers[0].name, group.consumers[0].name) for group in groups]
    assert ends == [("first", "norm"), ("norm", "last")]


@pytest.mark.parametrize(
    ("middle", "gate"), [(THROUGH["silu"], "sigmoid1"), (hard_swish, "gate")], ids=["silu", "hard"]
)
def test_a_gate_made_of_the_feature_map_has_to_read_it_as_it_was(middle: Middle, gate: str) -> None:
    (group,) = between(middle)
    assert [(layer.name, tensor) for layer, tensor in group.restored] == [(gate, "first_out")]
    assert group.is_scaled


def test_a_gate_made_of_something_else_needs_nothing_restored() -> None:
    (group,) = between(excited)
    assert group.restored == ()


def test_an_added_constant_is_divided_with_its_group() -> None:
    (group,) = between(THROUGH["sum with a constant"])
    assert [layer.kind.value for layer in group.shifted] == ["sum"]
    (group,) = between(THROUGH["product with a constant"])
    assert group.shifted == ()
