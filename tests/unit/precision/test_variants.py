"""Plans of variants: what earlier ones left in memory does not show."""

from __future__ import annotations

import pytest

from small_networks import SmallNetwork
from tidlq.precision.groups import precision_of_states
from tidlq.precision.plan import make_plan
from tidlq.spec import Precision
from tidlq.target import Options, scheme_of
from variant_networks import varied


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_plan_does_not_depend_on_those_made_before(scale_type: int) -> None:
    net = SmallNetwork(3)
    x = net.input(1, 3, 8, 8)
    y = net.node("Sigmoid", net.node("MaxPool", net.conv(x, (4, 3, 1, 1)), kernel_shape=[2, 2]))
    y = net.node("Concat", y, net.node("Add", y, y), axis=1)
    net.conv(y, (2, 8, 3, 3), name="last")
    options = Options.parse({"advanced_options:quantization_scale_type": scale_type})
    scheme = scheme_of(options)
    net_plans = varied(net.model("last_out"), scheme, 3)
    plans, groups = net_plans.plans, net_plans.groups
    states = [{g.name: state} for g in groups for state in g.states]
    precisions = [Precision(), *(precision_of_states(groups, chosen) for chosen in states)]
    for precision in [*precisions, *reversed(precisions)]:
        alone = make_plan(
            net_plans.graph,
            net_plans.parts,
            plans.ranges_of(precision),
            scheme,
            precision=precision,
            choose=plans._choose,
        )
        assert plans.plan(precision) == alone
