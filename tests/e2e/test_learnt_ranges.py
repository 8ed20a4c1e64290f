"""Networks that were trained with quantization in the loop, and say so by their Clips."""

from __future__ import annotations

import numpy as np
import pytest
from tests.small_networks import SmallNetwork

import tidlq
from tidlq.compilation import Compiled
from tidlq.spec import RangeOrigin

NOTICE = "learnt ranges"


def compile_clipped(bounds: tuple[float, ...], **options: object) -> Compiled:
    """Convolutions, each with a Clip from 0 behind it and one weight just above a power of two."""
    net = SmallNetwork(5)
    x = net.clip(net.input(1, 3, 8, 8), -2.0, 2.0)
    for number, bound in enumerate(bounds):
        weight = net.rng.uniform(-1, 1, size=(3, 3, 3, 3))
        weight[0, 0, 0, 0] = 1.01
        weights = net.constant(weight)
        x = net.clip(net.node("Conv", x, weights, name=f"conv{number}", pads=[1] * 4), 0.0, bound)
    rng = np.random.default_rng(2)
    frames = [{"input0": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]
    return tidlq.compile(net.model(x), frames, {"quantization_scale_type": 1, **options})


def clipped_weights(compiled: Compiled) -> list[str]:
    known = compiled.ranges.parameters
    return [n for n, r in known.items() if r.origin is not RangeOrigin.PARAMETER]


def test_level_1_takes_the_weights_of_learnt_ranges_as_they_are() -> None:
    compiled = compile_clipped((1.0, 2.0, 4.0, 3.0))
    assert clipped_weights(compiled) == []
    assert not compiled.ranges.equalization
    assert any(NOTICE in notice for notice in compiled.notices)


@pytest.mark.parametrize(
    ("bounds", "level"), [((6.0, 6.0, 6.0, 6.0), 1), ((1.0, 2.0, 4.0, 3.0), 9)]
)
def test_an_architectures_own_bounds_and_level_9_have_weights_changed(
    bounds: tuple[float, ...], level: int
) -> None:
    rescaled = compile_clipped(bounds, accuracy_level=level)
    assert rescaled.ranges.equalization
    # Rescaled weights need no clipping here.
    options = {"accuracy_level": level, "tidlq:cross_layer_equalization": "off"}
    compiled = compile_clipped(bounds, **options)
    assert clipped_weights(compiled) != []
    assert not any(NOTICE in notice for notice in (*compiled.notices, *rescaled.notices))
