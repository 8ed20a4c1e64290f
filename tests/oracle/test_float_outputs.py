"""Layers whose output the model does not quantize: ONNX Runtime's integer kernels, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tidlq
from oracle.quantized_layers import QdqNetwork

# ONNX Runtime adds two products in 16 saturating bits on CPUs without VNNI; these never reach it.
SMALL_WEIGHT = 63
X_SCALE = float(np.float32(0.0317))


@dataclass(frozen=True)
class Drawn:
    """Numbers of one layer."""

    x: NDArray[np.float32]
    zero_point: NDArray[np.integer]
    weight: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]

    @property
    def integers(self) -> NDArray[np.int64]:
        """The input as the model quantizes it, without the zero point."""
        info = np.iinfo(self.zero_point.dtype)
        q = np.rint(self.x / np.float32(X_SCALE)) + self.zero_point
        return np.asarray(np.clip(q, info.min, info.max), np.int64) - int(self.zero_point)

    @property
    def steps(self) -> NDArray[np.float32]:
        """Real values of one unit of the accumulators."""
        return np.float32(X_SCALE) * self.scales


@st.composite
def layers(draw: st.DrawFn, leading: tuple[int, ...] | None = None) -> Drawn:
    """Inputs of 8 bits and either sign; weights with one scale or one per output."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    shape = leading if leading is not None else draw(st.sampled_from([(1,), (3,), (17,)]))
    dtype = draw(st.sampled_from([np.uint8, np.int8]))
    info = np.iinfo(dtype)
    count = draw(st.sampled_from([1, outputs]))
    return Drawn(
        (rng.normal(size=(*shape, depth)) * 2).astype(np.float32),
        np.asarray(rng.integers(info.min, info.max + 1), dtype),
        rng.integers(-SMALL_WEIGHT, SMALL_WEIGHT + 1, (depth, outputs)).astype(np.int8),
        (2.0 ** rng.uniform(-9, -3, count)).astype(np.float32),
        rng.integers(-5000, 5000, outputs).astype(np.int32),
    )


def run_optimized(
    model: onnx.ModelProto, x: NDArray[np.float32], folder: Path
) -> tuple[NDArray[np.float32], set[str]]:
    """ONNX Runtime's result with all optimizations, and the operators that it made."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": x})
    optimized = onnx.load(options.optimized_model_filepath)
    return y, {node.op_type for node in optimized.graph.node}


def run_tidlq(model: onnx.ModelProto, x: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    compiled = tidlq.compile(model)
    assert not compiled.partition.float_nodes
    compiled.save(folder / "artifacts")
    (y,) = tidlq.InferenceSession(folder / "artifacts").run(None, {"x": x})
    return y


@given(layers(), st.booleans(), st.booleans())
def test_gemm_equals_qgemm(
    tmp_path_factory: pytest.TempPathFactory, drawn: Drawn, is_transposed: bool, has_bias: bool
) -> None:
    folder = tmp_path_factory.mktemp("gemm")
    net = QdqNetwork()
    x = net.quantized("x", X_SCALE, drawn.zero_point)
    weight = drawn.weight.T.copy() if is_transposed else drawn.weight
    w = net.stored(weight, drawn.scales, axis=0 if is_transposed else 1)
    bias = [net.stored(drawn.bias, drawn.steps)] if has_bias else []
    y = net.node("Gemm", x, w, *bias, transB=int(is_transposed))
    model = net.model(drawn.x.shape, y)
    expected, operators = run_optimized(model, drawn.x, folder)
    assert "QGemm" in operators
    np.testing.assert_array_equal(run_tidlq(model, drawn.x, folder), expected)


@given(st.data(), st.sampled_from([(1,), (5,), (2, 3)]))
def test_matmul_equals_matmulintegertofloat(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, leading: tuple[int, ...]
) -> None:
    folder = tmp_path_factory.mktemp("matmul")
    drawn = data.draw(layers(leading))
    net = QdqNetwork()
    x = net.quantized("x", X_SCALE, drawn.zero_point)
    y = net.node("MatMul", x, net.stored(drawn.weight, drawn.scales, axis=1))
    model = net.model(drawn.x.shape, y)
    expected, operators = run_optimized(model, drawn.x, folder)
    assert "MatMulIntegerToFloat" in operators
    np.testing.assert_array_equal(run_tidlq(model, drawn.x, folder), expected)


@given(layers())
def test_a_float_bias_is_added_behind_exact_sums(
    tmp_path_factory: pytest.TempPathFactory, drawn: Drawn
) -> None:
    # ONNX Runtime multiplies in float32 here; its sums are rounded at every step.
    folder = tmp_path_factory.mktemp("bias")
    net = QdqNetwork()
    x = net.quantized("x", X_SCALE, drawn.zero_point)
    bias = (drawn.bias * np.float32(0.37)).astype(np.float32)
    w = net.stored(drawn.weight, drawn.scales, axis=1)
    y = net.node("Gemm", x, w, net.constant(bias))
    model = net.model(drawn.x.shape, y)
    found = run_tidlq(model, drawn.x, folder)
    accumulators = drawn.integers @ drawn.weight.astype(np.int64)
    scaled = accumulators.astype(np.float32) * drawn.steps
    np.testing.assert_array_equal(found, scaled + bias)
    expected, _ = run_optimized(model, drawn.x, folder)
    terms = np.abs(drawn.integers) @ np.abs(drawn.weight.astype(np.int64)) * drawn.steps
    bound = (drawn.weight.shape[0] + 4) * 2.0**-23 * (terms + np.abs(bias))
    assert np.all(np.abs(found - expected) <= bound)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4]), st.booleans())
def test_a_convolution_is_exact_and_rounded_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int, groups: int, has_bias: bool
) -> None:
    # ONNX Runtime has no kernel for this; it multiplies and adds in float32.
    folder = tmp_path_factory.mktemp("conv")
    rng = np.random.default_rng(seed)
    net = QdqNetwork()
    x = net.quantized("x", X_SCALE, np.uint8(101))
    weight = rng.integers(-127, 128, (8, 4 // groups, 3, 3)).astype(np.int8)
    scales = (2.0 ** rng.uniform(-9, -3, 8)).astype(np.float32)
    bias = rng.integers(-5000, 5000, 8).astype(np.int32)
    stored = [net.stored(bias, np.float32(X_SCALE) * scales)] if has_bias else []
    y = net.node("Conv", x, net.stored(weight, scales), *stored, group=groups, pads=[1, 1, 1, 1])
    frame = (rng.normal(size=(1, 4, 6, 5)) * 2).astype(np.float32)
    model = net.model(frame.shape, y)
    found = run_tidlq(model, frame, folder)
    expected, _ = run_optimized(model, frame, folder)
    # Every product is an integer below 2^15 times one step, as is what the sum rounds to.
    steps = (np.float32(X_SCALE) * scales)[:, np.newaxis, np.newaxis]
    integers = np.rint(found / steps)
    np.testing.assert_array_equal(found, integers.astype(np.float32) * steps)
    np.testing.assert_array_equal(integers, np.rint(expected / steps))


@pytest.mark.slow
def test_logits_of_a_trained_network_are_those_of_onnx_runtime(
    shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "qat/models/brevitas_resnet20_pc_ts13.onnx"
    rows = np.loadtxt(
        shared_data / "cifar10/data/cifar10_test_100.csv", delimiter=",", dtype=np.float32
    )
    pictures = rows[:, 1:].reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2) / np.float32(255)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    deviation = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    tidlq.compile(path).save(tmp_path / "artifacts")
    ours = tidlq.InferenceSession(tmp_path / "artifacts")
    theirs = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = theirs.get_inputs()[0].name
    for picture in (pictures - mean) / deviation:
        feed = {name: picture[np.newaxis]}
        np.testing.assert_array_equal(ours.run(None, feed)[0], theirs.run(None, feed)[0])
