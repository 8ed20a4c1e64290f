"""Latency of networks by precision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_networks import SmallNetwork, parts_of
from tidlq.graph.work import operation_count
from tidlq.precision.cost import StateCosts, device_latency
from tidlq.precision.groups import GroupState, find_precision_groups, precision_of_states
from tidlq.precision.work import layer_bits, layer_work
from tidlq.spec import Precision
from tidlq.target import Device, LayerBits, LayerWork, MatrixWork, layer_cycles
from tidlq.target.cost import LAYER_OVERHEAD, matrix_cycles

LARGE = MatrixWork(positions=784, terms=1152, columns=128)
WORK = LayerWork("conv", (("x", 784 * 128),), "y", 784 * 128, 1152 * 128, LARGE)


def test_products_run_at_the_published_rates() -> None:
    assert LARGE.macs / matrix_cycles(LARGE, 8, 8, 64) == 4096
    assert LARGE.macs / matrix_cycles(LARGE, 8, 16, 64) == 2048
    assert LARGE.macs / matrix_cycles(LARGE, 16, 8, 64) == 2048
    assert LARGE.macs / matrix_cycles(LARGE, 16, 16, 64) == 1024
    assert LARGE.macs / matrix_cycles(LARGE, 8, 8, 32) == 1024


def test_a_depthwise_window_slides_inside_of_the_unit() -> None:
    depthwise = MatrixWork(56 * 56, 9, 1, groups=144, width=56, row_passes=3)
    assert matrix_cycles(depthwise, 8, 8, 64) == 56 * 144 * 3


@given(st.sampled_from(list(Device)), st.sampled_from([8, 16]), st.sampled_from([8, 16]))
def test_more_bits_never_cost_less(device: Device, inputs: int, parameters: int) -> None:
    narrow = layer_cycles(WORK, LayerBits((8,), 8, 8), device)
    some = layer_cycles(WORK, LayerBits((inputs,), parameters, inputs), device)
    wide = layer_cycles(WORK, LayerBits((16,), 16, 16), device)
    assert LAYER_OVERHEAD < narrow <= some <= wide


def test_a_change_of_precision_costs_a_conversion() -> None:
    same = layer_cycles(WORK, LayerBits((16,), 8, 16), Device.AM68A)
    changed = layer_cycles(WORK, LayerBits((16,), 8, 8), Device.AM68A)
    assert changed == same + 784 * 128 * 3 / 64


def test_a_reshape_costs_nothing() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 6, 6)
    graph = net.graph(net.node("Reshape", net.conv(x, (2, 3, 1, 1)), net.integers([1, 72])))
    conv, reshape = layer_work(graph, parts_of(graph))
    assert reshape.is_view
    assert layer_cycles(reshape, LayerBits((8,), 8, 8), Device.AM68A) == 0
    assert conv.matrix is not None
    assert conv.matrix.macs == 36 * 3 * 2


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "macs"),
    [
        ("Conv", (4, 3, 3, 3), {"pads": [1] * 4}, 64 * 4 * 27),
        ("Conv", (3, 1, 3, 3), {"pads": [1] * 4, "group": 3}, 64 * 3 * 9),
        ("ConvTranspose", (3, 5, 2, 2), {"strides": [2, 2]}, 64 * 3 * 5 * 4),
    ],
)
def test_products_are_counted(
    op: str, shape: tuple[int, ...], attributes: dict[str, object], macs: int
) -> None:
    net = SmallNetwork()
    graph = net.graph(net.node(op, net.input(1, 3, 8, 8), net.random(*shape), **attributes))
    (work,) = layer_work(graph, parts_of(graph))
    assert work.matrix is not None
    assert work.matrix.macs == macs


def test_a_product_of_two_feature_maps_has_its_leading_axes_as_groups() -> None:
    net = SmallNetwork()
    graph = net.graph(net.node("MatMul", net.input(1, 3, 5, 7), net.input(1, 3, 7, 11)))
    (work,) = layer_work(graph, parts_of(graph))
    assert work.matrix == MatrixWork(positions=5, terms=7, columns=11, groups=3)
    assert operation_count(graph, parts_of(graph).layers[0]) == 3 * 5 * 7 * 11


def test_a_product_of_two_feature_maps_runs_at_the_rate_of_both() -> None:
    matrix = MatrixWork(positions=1024, terms=256, columns=256)
    work = LayerWork("product", (("a", 64), ("b", 64)), "c", 64, matrix=matrix)
    narrow, mixed, wide = (
        layer_cycles(work, LayerBits(bits, 8, 8), Device.AM62A) - LAYER_OVERHEAD
        for bits in ((8, 8), (8, 16), (16, 16))
    )
    assert (round(mixed / narrow), round(wide / narrow)) == (2, 4)


def test_bits_that_a_tensor_has_at_least_count_within_a_group() -> None:
    net = SmallNetwork()
    joined = net.node("MatMul", net.input(1, 8, 64), net.input(1, 64, 8))
    graph = net.graph(joined)
    groups, work = find_precision_groups(graph, parts_of(graph)), layer_work(graph, parts_of(graph))
    model = device_latency(Device.AM62A)
    plain = StateCosts(groups, work, model)
    wider = StateCosts(groups, work, model, Precision(8, {joined: 16}))
    assert plain.narrow < wider.narrow
    assert wider.wide == plain.wide


def test_costs_of_states_are_those_of_their_precision() -> None:
    net = SmallNetwork()
    x = net.input(1, 3, 16, 16)
    first = net.conv(x, (8, 3, 3, 3), name="first")
    second = net.conv(first, (8, 8, 3, 3), name="second")
    graph = net.graph(net.node("Sigmoid", second, name="last"))
    parts = parts_of(graph)
    groups, work = find_precision_groups(graph, parts), layer_work(graph, parts)
    costs = StateCosts(groups, work, device_latency(Device.AM62A))
    for states in (
        {},
        {"first": GroupState.WIDE},
        {"first": GroupState.WIDE_PARAMETERS, "last": GroupState.WIDE},
    ):
        precision = precision_of_states(groups, states)
        cycles = sum(layer_cycles(x, layer_bits(x, precision), Device.AM62A) for x in work)
        assert costs.cost(states) == pytest.approx(cycles / 1e6)
    assert costs.narrow == costs.cost({})
    assert costs.wide == costs.cost({group.name: group.states[-1] for group in groups})
    assert costs.narrow < costs.wide
