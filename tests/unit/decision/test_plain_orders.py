"""Plain orders of groups, and the typical error that choices are compared by."""

from __future__ import annotations

import numpy as np

from small_networks import SmallNetwork
from tidlq.calibration import BiasFrames, judge_of_all
from tidlq.decision.plain_orders import by_local_noise, first_and_last, plain_orders
from tidlq.precision.groups import find_precision_groups
from tidlq.target import Options, scheme_of
from variant_networks import Varied, varied


def chain() -> Varied:
    """Three convolutions; the second one's channels differ so much that its rounding is coarse."""
    net = SmallNetwork(2)
    x = net.input(1, 3, 6, 6)
    x = net.conv(x, (4, 3, 1, 1), name="one")
    x = net.conv(x, (4, 4, 1, 1), name="two")
    net.conv(x, (4, 4, 1, 1), name="three")
    return varied(net.model("three_out"), scheme_of(Options()), 6)


def test_first_and_last_are_the_outer_convolutions() -> None:
    net = chain()
    groups = find_precision_groups(net.graph, net.parts)
    assert first_and_last(net.parts, groups) == ("one", "three")


def test_groups_come_in_the_order_of_their_rounding() -> None:
    net = chain()
    plan = net.plans.plan(net.precision({}))
    groups = find_precision_groups(net.graph, net.parts)
    order = by_local_noise(net.graph, plan, groups, net.frames)
    assert sorted(order) == sorted(group.name for group in groups)
    # An outlier that no other value comes near makes the rounding of all others coarse.
    (name,) = net.frames[0]
    loud = [{name: frame[name] * 1e-3} for frame in net.frames]
    noisier = by_local_noise(net.graph, plan, groups, loud)
    assert sorted(noisier) == sorted(order)
    inputs = np.stack([frame[name] for frame in net.frames])
    orders = plain_orders(net.graph, net.parts, plan, BiasFrames({name: inputs}, 4))
    assert orders[0] == order
    assert orders[2][: len(orders[1])] == orders[1] == ("one", "three")


def test_the_typical_error_is_the_geometric_mean_of_the_frames_errors() -> None:
    net = chain()
    (name,) = net.frames[0]
    inputs = np.stack([frame[name] for frame in net.frames])
    judge = judge_of_all(net.graph, net.parts, BiasFrames({name: inputs}, 4), 1)
    (output,) = (signature.name for signature in net.graph.outputs)
    reference = np.stack([row[output] for row in judge._reference])
    scales = 10.0 ** -np.arange(1, len(reference) + 1)
    found = {output: reference * (1 + scales.reshape(-1, *[1] * (reference.ndim - 1)))}
    whole = judge.error(found)
    wanted = np.exp(np.mean(np.log(scales**2 + 1e-4 * whole)))
    np.testing.assert_allclose(judge.typical_error(found), wanted, rtol=1e-2)
    assert judge.typical_error({output: reference}) == 0
    assert judge.typical_error(found) < whole
