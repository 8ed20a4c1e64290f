"""Means of accumulators against convolutions written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from small_networks import SmallNetwork, parts_of, random_frame
from tidlq._core import FrameStepper
from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.means import accumulator_means, integer_means
from tidlq.calibration.bias.reference import measure_reference
from tidlq.calibration.bias.stages import IntegerStages, WeightedLayer
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.layers import ConvolutionAttributes, Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import make_plan
from tidlq.spec import Range
from tidlq.target import Options, scheme_of

Float64 = NDArray[np.float64]


def every_kind() -> Graph:
    """Convolutions of all shapes, a batch-norm and matrix products, each on the network's input."""
    net = SmallNetwork(1)
    x, line, rows = net.input(1, 4, 7, 6), net.input(2, 4, 9), net.input(1, 3, 5)
    outputs = [
        net.conv(x, (3, 4, 3, 2), pads=[1, 0, 2, 1], strides=[2, 1], name="strided"),
        net.conv(x, (6, 2, 2, 3), group=2, dilations=[2, 2], pads=[1, 2, 1, 2], name="grouped"),
        net.conv(x, (4, 1, 3, 3), group=4, bias=False, auto_pad="SAME_UPPER", name="depthwise"),
        net.conv(line, (5, 4, 4), pads=[3, 0], strides=[3], name="line"),
        net.batch_norm(x, 4, name="norm"),
        net.node("MatMul", rows, net.random(5, 2), name="product"),
    ]
    flat = net.node("Flatten", x)
    weight, bias = net.random(3, 168), net.random(3)
    outputs.append(net.node("Gemm", flat, weight, bias, transB=1, alpha=0.5, beta=2.0, name="gemm"))
    return net.graph(*outputs)


def written_out(layer: Layer, weight: Float64, bias: Float64 | float, x: Float64) -> Float64:
    """Mean of each output channel of one layer's accumulators, by loops over a batch [N, ...]."""
    if not isinstance(layer.attributes, ConvolutionAttributes):
        if weight.ndim == 1:
            return weight * np.moveaxis(x, 1, 0).reshape(len(weight), -1).mean(axis=1) + bias
        return (x @ weight.T).reshape(-1, len(weight)).mean(axis=0) + bias
    window, groups = layer.attributes.window, layer.attributes.groups
    pads = zip(window.pad_begin, window.pad_end, strict=True)
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    reach = [(k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True)]
    sizes = [
        (n - r - 1) // s + 1 for n, r, s in zip(x.shape[2:], reach, window.stride, strict=True)
    ]
    per_group, rows = weight.shape[1], len(weight) // groups
    total = np.zeros(len(weight))
    places = list(itertools.product(*(range(size) for size in sizes)))
    for place in places:
        for tap in itertools.product(*(range(k) for k in window.kernel)):
            at = tuple(
                p * s + t * d
                for p, s, t, d in zip(place, window.stride, tap, window.dilation, strict=True)
            )
            seen = x[(slice(None), slice(None), *at)]
            for o in range(len(weight)):
                first = (o // rows) * per_group
                part = seen[:, first : first + per_group] * weight[(o, slice(None), *tap)]
                total[o] += part.sum()
    return total / (len(x) * len(places)) + bias


def frames_of(graph: Graph, count: int = 6, fitted: int = 4) -> BiasFrames:
    frames = [random_frame(graph, seed) for seed in range(count)]
    return BiasFrames({n: np.stack([f[n] for f in frames]) for n in frames[0]}, fitted)


def joined(values: NDArray[np.generic]) -> Float64:
    """[frames, N, ...] as one batch [frames * N, ...]."""
    return values.reshape(-1, *values.shape[2:]).astype(np.float64)


def inputs_of(graph: Graph, layer: Layer, frames: BiasFrames) -> NDArray[np.generic]:
    name = layer.inputs[0]
    if name in frames.inputs:
        return frames.inputs[name]
    flat = frames.inputs["input0"]
    return flat.reshape(len(flat), 1, -1)


def test_float_means_are_those_of_the_accumulators() -> None:
    graph, frames = every_kind(), frames_of(every_kind())
    parts = parts_of(graph)
    layers = [layer for layer in parts.layers if layer.kind.has_weight]
    assert len(layers) == 7
    targets = measure_reference(graph, parts, frames, threads=1).targets
    for layer in layers:
        parameters = layer_parameters(graph, layer)
        bias = 0.0 if parameters.bias is None else parameters.bias
        x = inputs_of(graph, layer, frames)
        for part, got in ((x[:4], targets[layer.name][0]), (x[4:], targets[layer.name][1])):
            want = written_out(layer, parameters.weight.astype(np.float64), bias, joined(part))
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=layer.name)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("threads", [1, 3])
def test_integer_means_are_those_of_the_accumulators(scale_type: int, threads: int) -> None:
    graph, frames = every_kind(), frames_of(every_kind())
    parts = parts_of(graph)
    scheme = scheme_of(Options(quantization_scale_type=scale_type))
    own = measure_parameters(graph, parts.layers)
    plan = make_plan(graph, parts, own, scheme, choose=lambda _name, _scales: Range(-3, 2.5))
    stages = IntegerStages(graph, parts, plan, threads)
    seen: list[str] = []

    def visit(weighted: WeightedLayer, stepper: FrameStepper) -> None:
        layer, quant = weighted.layer, plan.features[weighted.layer.inputs[0]]
        real = inputs_of(graph, layer, frames).astype(np.float64)
        # Network inputs are quantized by the engine: to the nearest integer, far from a tie here.
        q = np.rint(real / quant.scale) + quant.zero_point
        q = np.clip(q, quant.type.lowest, quant.type.highest) - quant.zero_point
        for part in (range(4), range(4, 6), range(2, 3)):
            means = integer_means(stepper, weighted.index, part)
            groups = group_count(layer, weighted.weight)
            got = accumulator_means(in_taps(weighted.weight), groups, means)
            weight = weighted.weight.astype(np.float64)
            want = written_out(layer, weight, 0.0, joined(q[part.start : part.stop]))
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-7, err_msg=layer.name)
        seen.append(layer.name)

    stages.run(frames.inputs, {}, visit)
    assert len(seen) == 7
