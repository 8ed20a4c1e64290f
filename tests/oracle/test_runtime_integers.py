"""QDQ and QOperator models: each layer of ours makes of ONNX Runtime's integers what it makes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import tidlq
from oracle.layer_cuts import Difference, compare, cut_layers
from oracle.real_models import REAL_MODELS
from oracle.runtime_integers import RuntimeIntegers, pair_features
from runtime_quantizer import TYPES, Frames, quantize
from small_networks import SmallNetwork
from tidlq.float_runtime import open_float_session


@dataclass(frozen=True)
class Found:
    """Differences by kind of layer and kernel of ONNX Runtime, and layers without a comparison."""

    kinds: Mapping[tuple[str, str], Difference]
    uncompared: tuple[str, ...]


def compare_layers(path: Path, frames: Frames) -> Found:
    model = onnx.load(path)
    compiled = tidlq.compile(path)
    assert compiled.plan is not None
    pairs = pair_features(compiled.graph, compiled.plan.features, model)
    runtime = RuntimeIntegers(model, pairs.values())
    cuts = cut_layers(compiled.graph, compiled.partition, compiled.plan, pairs)
    kinds: dict[tuple[str, str], Difference] = {}
    for frame in frames:
        integers, _ = runtime.run(frame)
        known = {feature: integers[tensor] for feature, tensor in pairs.items()}
        for cut in cuts:
            key = (cut.label, runtime.kernel(pairs[cut.output]))
            expected = known[cut.output]
            found = compare(cut.run(known).reshape(expected.shape), expected)
            kinds[key] = kinds.get(key, Difference()) + found
    compared = {layer.name for cut in cuts for layer in cut.layers}
    names = (layer.name for layer in compiled.partition.layers)
    return Found(kinds, tuple(name for name in names if name not in compared))


def assert_equal(found: Found) -> None:
    wrong = {key: d for key, d in found.kinds.items() if d.equal < d.elements}
    assert found.kinds
    assert not wrong, wrong


@pytest.mark.parametrize("types", TYPES)
def test_the_packaged_network_equals_onnx_runtime_on_every_layer_and_output(
    types: str, demo_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source, frames = REAL_MODELS["fmnist"].load(request)
    path = quantize(source, tmp_path / "quantized.onnx", frames[:8], types)
    found = compare_layers(path, frames[8:])
    assert_equal(found)
    assert {kind for kind, _ in found.kinds} >= {
        "convolution",
        "sum",
        "average pool",
        "inner product",
        "softmax",
    }
    session = tidlq.InferenceSession(tidlq.compile(path).artifacts)
    for frame in frames:
        _, expected = RuntimeIntegers(onnx.load(path), ()).run(frame)
        for ours, theirs in zip(session.run(None, frame), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def broadcast_sums(net: SmallNetwork, x: str) -> str:
    """Constants in front, behind and per channel, a sum of two feature maps, a difference."""
    y = net.node("Add", x, net.constant([3.0]))
    y = net.node("Add", net.random(1, 6, 1, 1), y)
    y = net.node("Add", y, net.random(1, 6, 1, 1))
    return net.node("Sub", net.node("Add", y, x), net.node("Relu", x))


def products(net: SmallNetwork, x: str) -> str:
    y = net.node("Mul", x, net.node("Sigmoid", x))
    return net.node("Mul", y, net.random(1, 6, 1, 1))


def quotients(net: SmallNetwork, x: str) -> str:
    # The quantizer leaves divisions alone, so their constants stay float.
    y = net.node("Div", net.conv(x, (6, 6, 1, 1)), net.constant([6.0]))
    y = net.node("Div", net.conv(y, (6, 6, 1, 1)), net.constant([-0.37]))
    return net.conv(y, (6, 6, 1, 1))


def batch_norms(net: SmallNetwork, x: str) -> str:
    y = net.node("MaxPool", net.conv(x, (6, 6, 1, 1)), kernel_shape=[3, 3])
    return net.conv(net.batch_norm(y, 6), (5, 6, 3, 3))


def functions(net: SmallNetwork, x: str) -> str:
    y = net.node("LeakyRelu", net.node("Tanh", x), alpha=0.1)
    return net.node("HardSigmoid", y, alpha=0.2)


def averages(net: SmallNetwork, x: str) -> str:
    y = net.node("AveragePool", x, kernel_shape=[3, 2], strides=[1, 1], pads=[1, 0, 1, 1])
    y = net.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    return net.node("GlobalAveragePool", net.node("Add", y, y))


def whole_window(net: SmallNetwork, x: str) -> str:
    y = net.conv(x, (6, 6, 1, 1))
    return net.node("AveragePool", y, kernel_shape=[12, 10], strides=[12, 10])


def interpolation(net: SmallNetwork, x: str) -> str:
    sizes = (net.integers([1, 6, 17, 25]), net.integers([1, 6, 8, 50]))
    y = net.node("Resize", net.conv(x, (6, 6, 1, 1)), "", "", sizes[0], mode="linear")
    align = "align_corners"
    return net.node(
        "Resize", y, "", "", sizes[1], mode="linear", coordinate_transformation_mode=align
    )


def joins(net: SmallNetwork, x: str) -> str:
    y = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    y = net.node("Concat", y, net.node("Sigmoid", x), axis=1)
    y = net.node("Transpose", y, perm=[0, 2, 3, 1])
    return net.node("Softmax", y, axis=-1)


def convolutions(net: SmallNetwork, x: str) -> str:
    y = net.conv(x, (6, 1, 3, 3), group=6, pads=[1, 1, 1, 1])
    y = net.node("Relu", net.conv(y, (9, 6, 3, 3), strides=[2, 2]))
    return net.conv(y, (5, 9, 1, 1), bias=False)


BODIES: Sequence[Callable[[SmallNetwork, str], str]] = (
    broadcast_sums,
    products,
    quotients,
    batch_norms,
    functions,
    averages,
    whole_window,
    interpolation,
    joins,
    convolutions,
)
COMBINATIONS = [
    pytest.param(body, types, id=f"{body.__name__}-{types}")
    for body, types in itertools.product(BODIES, ("u8s8 per channel", "s8s8 per channel"))
]


@pytest.mark.parametrize(("body", "types"), COMBINATIONS)
def test_a_kind_of_layer_equals_onnx_runtime(
    body: Callable[[SmallNetwork, str], str], types: str, tmp_path: Path
) -> None:
    for seed in range(4):
        net = SmallNetwork(seed)
        output = body(net, net.input(1, 6, 12, 10))
        source = tmp_path / f"float{seed}.onnx"
        onnx.save(net.model(output), source)
        draw = np.random.default_rng(seed)
        sizes = (1 + seed) * 0.37
        frames = [
            {"input0": (sizes * draw.normal(0.2, 1, (1, 6, 12, 10))).astype(np.float32)}
            for _ in range(4)
        ]
        path = quantize(source, tmp_path / f"quantized{seed}.onnx", frames, types)
        assert_equal(compare_layers(path, frames))


def pictures_of(folder: Path) -> Iterator[NDArray[np.float32]]:
    rows = np.loadtxt(folder / "cifar10/data/cifar10_test_100.csv", delimiter=",", max_rows=2)
    pictures = rows[:, 1:].reshape(-1, 1, 32, 32, 3).transpose(0, 1, 4, 2, 3) / 255
    mean = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    yield from ((pictures - mean) / deviation).astype(np.float32)


# Of convolutions that ONNX Runtime computes in float: its sums are rounded; batch-norms behind them
# are folded here and computed there.
SUMMED, FOLDED = 0.9999, 0.9995
TRAINED = {
    "brevitas_resnet20_pc_bn_dynamo21": FOLDED,
    "brevitas_resnet20_pc_bn_ts13": FOLDED,
    "brevitas_resnet20_pc_fbias_dynamo18": SUMMED,
    "brevitas_resnet20_pc_ts13": SUMMED,
    "brevitas_resnet20_pow2_pt_ts13": SUMMED,
    "incomplete_resnet20_A_conv_no_actqdq": SUMMED,
    "incomplete_resnet20_B_conv_all_float": SUMMED,
    "incomplete_resnet20_C_weights_float_acts_qdq": SUMMED,
    "ort_resnet20_u8s8_pc_qoperator": SUMMED,
    "pt2e_resnet20_pc_dynamo18": SUMMED,
    "pt2e_resnet20_pc_dynamo21": SUMMED,
    "resnet20_cifar10_jpegft_qat_qdq": SUMMED,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_network_from_training_equals_onnx_runtime(name: str, shared_data: Path) -> None:
    path = shared_data / "qat/models" / f"{name}.onnx"
    given = onnx.load(path).graph.input[0].name
    found = compare_layers(path, [{given: frame} for frame in pictures_of(shared_data)])
    assert found.kinds
    for (kind, kernel), difference in found.kinds.items():
        share = difference.equal / difference.elements
        if kernel == "QuantizeLinear" and kind == "convolution":
            assert share >= TRAINED[name]
        else:
            assert share == 1.0, (kind, kernel)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRAINED if name.startswith("incomplete")])
def test_a_network_that_is_quantized_in_part_answers_as_onnx_runtime(
    name: str, shared_data: Path
) -> None:
    path = shared_data / "qat/models" / f"{name}.onnx"
    network = tidlq.InferenceSession(tidlq.compile(path).artifacts)
    runtime = open_float_session(path.read_bytes())
    for frame in pictures_of(shared_data):
        feed = {network.get_inputs()[0].name: frame}
        np.testing.assert_array_equal(network.run(None, feed)[0], runtime.run(None, feed)[0])
