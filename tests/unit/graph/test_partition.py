"""Stages: which fixed-point parts stay, and which are left to the float islands around them."""

from __future__ import annotations

import pytest

from small_networks import SmallNetwork
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind, partition
from tidlq.graph.recognition import find_layers


def split(graph: Graph, most: int = 16) -> Partition:
    return partition(graph, find_layers(graph, _denied(graph)), most)


def _denied(graph: Graph) -> dict[str, str]:
    return {n.name or "": "denied" for n in graph.nodes if (n.name or "").startswith("float")}


def kinds(parts: Partition) -> list[str]:
    return [stage.kind.value for stage in parts.stages]


def chain(*work: str) -> Graph:
    """A chain of 3x3 convolutions of 8 channels ("conv"), additions ("add") and float nodes."""
    net = SmallNetwork()
    x = net.input(1, 8, 8, 8)
    for index, what in enumerate(work):
        if what == "conv":
            x = net.conv(x, (8, 8, 3, 3), pads=[1, 1, 1, 1], name=f"conv{index}")
        elif what == "pointwise":
            x = net.conv(x, (8, 8, 1, 1), name=f"pointwise{index}")
        elif what == "tanh":
            x = net.node("Tanh", x, name=f"tanh{index}")
        else:
            x = net.node("Sigmoid", x, name=f"float{index}")
    return net.graph(x)


def test_a_network_without_islands_is_one_stage() -> None:
    assert kinds(split(chain("tanh"))) == ["fixed"]
    assert kinds(split(chain("conv", "tanh", "pointwise"))) == ["fixed"]


def test_a_convolution_between_islands_stays_in_fixed_point() -> None:
    parts = split(chain("float", "pointwise", "float"))
    assert kinds(parts) == ["float", "fixed", "float"]


def test_an_element_wise_layer_between_islands_is_not_worth_its_border() -> None:
    parts = split(chain("conv", "float", "tanh", "float", "conv"))
    assert kinds(parts) == ["fixed", "float", "fixed"]
    (node,) = [node for node in parts.float_nodes if node.name == "tanh2"]
    assert node.reason == "its fixed-point stage would compute less than its border costs"


def test_layers_that_together_do_more_than_their_border_stay() -> None:
    parts = split(chain("float", "tanh", "tanh", "float"))
    assert kinds(parts) == ["float", "fixed", "float"]


def test_a_layer_beside_an_island_stays_with_its_fixed_neighbours() -> None:
    net = SmallNetwork()
    x = net.conv(net.input(1, 8, 8, 8), (8, 8, 3, 3), pads=[1, 1, 1, 1])
    y = net.node("Sigmoid", x, name="float0")
    parts = split(net.graph(net.node("Add", x, y, name="sum")))
    assert [layer.name for layer in parts.layers] == ["conv0", "sum"]


@pytest.mark.parametrize(("most", "left"), [(3, 3), (2, 2), (1, 1)])
def test_beyond_the_limit_the_stages_with_most_work_stay(most: int, left: int) -> None:
    graph = chain("pointwise", "float", "conv", "float", "conv", "conv")
    parts = split(graph, most)
    fixed = [stage for stage in parts.stages if stage.kind is StageKind.FIXED]
    assert len(fixed) == left
    names = {layer.name for layer in parts.layers}
    assert {"conv4", "conv5"} <= names
    assert ("conv2" in names) == (most >= 2)
    assert ("pointwise0" in names) == (most >= 3)
    for node in parts.float_nodes:
        if not node.name.startswith("float"):
            assert node.reason == f"the network has more than {most} fixed-point stages"
