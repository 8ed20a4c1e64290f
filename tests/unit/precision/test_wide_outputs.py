"""Which feature maps only leave a network, and have 16 bits for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tidlq
from small_networks import SmallNetwork, float_outputs, parts_of, random_frame
from tidlq.graph.model import Graph
from tidlq.precision.assignment import precision_of
from tidlq.precision.wide_outputs import find_wide_outputs
from tidlq.target import Options


def wide(graph: Graph) -> set[str]:
    """Names of the operators that write a wide feature map."""
    found = find_wide_outputs(graph, parts_of(graph))
    return {layer.name for layer in parts_of(graph).layers if layer.output in found}


def test_what_is_moved_to_an_output_is_wide_and_what_is_computed_with_is_not() -> None:
    net = SmallNetwork(0)
    x = net.conv(net.input(1, 3, 4, 4), (2, 3, 1, 1), name="inner")
    boxes = net.conv(x, (2, 2, 1, 1), name="boxes")
    scores = net.node("Sigmoid", net.conv(x, (1, 2, 1, 1), name="logits"), name="scores")
    joined = net.node("Concat", boxes, scores, axis=1, name="joined")
    graph = net.graph(net.node("Reshape", joined, net.integers([1, 3, -1]), name="flat"))
    assert wide(graph) == {"boxes", "scores", "joined", "flat"}


def test_logits_before_the_last_softmax_are_wide() -> None:
    net = SmallNetwork(0)
    x = net.node("Flatten", net.conv(net.input(1, 3, 2, 2), (4, 3, 1, 1), name="inner"))
    logits = net.node("MatMul", x, net.random(16, 5), name="logits")
    boxes = net.node("MatMul", x, net.random(16, 4), name="boxes")
    graph = net.graph(net.node("Softmax", logits, axis=1, name="softmax"), boxes)
    assert wide(graph) == {"logits", "softmax", "boxes"}


@pytest.mark.parametrize("has_softmax", [False, True])
def test_the_only_head_stays_narrow(has_softmax: bool) -> None:
    net = SmallNetwork(0)
    x = net.node("Flatten", net.conv(net.input(1, 3, 2, 2), (4, 3, 1, 1)))
    logits = net.node("MatMul", x, net.random(16, 5))
    graph = net.graph(net.node("Softmax", logits, axis=1) if has_softmax else logits)
    assert wide(graph) == set()


def test_an_output_that_is_also_computed_with_stays_narrow() -> None:
    net = SmallNetwork(0)
    x = net.conv(net.input(1, 3, 4, 4), (2, 3, 1, 1), name="first")
    ends = [net.conv(x, (2, 2, 1, 1), name=name) for name in ("second", "third")]
    assert wide(net.graph(x, *ends)) == {"second", "third"}


def test_what_shares_a_concat_with_a_network_input_stays_narrow() -> None:
    net = SmallNetwork(0)
    x = net.input(1, 3, 4, 4)
    joined = net.node("Concat", x, net.conv(x, (2, 3, 1, 1), name="first"), axis=1, name="joined")
    ends = [net.conv(x, (2, 3, 1, 1), name=name) for name in ("second", "third")]
    assert wide(net.graph(joined, *ends)) == {"second", "third"}


@pytest.mark.parametrize(
    "options", [{"device": "AM68A"}, {"tidlq:leave_out_fusions": "wide-output"}]
)
def test_a_device_or_an_option_keeps_outputs_narrow(options: dict[str, str]) -> None:
    net = SmallNetwork(0)
    x = net.input(1, 3, 4, 4)
    graph = net.graph(*(net.conv(x, (2, 3, 1, 1)) for _ in range(2)))
    parts = parts_of(graph)
    assert 16 in precision_of(Options(), graph, parts).features.values()
    assert not precision_of(Options.parse(options), graph, parts).features


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("kind", ["Conv", "MatMul", "Sigmoid", "Resize"])
def test_a_wide_output_is_fifty_times_finer_with_all_its_room(
    scale_type: int, kind: str, tmp_path: Path
) -> None:
    net = SmallNetwork(1)
    source = net.input(1, 3, 4, 4)
    x = net.conv(source, (4, 3, 3, 3), pads=[1] * 4)
    if kind == "MatMul":
        x = net.node("MatMul", net.node("Flatten", x), net.random(64, 5))
    elif kind == "Sigmoid":
        x = net.node("Sigmoid", x)
    elif kind == "Resize":
        scales = net.constant([1.0, 1.0, 2.0, 2.0])
        x = net.node("Resize", x, "", scales, mode="linear")
    heads = x, net.conv(source, (1, 3, 1, 1))
    model, graph = net.model(*heads), net.graph(*heads)
    name = graph.outputs[0].name
    frames = [random_frame(graph, seed) for seed in range(6)]
    wanted = float_outputs(graph, frames[0])[name]
    steps = []
    for left_out in ("none", "wide-output"):
        options = {"quantization_scale_type": scale_type, "tidlq:leave_out_fusions": left_out}
        compiled = tidlq.compile(model, frames, options)
        steps.append(compiled.plan.features[name].scale)
        folder = compiled.save(tmp_path / left_out)
        found, _ = tidlq.InferenceSession(folder).run(None, frames[0])
        # Weights of 8 bits are what is left of the error.
        assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    assert steps[0] * 50 < steps[1]
