"""Biases that take back what quantization shifts, and go back where that does not help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from small_networks import SmallNetwork, parts_of
from tidlq._core import FrameStepper
from tidlq.calibration import BiasFrames, BiasSweeps, measure_features
from tidlq.calibration.bias.means import accumulator_means, integer_means
from tidlq.calibration.bias.reference import measure_reference
from tidlq.calibration.bias.stages import IntegerStages, WeightedLayer
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import make_plan, ranged_features
from tidlq.spec import ParameterRole, QuantPlan, Range, bias_integers, parameter_name
from tidlq.target import Options, scheme_of

Array = NDArray[np.generic]
ITERATIONS = 20


def plan_of(graph: Graph, frames: BiasFrames, **options: object) -> tuple[Partition, QuantPlan]:
    parts = parts_of(graph)
    names = ranged_features(parts)
    each = [frames.frame(index) for index in range(frames.count)]
    seen = measure_features(graph, names, each).features
    plan = make_plan(
        graph,
        parts,
        measure_parameters(graph, parts.layers),
        scheme_of(Options(**options)),
        choose=lambda name, _scales: Range(seen[name].tensor.min, seen[name].tensor.max),
    )
    return parts, plan


def calibrated(graph: Graph, frames: BiasFrames, **options: object) -> tuple[BiasSweeps, QuantPlan]:
    parts, plan = plan_of(graph, frames, **options)
    sweeps = BiasSweeps(graph, parts, plan, frames, threads=1)
    sweeps.advance(ITERATIONS)
    return sweeps, plan


def twice(frames: dict[str, Array]) -> BiasFrames:
    """The held-out frames are the measured ones."""
    count = len(next(iter(frames.values())))
    return BiasFrames({n: np.concatenate([x, x]) for n, x in frames.items()}, count)


def shifted_network(*, bias: bool = False) -> Graph:
    """Two convolutions and a matrix product whose weights all round down by nearly half a step."""
    net = SmallNetwork(1)
    x = net.input(1, 3, 6, 6)
    for index, shape in enumerate([(4, 3, 3, 3), (4, 1, 3, 3)]):
        codes = net.rng.integers(-20, 20, size=shape) + 0.45
        codes.reshape(-1)[0] = 127
        inputs = [x, net.constant(codes / 512)]
        if bias:
            inputs.append(net.constant(net.rng.normal(size=shape[0]) / 16))
        groups = 4 if index else 1
        x = net.node("Conv", *inputs, group=groups, pads=[1] * 4, name=f"conv{index}")
        x = net.node("Relu", x)
    codes = net.rng.integers(-20, 20, size=(4, 3)) + 0.45
    codes[0, 0] = 127
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.graph(net.node("MatMul", x, net.constant(codes / 512), name="last"))


def positive(count: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {"input0": rng.uniform(0, 1, size=(count, 1, 3, 6, 6)).astype(np.float32)}


def mean_errors(
    graph: Graph, frames: BiasFrames, plan: QuantPlan, sweeps: BiasSweeps | None
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """By layer, the mean error before the non-linearity in steps of its bias, and those steps."""
    parts = parts_of(graph)
    stages = IntegerStages(graph, parts, plan, 1)
    targets = measure_reference(graph, parts, frames, 1).targets
    given = {} if sweeps is None else sweeps.outcome.biases
    biases = {
        x.layer.name: bias_integers(
            np.array(given.get(x.layer.name) or plan.layers[x.layer.name].bias or 0.0)
            * np.ones(len(x.weight)),
            x.quant,
            x.input_scale,
            x.bits,
        )
        for x in stages.weighted
    }
    errors = {}

    def visit(weighted: WeightedLayer, stepper: FrameStepper) -> None:
        name = weighted.layer.name
        means = integer_means(stepper, weighted.index, frames.measured)
        groups = group_count(weighted.layer, weighted.weight)
        sums = accumulator_means(in_taps(weighted.weight), groups, means)
        real = (sums + biases[name]) * weighted.steps
        errors[name] = ((targets[name][0] - real) / weighted.steps, weighted.steps)

    stages.run(frames.inputs, biases, visit)
    return errors


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_mean_error_vanishes_to_the_rounding_of_the_bias(scale_type: int, bias: bool) -> None:
    graph, frames = shifted_network(bias=bias), twice(positive(6))
    sweeps, plan = calibrated(graph, frames, quantization_scale_type=scale_type)
    before, after = (mean_errors(graph, frames, plan, x) for x in (None, sweeps))
    assert list(after) == ["conv0", "conv1", "last"]
    for name, (errors, _) in after.items():
        assert np.abs(before[name][0]).max() > 2
        # The own bias is rounded, and so is what takes its place.
        assert np.abs(errors).max() <= 1.0 + 1e-6
    outcome = sweeps.outcome
    assert outcome.error_after < 0.5 * outcome.error_before
    assert [layer.layer for layer in outcome.layers] == list(after)
    for layer in outcome.layers:
        assert layer.damping == 1.0
        assert layer.error_after < layer.error_before


def opposite(count: int) -> BiasFrames:
    """Held-out frames whose every mean is the negative of the measured ones'."""
    frames = positive(count)["input0"]
    return BiasFrames({"input0": np.concatenate([frames, -frames])}, count)


def test_a_correction_that_harms_the_held_out_frames_is_rolled_back() -> None:
    net = SmallNetwork(2)
    codes = net.rng.integers(-20, 20, size=(4, 3, 3, 3)) + 0.45
    codes.reshape(-1)[0] = 127
    x = net.input(1, 3, 6, 6)
    graph = net.graph(net.node("Conv", x, net.constant(codes / 512), name="conv"))
    sweeps, _ = calibrated(graph, opposite(5), quantization_scale_type=1)
    outcome = sweeps.outcome
    assert outcome.biases == {}
    assert outcome.sweeps == 1
    assert outcome.error_after == outcome.error_before


def test_layers_are_rolled_back_one_by_one() -> None:
    net = SmallNetwork(3)
    outputs = []
    for index in range(2):
        codes = net.rng.integers(-20, 20, size=(4, 3, 3, 3)) + 0.45
        codes.reshape(-1)[0] = 127
        x = net.input(1, 3, 6, 6)
        outputs.append(net.node("Conv", x, net.constant(codes / 512), name=f"conv{index}"))
    graph = net.graph(*outputs)
    same = twice({"input1": positive(5)["input0"]})
    frames = BiasFrames({**opposite(5).inputs, **same.inputs}, 5)
    sweeps, plan = calibrated(graph, frames, quantization_scale_type=1)
    first, second = sweeps.outcome.layers
    assert (first.layer, first.damping, first.steps) == ("conv0", 0.0, 0.0)
    assert (second.layer, second.damping) == ("conv1", 1.0)
    assert set(sweeps.outcome.biases["conv0"]) == {0.0}
    errors = mean_errors(graph, frames, plan, sweeps)
    assert np.abs(errors["conv0"][0]).max() > 2
    assert np.abs(errors["conv1"][0]).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_the_held_out_frames_never_fare_worse(seed: int, scale_type: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.choice([-8.0, -1.0, 0.1, 1.0], size=(8, 1, 1, 1, 1))
    frames = {"input0": (positive(8, seed)["input0"] * sizes).astype(np.float32)}
    sweeps, _ = calibrated(
        shifted_network(bias=True), BiasFrames(frames, 6), quantization_scale_type=scale_type
    )
    assert sweeps.outcome.error_after <= sweeps.outcome.error_before


def test_the_plan_stays_as_it_is_with_the_new_biases() -> None:
    graph, frames = shifted_network(bias=True), twice(positive(6))
    for options in ({"quantization_scale_type": t} for t in (0, 1, 4)):
        parts, plan = plan_of(graph, frames, **options)
        sweeps, _ = calibrated(graph, frames, **options)
        names = ranged_features(parts)
        each = [frames.frame(index) for index in range(frames.count)]
        seen = measure_features(graph, names, each).features
        ranges = replace(
            measure_parameters(graph, parts.layers),
            features={n: Range(seen[n].tensor.min, seen[n].tensor.max) for n in names},
            biases={
                parameter_name(layer, ParameterRole.BIAS): values
                for layer, values in sweeps.outcome.biases.items()
            },
        )
        changed = make_plan(graph, parts, ranges, plan.scheme)
        assert changed.features == plan.features
        for name, quant in plan.layers.items():
            assert changed.layers[name].weight == quant.weight
            assert changed.layers[name].shift == quant.shift


# --- deformable convolutions


def deformed_network() -> Graph:
    """A deformable convolution, its batch-norm and ReLU, whose weights all round down."""
    net = SmallNetwork(3, opset=19)
    x = net.node("Relu", net.conv(net.input(1, 3, 8, 7), (4, 3, 3, 3), pads=[1] * 4, name="first"))
    told = net.conv(x, (18 + 9, 4, 3, 3), pads=[1] * 4, name="told")
    parts = [
        net.node("Slice", told, *(net.integers([n]) for n in (a, b, 1)))
        for a, b in ((0, 18), (18, 27))
    ]
    codes = net.rng.integers(-20, 20, size=(6, 4, 3, 3)) + 0.45
    codes[:, 0, 0, 0] = 127
    bias = net.constant(net.rng.normal(size=6) / 16)
    mask = net.node("Sigmoid", parts[1])
    weight = net.constant(codes / 512)
    y = net.node("DeformConv", x, weight, parts[0], bias, mask, pads=[1] * 4, name="deformed")
    return net.graph(net.conv(net.node("Relu", y), (2, 6, 1, 1), name="last"))


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_the_bias_of_a_deformable_convolution_brings_its_means_to_the_float_networks(
    scale_type: int,
) -> None:
    graph = deformed_network()
    rng = np.random.default_rng(5)
    frames = twice({"input0": rng.uniform(0, 1, size=(6, 1, 3, 8, 7)).astype(np.float32)})
    sweeps, plan = calibrated(graph, frames, quantization_scale_type=scale_type)
    outcome = sweeps.outcome
    assert "deformed" in outcome.biases
    (deformed,) = (item for item in outcome.layers if item.layer == "deformed")
    assert deformed.damping > 0.5
    step = plan.features[parts_of(graph).layers[-2].output].scale
    assert deformed.error_before > deformed.error_after
    assert deformed.error_after < (step / 8) ** 2


def test_a_deformable_convolution_is_measured_before_its_relu() -> None:
    graph = deformed_network()
    frames = twice(
        {"input0": np.random.default_rng(6).uniform(0, 1, (2, 1, 3, 8, 7)).astype(np.float32)}
    )
    reference = measure_reference(graph, parts_of(graph), frames, threads=1)
    (layer,) = (x for x in parts_of(graph).layers if x.name == "deformed")
    assert len(layer.nodes) == 2
    wanted, held = reference.targets["deformed"]
    assert np.array_equal(wanted, held)
    (node,) = (node for node in graph.nodes if node.name == "deformed")
    features = FloatFeatures(graph, [str(node.outputs[0].name)], threads=1)
    each = [features.run(frames.frame(index)) for index in frames.measured]
    values = np.stack([next(iter(found.values())) for found in each]).astype(np.float64)
    np.testing.assert_allclose(wanted, values.mean(axis=(0, 1, 3, 4)), rtol=1e-9)
    assert wanted.min() < 0


# --- stages of every form


def island_without_inputs(net: SmallNetwork) -> str:
    """A constant that no pass may fold: it comes out of an If."""

    def branch(name: str, sign: float) -> onnx.GraphProto:
        values = [sign * x for x in (0.5, 1.0, -1.0, 2.0)]
        made = helper.make_tensor(f"{name}_value", TensorProto.FLOAT, [1, 4, 1, 1], values)
        node = helper.make_node("Constant", [], [name], value=made)
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, 1, None)])

    condition = "condition"
    net.constants[condition] = np.array(True)
    return net.node("If", condition, then_branch=branch("yes", 1), else_branch=branch("no", -1))


def mixed_network() -> tuple[Graph, list[str]]:
    """Two inputs, islands between and beside fixed stages, three outputs, one of them int64."""
    net = SmallNetwork(4)
    x, other = net.input(1, 3, 6, 6), net.input(1, 2)
    right = net.node("MatMul", other, net.random(2, 3), name="right")
    y = net.node("Abs", net.conv(x, (4, 3, 3, 3), pads=[1] * 4, name="before"))
    y = net.node("Add", y, island_without_inputs(net))
    y = net.node("Relu", net.conv(y, (5, 4, 1, 1), bias=False, name="behind"))
    flat = net.node("Flatten", net.node("GlobalAveragePool", y))
    logits = net.node("Add", net.node("MatMul", flat, net.random(5, 3), name="left"), right)
    best = net.node("ArgMax", logits, axis=1)
    return net.graph(logits, best, y), ["before", "behind", "left", "right"]


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_islands_inputs_and_outputs_of_every_kind_take_part(scale_type: int) -> None:
    graph, layers = mixed_network()
    rng = np.random.default_rng(1)
    frames = {
        item.name: rng.normal(size=(8, *item.shape)).astype(np.float32) for item in graph.inputs
    }
    frames["input0"] += 0.5
    sweeps, _ = calibrated(graph, twice(frames), quantization_scale_type=scale_type)
    outcome = sweeps.outcome
    assert outcome.biases.keys() == set(layers)
    assert outcome.error_after < outcome.error_before


def test_threads_leave_no_trace() -> None:
    graph, _ = mixed_network()
    rng = np.random.default_rng(1)
    frames = BiasFrames(
        {item.name: rng.normal(size=(9, *item.shape)).astype("f4") for item in graph.inputs}, 6
    )
    parts, plan = plan_of(graph, frames, quantization_scale_type=1)
    outcomes = []
    for threads in (1, 2, 5):
        sweeps = BiasSweeps(graph, parts, plan, frames, threads)
        sweeps.advance(ITERATIONS)
        outcomes.append(sweeps.outcome)
    assert outcomes[0] == outcomes[1] == outcomes[2]
