"""A rescaled network computes what the original computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_networks import SmallNetwork, float_outputs, parts_of, random_frame
from tidlq.calibration import FloatFeatures
from tidlq.equalization import ChannelGroup, equalize, find_channel_groups
from tidlq.graph.model import Graph
from tidlq.spec import Equalization

ADDED = ("/bound", "/restored")
GATES = ("silu", "hard swish", "excitation", "shift", "shift per channel", "gain")
ACTIVATIONS = ("none", "relu", "leaky relu", "prelu", "max pool", "average pool", "sum", "pad")


@dataclass
class _Draw:
    """Adds layers one after another; `channels` are those of `x`."""

    net: SmallNetwork
    data: st.DataObject
    spatial: int
    x: str
    channels: int

    def choice(self, options: Sequence[str]) -> str:
        return self.data.draw(st.sampled_from(options))

    def weighted(self) -> None:
        kind = self.choice(("conv", "grouped", "depthwise", "batch norm"))
        has_bias = self.data.draw(st.booleans())
        if kind == "batch norm":
            self.x = self.net.batch_norm(self.x, self.channels)
            return
        groups = {"conv": 1, "grouped": 2, "depthwise": self.channels}[kind]
        width = self.data.draw(st.sampled_from((2, 4))) if groups < self.channels else self.channels
        shape = (width, self.channels // groups, *[3] * self.spatial)
        pads = [1] * (2 * self.spatial)
        self.x = self.net.conv(self.x, shape, bias=has_bias, group=groups, pads=pads)
        self.channels = width

    def activation(self) -> None:
        kind, net = self.choice(ACTIVATIONS + GATES), self.net
        ones, edge = [1] * self.spatial, [0, 0] + [1] * self.spatial
        if kind == "relu":
            self.x = net.node("Relu", self.x)
        elif kind == "leaky relu":
            self.x = net.node("LeakyRelu", self.x, alpha=0.125)
        elif kind == "prelu":
            self.x = net.node("PRelu", self.x, net.random(self.channels, *ones))
        elif kind == "max pool":
            self.x = net.node("MaxPool", self.x, kernel_shape=[2] * self.spatial)
        elif kind == "average pool":
            shape = [2] * self.spatial
            self.x = net.node(
                "AveragePool", self.x, kernel_shape=shape, pads=[1] * len(edge[2:]) * 2
            )
        elif kind == "sum":
            self.x = net.node("Add", self.x, net.node("Relu", self.x))
        elif kind == "pad":
            self.x = net.node("Pad", self.x, net.integers([*edge, *edge]))
        elif kind != "none":
            self.gate(kind, ones)

    def gate(self, kind: str, ones: list[int]) -> None:
        net, x = self.net, self.x
        if kind == "silu":
            self.x = net.node("Mul", net.node("Sigmoid", x), x)
        elif kind == "hard swish":
            gate = net.clip(net.node("Add", net.constant(3.0), x), 0, 6)
            self.x = net.node("Div", net.node("Mul", x, gate), net.constant(6.0))
        elif kind == "excitation":
            mean = net.node("GlobalAveragePool", "input0")
            other = net.conv(mean, (self.channels, 2, *ones))
            self.x = net.node("Mul", x, net.node("HardSigmoid", other))
        elif kind == "shift":
            self.x = net.node("Sub", net.constant(0.75), x)
        elif kind == "shift per channel":
            self.x = net.node("Add", x, net.random(self.channels, *ones))
        elif kind == "gain":
            self.x = net.node("Mul", x, net.random(1, self.channels, *ones))


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    spatial = draw(st.sampled_from((1, 2)))
    net = SmallNetwork(draw(st.integers(0, 1 << 16)))
    x = net.input(1, 2, *[6] * spatial)
    made = _Draw(net, draw(st.data()), spatial, x, 2)
    for _ in range(draw(st.integers(2, 4))):
        made.weighted()
        made.activation()
    if draw(st.booleans()):
        made.x = net.node("Flatten", net.node("GlobalAveragePool", made.x))
        made.x = _gemm(net, made.x, made.channels, 3, draw)
        made.x = _gemm(net, net.node("Relu", made.x), 3, 2, draw)
    return net.graph(made.x)


def _gemm(net: SmallNetwork, x: str, inputs: int, outputs: int, draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        product = net.node("MatMul", x, net.random(inputs, outputs))
        return net.node("Add", net.random(1, outputs), product) if draw(st.booleans()) else product
    transposed = draw(st.integers(0, 1))
    weight = net.random(*((outputs, inputs) if transposed else (inputs, outputs)))
    bias = draw(st.sampled_from(((), (1,), (outputs,), (1, outputs), None)))
    operands = [x, weight] if bias is None else [x, weight, net.random(*bias)]
    # Gemm without a bias may have an Add behind it instead.
    alpha, beta = (draw(st.sampled_from((0.0, 0.5, 1.0, 1.5))) for _ in range(2))
    made = net.node("Gemm", *operands, transB=transposed, alpha=alpha, beta=beta)
    return net.node("Add", made, net.random(outputs)) if bias is None else made


def groups_of(graph: Graph) -> tuple[ChannelGroup, ...]:
    return find_channel_groups(graph, parts_of(graph))


def random_factors(
    groups: Sequence[ChannelGroup], seed: int, *, powers_of_two: bool
) -> Equalization:
    rng = np.random.default_rng(seed)
    factors: dict[str, tuple[float, ...]] = {}
    for group in groups:
        exponents = rng.uniform(-4, 4, size=group.channels)
        chosen = np.exp2(np.rint(exponents) if powers_of_two else exponents).astype(np.float32)
        factors |= {layer.name: tuple(chosen.tolist()) for layer in group.producers}
    return Equalization(factors)


def check_form(graph: Graph, changed: Graph) -> None:
    """The changed Graph is valid ONNX, wholly fixed-point, and holds nothing that is not used."""
    model = ir.to_proto(changed.model)
    onnx.checker.check_model(model, full_check=True)
    parts = parts_of(changed)
    assert not parts.float_nodes
    assert [layer.name for layer in parts.layers if not layer.name.endswith(ADDED)] == [
        layer.name for layer in parts_of(graph).layers
    ]
    read = {name for node in model.graph.node for name in node.input}
    assert {item.name for item in model.graph.initializer} <= read


@given(graph=networks(), seed=st.integers(0, 1 << 16))
def test_powers_of_two_change_no_bit(graph: Graph, seed: int) -> None:
    before = graph.fingerprint
    groups = groups_of(graph)
    changed = equalize(graph, groups, random_factors(groups, seed, powers_of_two=True))
    frame = random_frame(graph, seed)
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    np.testing.assert_array_equal(got, want)
    assert graph.fingerprint == before
    check_form(graph, changed)


@given(graph=networks(), seed=st.integers(0, 1 << 16))
def test_other_factors_change_rounding_alone(graph: Graph, seed: int) -> None:
    groups = groups_of(graph)
    changed = equalize(graph, groups, random_factors(groups, seed, powers_of_two=False))
    frame = random_frame(graph, seed)
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    # Each constant is rounded to float32 (2^-24), three of them per product and layer; what sums
    # cancel of it is bounded by the sum of magnitudes, which the same network with |constants|
    # and |inputs| gives.
    bound = float_outputs(magnitudes_of(graph), {n: np.abs(x) for n, x in frame.items()})
    largest = max(float(np.abs(x).max()) for x in bound.values())
    assert float(np.abs(got - want).max()) <= 2.0**-18 * largest


def magnitudes_of(graph: Graph) -> Graph:
    """The same network with the magnitudes of its constants and without Clips: no sum cancels."""
    model = ir.from_proto(ir.to_proto(graph.model))
    means = {node.inputs[3].name for node in model.graph if node.op_type == "BatchNormalization"}
    for node in model.graph:
        node.op_type = "Add" if node.op_type == "Sub" else node.op_type
        if node.op_type == "Clip":
            # It lets no error grow, and the magnitudes of its bounds mean nothing.
            node.op_type = "Identity"
            node.resize_inputs(1)
    for name, value in model.graph.initializers.items():
        array = value.const_value.numpy()
        if array.dtype == np.float32:
            sign = -1 if name in means else 1
            value.const_value = ir.tensor(sign * np.abs(array), name=name)
    return Graph(model, "magnitudes")


# --- Clips


def clipped(*clips: tuple[float | None, float | None] | str, pads: int = 1) -> Graph:
    """conv -> clips -> depthwise conv -> clips -> conv; all clips bound at 6 or less."""
    net = SmallNetwork(5)
    x = net.conv(net.input(1, 3, 8, 8), (4, 3, 3, 3), pads=[pads] * 4, name="first")
    for clip in clips:
        x = net.node("Relu", x) if isinstance(clip, str) else net.clip(x, *clip)
    x = net.conv(x, (4, 1, 3, 3), group=4, pads=[1] * 4, bias=False, name="second")
    for clip in clips:
        x = net.node("Relu", x) if isinstance(clip, str) else net.clip(x, *clip)
    return net.graph(net.conv(x, (2, 4, 3, 3), pads=[1] * 4, name="last"))


def with_bounds(graph: Graph, seed: int, frame: dict[str, np.ndarray]) -> Equalization:
    """Random factors, and bounds that hold what the frame shows."""
    groups = groups_of(graph)
    plain = random_factors(groups, seed, powers_of_two=False)
    bounds: dict[str, float] = {}
    for group in groups:
        (name,) = group.tensors
        seen = np.abs(FloatFeatures(graph, [name]).run(frame)[name]).max(axis=(0, 2, 3))
        largest = float((seen / np.array(plain.factors[group.producers[0].name])).max())
        bounds |= {layer.name: float(np.float32(largest)) for layer in group.clipped}
    return Equalization(plain.factors, bounds)


CLIPS: dict[str, tuple[tuple[float | None, float | None] | str, ...]] = {
    "clip": ((0, 6),),
    "relu and clip": ("relu", (0, 6)),
    "clip and relu": ((-1, 6), "relu"),
    "two clips": ((-1, 7), (0, 6)),
    "three": ((None, 5), "relu", (0, 6)),
}


@pytest.mark.parametrize("clips", CLIPS.values(), ids=CLIPS)
@pytest.mark.parametrize("pads", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_bound_per_channel_clips_where_the_clip_did(
    clips: tuple[tuple[float | None, float | None] | str, ...], pads: int, seed: int
) -> None:
    graph = clipped(*clips, pads=pads)
    frame = random_frame(graph, seed, 2.0)
    (seen,) = FloatFeatures(graph, [groups_of(graph)[0].tensors[0]]).run(frame).values()
    high = groups_of(graph)[0].bound
    # Some values are clipped, at either side, and others are not.
    assert (seen == high).any()
    assert (seen == 0).any()
    assert ((seen > 0) & (seen < high)).any()
    changed = equalize(graph, groups_of(graph), with_bounds(graph, seed, frame))
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    # float32 rounding of mirrored values: 2^-24 of a bound, times the gain of two layers.
    np.testing.assert_allclose(got, want, atol=2.0**-18 * float(np.abs(want).max()))
    check_form(graph, changed)


def test_a_value_beyond_the_bounds_is_clipped_to_them() -> None:
    graph = clipped((0, 6))
    group = groups_of(graph)[0]
    equalization = Equalization({"first": (0.5,) * 4}, {"first": 4.0})
    changed = equalize(graph, groups_of(graph), equalization)
    frame = random_frame(graph, 3, 4.0)
    (name,) = group.tensors
    want = FloatFeatures(graph, [name]).run(frame)[name]
    got = FloatFeatures(changed, [name]).run(frame)[name]
    np.testing.assert_allclose(got, np.minimum(want / 0.5, 4.0), atol=1e-5)


def test_what_stands_for_a_clip_answers_to_its_name() -> None:
    graph = clipped("relu", (0, 6))
    frame = random_frame(graph, 0)
    changed = equalize(graph, groups_of(graph), with_bounds(graph, 0, frame))
    assert {node.name for node in graph.nodes} <= {node.name for node in changed.nodes}


# --- constants that others read


def test_a_shared_weight_keeps_its_other_readers() -> None:
    net = SmallNetwork(2)
    shared, bias = net.random(4, 4, 1, 1, name="shared"), net.random(4, name="bias")
    x = net.conv(net.input(1, 3, 4, 4), (4, 3, 1, 1))
    x = net.node("Conv", net.node("Relu", x), shared, bias, name="second")
    x = net.node("Conv", net.node("Relu", x), shared, bias, name="third")
    graph = net.graph(x, net.node("Abs", shared), net.node("Abs", bias))
    groups = groups_of(graph)
    changed = equalize(graph, groups, random_factors(groups, 1, powers_of_two=True))
    frame = random_frame(graph, 1)
    want, got = float_outputs(graph, frame), float_outputs(changed, frame)
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)
    for name in ("shared", "bias"):
        np.testing.assert_array_equal(changed.constant(name), net.constants[name])


def test_constants_that_one_batch_norm_reads_twice_part() -> None:
    net = SmallNetwork(3)
    same, zeros = net.constant(net.rng.uniform(0.5, 2, 4)), net.random(4)
    x = net.conv(net.input(1, 3, 4, 4), (4, 3, 1, 1))
    x = net.node("Relu", x)
    x = net.node("BatchNormalization", x, same, zeros, zeros, same, name="norm", epsilon=0.0)
    graph = net.graph(net.conv(net.node("Relu", x), (2, 4, 1, 1)))
    groups = groups_of(graph)
    assert len(groups) == 2
    changed = equalize(graph, groups, random_factors(groups, 1, powers_of_two=True))
    frame = random_frame(graph, 1)
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    np.testing.assert_array_equal(got, want)


def test_a_constant_that_is_bias_and_bound_parts() -> None:
    net = SmallNetwork(4)
    six = net.constant(6.0)
    x = net.node("Flatten", net.conv(net.input(1, 3, 1, 1), (4, 3, 1, 1)))
    x = net.node("Gemm", x, net.random(4, 3), six, name="gemm")
    x = net.node("Relu", x)
    graph = net.graph(net.node("Clip", net.node("MatMul", x, net.random(3, 2)), "", six))
    groups = groups_of(graph)
    changed = equalize(graph, groups, random_factors(groups, 1, powers_of_two=True))
    frame = random_frame(graph, 1)
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    np.testing.assert_array_equal(got, want)


def test_new_names_keep_clear_of_the_models() -> None:
    def build(taken: bool) -> Graph:
        net = SmallNetwork(6)
        x = net.conv(net.input(1, 3, 4, 4), (4, 3, 1, 1), name="first")
        weight = f"{net.nodes[-1].input[1]}@first"
        x = net.conv(net.node("Relu", x), (2, 4, 1, 1), name="second")
        if taken:
            x = net.node("Add", x, net.constant(1.0, weight))
        return net.graph(x)

    graph = build(True)
    groups = groups_of(graph)
    changed = equalize(graph, groups, random_factors(groups, 1, powers_of_two=True))
    frame = random_frame(graph, 1)
    (want,), (got,) = (float_outputs(g, frame).values() for g in (graph, changed))
    np.testing.assert_array_equal(got, want)


def test_no_factors_give_the_same_graph() -> None:
    graph = clipped((0, 6))
    assert equalize(graph, groups_of(graph), Equalization()) is graph
