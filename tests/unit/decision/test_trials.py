"""Errors of precisions: by what follows the layers that differ, and by whole networks."""

from __future__ import annotations

import numpy as np
import pytest

from small_networks import SmallNetwork
from tidlq.calibration import BiasFrames
from tidlq.decision.trials import PrecisionTrials
from tidlq.precision.cost import LatencyModel, StateCosts
from tidlq.precision.search import MeasuredChoices, States, measure_gains
from tidlq.precision.work import layer_work
from tidlq.target import Options, scheme_of
from variant_networks import Varied, varied

FRAMES = 12
FITTED = 8


def residual(scale_type: int, *, island: bool = False) -> Varied:
    """A residual block and a classifier; a normalization between them is a float island."""
    net = SmallNetwork(4)
    x = net.input(1, 4, 8, 8)
    y = net.node("Relu", net.conv(x, (4, 4, 3, 3), pads=[1] * 4))
    x = net.node("Add", net.conv(y, (4, 4, 3, 3), pads=[1] * 4), x)
    if island:
        x = net.conv(net.node("LpNormalization", x, axis=1), (4, 4, 3, 3), pads=[1] * 4)
    flat = net.node("Flatten", net.node("GlobalAveragePool", x))
    net.node("Gemm", flat, net.random(4, 6), net.random(6), name="logits")
    options = Options.parse({"advanced_options:quantization_scale_type": scale_type})
    return varied(net.model("logits_out"), scheme_of(options), FRAMES)


def trials(net: Varied, *, has_bias_calibration: bool, threads: int = 1) -> PrecisionTrials:
    (name,) = net.frames[0]
    held = BiasFrames({name: np.stack([frame[name] for frame in net.frames])}, FITTED)
    return PrecisionTrials(
        net.graph,
        net.parts,
        net.plans,
        held,
        threads,
        has_bias_calibration=has_bias_calibration,
    )


@pytest.mark.parametrize("island", [False, True])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_gains_are_those_of_whole_networks_bit_for_bit(scale_type: int, island: bool) -> None:
    net = residual(scale_type, island=island)
    errors = trials(net, has_bias_calibration=False)
    model = LatencyModel("none", lambda _work, _bits: 1.0)
    costs = StateCosts(net.groups, layer_work(net.graph, net.parts), model)
    choices = MeasuredChoices(costs, lambda states: errors.error(net.precision(dict(states))))

    def errors_near(base: States, variants: list[States]) -> tuple[float, list[float]]:
        precisions = [net.precision(dict(states)) for states in variants]
        return errors.errors_near(net.precision(dict(base)), precisions)

    whole = measure_gains(choices)
    assert len(whole) >= 8
    assert measure_gains(choices, errors_near) == whole
    assert max(whole.values()) > 0


def test_threads_leave_no_trace_in_gains() -> None:
    net = residual(4)
    precisions = [net.precision({group.name: group.states[-1]}) for group in net.groups]
    one, two = (
        trials(net, has_bias_calibration=True, threads=count).errors_near(
            net.precision({}), precisions
        )
        for count in (1, 3)
    )
    assert one == two


def test_measured_precisions_are_told() -> None:
    net = residual(4)
    told: list[int] = []
    precisions = [net.precision({group.name: group.states[-1]}) for group in net.groups]
    trials(net, has_bias_calibration=True).errors_near(net.precision({}), precisions, told.append)
    assert told == list(range(len(precisions) + 1))


def test_every_layer_is_timed_in_three_precisions() -> None:
    net = residual(4, island=True)
    times = trials(net, has_bias_calibration=False).layer_times()
    assert times.keys() == {layer.name for layer in net.parts.layers}
    # A reshape of a pooled map is no work.
    assert all(len(row) == 3 for row in times.values())
    assert all(min(times[x.name]) > 0 for x in net.parts.layers if x.kind.has_weight)
