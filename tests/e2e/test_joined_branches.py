"""Branches that only leave the network keep their own scales."""

from __future__ import annotations

import numpy as np
import pytest
from tests.small_networks import SmallNetwork

import tidlq


def detector(*, tail: str) -> tuple[SmallNetwork, str]:
    """Boxes of up to hundreds beside scores of up to one, joined along the channels."""
    net = SmallNetwork(4)
    x = net.input(1, 3, 6, 6)
    boxes = net.node("Mul", net.conv(x, (4, 3, 3, 3)), net.constant(100.0))
    scores = net.node("Sigmoid", net.conv(x, (2, 3, 3, 3)))
    joined = net.node("Concat", boxes, scores, axis=1)
    if tail == "moved":
        flat = net.node("Reshape", joined, net.integers([1, 6, 16]))
        joined = net.node("Transpose", flat, perm=[0, 2, 1])
    elif tail == "twice":
        again = net.node("Concat", boxes, scores, axis=1)
        joined = net.node("Concat", joined, again, axis=2)
    elif tail == "computed":
        joined = net.conv(joined, (3, 6, 1, 1))
    return net, joined


def frames() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(9)
    return [{"input0": rng.normal(size=(1, 3, 6, 6)).astype(np.float32)} for _ in range(6)]


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("tail", ["none", "moved", "twice"])
def test_scores_do_not_take_the_scale_of_boxes(tail, scale_type):
    net, output = detector(tail=tail)
    model = net.model(output)
    compiled = tidlq.compile(model, frames(), {"quantization_scale_type": scale_type})
    session = tidlq.InferenceSession(compiled.artifacts)
    float_session = tidlq.InferenceSession(
        tidlq.compile(model, options={"tensor_bits": 32}).artifacts
    )
    for frame in frames():
        (wanted,), (found,) = float_session.run(None, frame), session.run(None, frame)
        error = np.abs(found - wanted)
        scores = error[..., 4:] if tail == "moved" else error[:, 4:]
        # One scale for both would have steps of a unit or more.
        assert scores.mean() < 0.05


def test_a_join_that_a_layer_computes_with_has_one_scale():
    net, output = detector(tail="computed")
    compiled = tidlq.compile(net.model(output), frames(), {"quantization_scale_type": 4})
    (stage,) = (stage for stage in compiled.artifacts.stages if stage.file.endswith(".tidlq"))
    types = {t.name: t.element_type for t in tidlq._core.Engine(stage.content).tensors}
    joined = next(x.output for x in compiled.partition.layers if x.op_type == "Concat")
    assert types[joined] == "u8"
