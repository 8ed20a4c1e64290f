"""Outputs that several branches make up, and what each of them counts in the error."""

from __future__ import annotations

import numpy as np
import pytest

from small_networks import SmallNetwork, float_outputs, parts_of, random_frame
from tidlq.calibration import BiasFrames
from tidlq.calibration.bias.branches import output_branches
from tidlq.calibration.bias.judge import judge_of
from tidlq.graph.model import Graph


def head() -> Graph:
    """Boxes and scores of two sizes, joined as detection networks do."""
    net = SmallNetwork(0)
    x = net.input(1, 3, 4, 4)
    sizes = []
    for stride in (1, 2):
        y = net.conv(x, (2, 3, 1, 1), strides=[stride] * 2)
        scores = net.node("Sigmoid", net.conv(x, (1, 3, 1, 1), strides=[stride] * 2))
        joined = net.node("Concat", y, scores, axis=1)
        sizes.append(net.node("Reshape", joined, net.integers([1, 3, -1])))
    joined = net.node("Concat", *sizes, axis=2)
    return net.graph(net.node("Transpose", joined, perm=[0, 2, 1]))


def test_elements_are_told_apart_by_what_wrote_them() -> None:
    graph = head()
    labels = output_branches(graph, graph.outputs[0].name)
    assert labels is not None
    assert labels.shape == (1, 20, 3)
    for rows, branches in ((slice(0, 16), (0, 1)), (slice(16, 20), (2, 3))):
        assert (labels[0, rows, :2] == branches[0]).all()
        assert (labels[0, rows, 2] == branches[1]).all()


def test_one_branch_has_no_numbers() -> None:
    net = SmallNetwork(0)
    x = net.conv(net.input(1, 3, 4, 4), (2, 3, 1, 1))
    graph = net.graph(net.node("Reshape", x, net.integers([1, -1])))
    assert output_branches(graph, graph.outputs[0].name) is None


def test_a_constant_among_the_branches_leaves_the_output_whole() -> None:
    net = SmallNetwork(0)
    x = net.conv(net.input(1, 3, 4, 4), (2, 3, 1, 1))
    graph = net.graph(net.node("Concat", x, net.random(1, 1, 4, 4), axis=1))
    assert output_branches(graph, graph.outputs[0].name) is None


def test_every_branch_counts_by_its_own_size() -> None:
    graph = head()
    name = graph.outputs[0].name
    frame = random_frame(graph, 1)
    frames = BiasFrames({n: np.stack([v, v]) for n, v in frame.items()}, 1)
    judge = judge_of(graph, parts_of(graph), frames, frames.held_out, 1)
    wanted = float_outputs(graph, frame)[name]
    labels = output_branches(graph, name)
    assert labels is not None
    for branch in range(4):
        found = np.where(labels == branch, wanted * 0.5, wanted).astype(np.float32)
        assert judge.error({name: found[None]}) == pytest.approx(0.25, rel=1e-5)
