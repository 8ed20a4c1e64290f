"""Normalizations, products of feature maps and attention against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import tidlq
from random_networks import frames_for
from small_networks import SmallNetwork, float_outputs
from tidlq.compilation import Compiled
from tidlq.importers.model import import_model

Array = NDArray[np.float32]
Build = Callable[[SmallNetwork], str]


def layer_norm(net: SmallNetwork) -> str:
    return net.node("LayerNormalization", net.input(2, 5, 24), net.random(24), net.random(24))


def layer_norm_of_two_axes(net: SmallNetwork) -> str:
    x = net.input(1, 3, 4, 6)
    return net.node("LayerNormalization", x, net.random(4, 6), axis=2)


def instance_norm(net: SmallNetwork) -> str:
    x = net.input(2, 3, 8, 7)
    return net.node("InstanceNormalization", x, net.random(3), net.random(3))


def rms_norm(net: SmallNetwork) -> str:
    x = net.input(1, 6, 32)
    mean = net.node("ReduceMean", net.node("Mul", x, x), axes=[-1])
    root = net.node("Sqrt", net.node("Add", mean, net.constant(1e-6)))
    return net.node("Mul", net.node("Div", x, root), net.random(32))


def matrix_product(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(2, 3, 5, 16), net.input(1, 3, 16, 7))


def product_with_a_matrix(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(2, 5, 16), net.input(16, 7))


def product_with_a_vector(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(2, 5, 16), net.input(16))


def vector_with_products(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(16), net.input(2, 3, 16, 4))


def product_of_vectors(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(16), net.input(16))


def product_with_many(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(5, 16), net.input(2, 3, 16, 7))


def products_that_both_repeat(net: SmallNetwork) -> str:
    return net.node("MatMul", net.input(3, 1, 5, 16), net.input(2, 16, 7))


CASES: dict[str, Build] = {
    build.__name__: build
    for build in (
        layer_norm,
        layer_norm_of_two_axes,
        instance_norm,
        rms_norm,
        matrix_product,
        product_with_a_matrix,
        product_with_a_vector,
        vector_with_products,
        product_of_vectors,
        product_with_many,
        products_that_both_repeat,
    )
}


def compiled(model: onnx.ModelProto, **options: object) -> Compiled:
    base = {"quantization_scale_type": 4, "accuracy_level": 2, "bias_calibration": 0}
    return tidlq.compile(model, frames_for(model, 4), {**base, **options})


def answers(found: Compiled, frame: dict[str, Array]) -> Array:
    (answer,) = tidlq.InferenceSession(found.artifacts).run(None, frame)
    return np.asarray(answer, np.float32)


def rounded(found: Compiled, name: str, values: Array) -> Array:
    assert found.plan is not None
    quant = found.plan.features[name]
    q = np.rint(values / np.float32(quant.scale)) + quant.zero_point
    q = np.clip(q, quant.type.lowest, quant.type.highest)
    return np.asarray((q - quant.zero_point) * quant.scale, np.float32)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("case", CASES)
def test_error_is_within_a_decibel_of_ideal_rounding(case: str, bits: int, scale_type: int) -> None:
    net = SmallNetwork()
    y = CASES[case](net)
    model = net.model(y)
    found = compiled(model, tensor_bits=bits, quantization_scale_type=scale_type)
    assert not found.partition.float_nodes
    assert len(found.partition.layers) == 1
    graph = import_model(model, input_shapes={}, pre_batchnorm_fold=False)
    noise, ideal = 0.0, 0.0
    for frame in frames_for(model, 4):
        (expected,) = float_outputs(graph, frame).values()
        fed = {name: rounded(found, name, values) for name, values in frame.items()}
        (best,) = float_outputs(graph, fed).values()
        noise += float(np.sum((answers(found, frame) - expected).astype(np.float64) ** 2))
        ideal += float(np.sum((rounded(found, y, best) - expected).astype(np.float64) ** 2))
    assert noise <= 10**0.1 * ideal


def attention(net: SmallNetwork) -> str:
    """Two heads over ten places, with a norm in front and a residual sum."""
    x = net.node("Add", net.input(1, 10, 16), net.random(1, 10, 16))
    normed = net.node("LayerNormalization", x, net.random(16), net.random(16))
    split = net.integers([1, 10, 2, 8])

    def head(*perm: int) -> str:
        flat = net.node("MatMul", normed, net.random(16, 16))
        return net.node("Transpose", net.node("Reshape", flat, split), perm=perm)

    logits = net.node("MatMul", head(0, 2, 1, 3), head(0, 2, 3, 1))
    shares = net.node("Softmax", net.node("Mul", logits, net.constant(8**-0.5)), axis=-1)
    mixed = net.node("Transpose", net.node("MatMul", shares, head(0, 2, 1, 3)), perm=(0, 2, 1, 3))
    merged = net.node("Reshape", mixed, net.integers([1, 10, 16]))
    return net.node("Add", x, net.node("MatMul", merged, net.random(16, 16)))


@pytest.mark.parametrize(("bits", "least"), [(8, 20.0), (16, 60.0)])
@pytest.mark.parametrize("scale_type", [0, 4])
def test_attention_runs_in_one_stage(bits: int, least: float, scale_type: int) -> None:
    net = SmallNetwork()
    model = net.model(attention(net))
    found = compiled(model, tensor_bits=bits, quantization_scale_type=scale_type)
    assert len(found.partition.stages) == 1
    graph = import_model(model, input_shapes={}, pre_batchnorm_fold=False)
    noise = signal = 0.0
    for frame in frames_for(model, 4):
        (expected,) = float_outputs(graph, frame).values()
        noise += float(np.sum((answers(found, frame) - expected).astype(np.float64) ** 2))
        signal += float(np.sum(expected.astype(np.float64) ** 2))
    assert 10 * np.log10(signal / noise) > least


def test_an_exported_attention_comes_back_as_it_was() -> None:
    net = SmallNetwork()
    model = net.model(attention(net))
    first = compiled(model)
    again = tidlq.compile(first.to_qdq())
    frame = frames_for(model, 5)[4]
    assert np.array_equal(answers(again, frame), answers(first, frame))
