"""TFLite networks from file to result: integers bit for bit as LiteRT, floats by calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tidlq
from tflite_models import (
    Array,
    TfliteOperator,
    TfliteTensor,
    constant,
    run_reference,
    tflite_model,
)
from tidlq.importers.tflite.model import import_tflite

STRIDES = {"strideW": 1, "strideH": 1}
RELU6 = {"fusedActivationFunction": 3}


def integer_network() -> bytes:
    """A classifier with a residual sum, uint8 pictures in and probabilities out."""
    draw = np.random.default_rng(1)

    def weight(name: str, *shape: int, axis: int = 0) -> list[TfliteTensor]:
        """A weight with a scale per channel, and its bias behind a feature of scale 0.05."""
        scales = draw.uniform(0.002, 0.01, shape[axis]).astype(np.float32).tolist()
        return [
            constant(name, draw.integers(-127, 128, shape).astype(np.int8), scales, axis=axis),
            constant(
                f"{name}_bias",
                draw.integers(-2000, 2000, shape[axis]).astype(np.int32),
                [0.05 * scale for scale in scales],
            ),
        ]

    def feature(name: str, *shape: int, zero: int = -7) -> TfliteTensor:
        return TfliteTensor(name, shape, np.int8, (0.05,), (zero,))

    tensors = [
        TfliteTensor("picture", (1, 8, 8, 3), np.uint8, (0.05,), (121,)),
        feature("signed", 1, 8, 8, 3),
        *weight("w1", 8, 3, 3, 3),
        feature("a", 1, 8, 8, 8, zero=-128),
        *weight("w2", 1, 3, 3, 8, axis=3),
        feature("b", 1, 8, 8, 8),
        feature("c", 1, 8, 8, 8),
        constant("plane", np.array([1, 2], np.int32)),
        feature("d", 1, 8),
        *weight("w3", 5, 8),
        feature("e", 1, 5),
        TfliteTensor("p", (1, 5), np.int8, (1 / 256,), (-128,)),
    ]
    operators = [
        TfliteOperator("QUANTIZE", ("picture",), ("signed",)),
        TfliteOperator("CONV_2D", ("signed", "w1", "w1_bias"), ("a",), {**STRIDES, **RELU6}),
        TfliteOperator(
            "DEPTHWISE_CONV_2D", ("a", "w2", "w2_bias"), ("b",), {**STRIDES, "depthMultiplier": 1}
        ),
        TfliteOperator("ADD", ("a", "b"), ("c",)),
        TfliteOperator("MEAN", ("c", "plane"), ("d",)),
        TfliteOperator("FULLY_CONNECTED", ("d", "w3", "w3_bias"), ("e",)),
        TfliteOperator("SOFTMAX", ("e",), ("p",), {"beta": 1.0}),
    ]
    return tflite_model(tensors, operators, ["picture"], ["p"])


def test_an_integer_network_equals_the_reference_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(integer_network())
    compiled = tidlq.compile(path)
    compiled.save(tmp_path / "artifacts")
    session = tidlq.InferenceSession(tmp_path / "artifacts")
    draw = np.random.default_rng(2)
    for _ in range(20):
        picture = draw.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
        (found,) = session.run(None, {"picture": picture})
        expected = run_reference(path.read_bytes(), {"picture": picture})["p"]
        np.testing.assert_array_equal(found, expected)


def float_network() -> bytes:
    draw = np.random.default_rng(3)
    tensors = [
        TfliteTensor("x", (1, 8, 8, 3), shape_signature=(-1, 8, 8, 3)),
        constant("w", draw.normal(size=(4, 3, 3, 3)).astype(np.float32)),
        constant("b", np.zeros(4, np.float32)),
        TfliteTensor("a", (1, 8, 8, 4)),
        TfliteTensor("y", (1, 8, 8, 4), shape_signature=(-1, 8, 8, 4)),
    ]
    operators = [
        TfliteOperator("CONV_2D", ("x", "w", "b"), ("a",), {**STRIDES, **RELU6}),
        TfliteOperator("ADD", ("a", "a"), ("y",)),
    ]
    return tflite_model(tensors, operators, ["x"], ["y"])


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_a_float_network_is_quantized_by_calibration(scale_type: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    frames: list[dict[str, Array]] = [
        {"x": draw.normal(size=(1, 8, 8, 3)).astype(np.float32)} for _ in range(8)
    ]
    options = {"quantization_scale_type": scale_type}
    compiled = tidlq.compile(float_network(), calibration=frames, options=options)
    compiled.save(tmp_path / "artifacts")
    session = tidlq.InferenceSession(tmp_path / "artifacts")
    (found,) = session.run(None, frames[0])
    expected = run_reference(float_network(), frames[0])["y"]
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) < 0.5
    assert import_tflite(float_network()).free_batch
