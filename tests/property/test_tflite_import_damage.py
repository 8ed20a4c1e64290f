"""A damaged TFLite file gives an error of ours or a Graph, never another exception."""

from __future__ import annotations

import functools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflite_models import TfliteOperator, TfliteTensor, constant, tflite_model
from tidlq.errors import ModelError
from tidlq.importers.tflite.model import import_tflite

STRIDES = {"strideW": 1, "strideH": 1}


def quantized(name: str, *shape: int) -> TfliteTensor:
    return TfliteTensor(name, shape, np.int8, (0.5,), (3,))


def integer_network() -> bytes:
    """Layers of all kinds on integers."""
    tensors = [
        TfliteTensor("x", (1, 6, 6, 2), np.uint8, (0.5,), (131,), shape_signature=(-1, 6, 6, 2)),
        quantized("q", 1, 6, 6, 2),
        constant("w", np.ones((3, 3, 3, 2), np.int8), [0.5, 0.25, 1.0]),
        constant("b", np.zeros(3, np.int32), [0.25, 0.125, 0.5]),
        quantized("c", 1, 6, 6, 3),
        quantized("d", 1, 6, 6, 3),
        constant("axes", np.array([1, 2], np.int32)),
        quantized("m", 1, 3),
        constant("k", np.ones((4, 3), np.int8), [0.5]),
        TfliteTensor("o", (1, 4), np.int8, (1 / 256,), (-128,)),
        TfliteTensor("y", (1, 4)),
    ]
    operators = [
        TfliteOperator("QUANTIZE", ("x",), ("q",)),
        TfliteOperator(
            "CONV_2D", ("q", "w", "b"), ("c",), {**STRIDES, "fusedActivationFunction": 3}
        ),
        TfliteOperator("ADD", ("c", "c"), ("d",)),
        TfliteOperator("MEAN", ("d", "axes"), ("m",)),
        TfliteOperator("FULLY_CONNECTED", ("m", "k"), ("o",)),
        TfliteOperator("DEQUANTIZE", ("o",), ("y",)),
    ]
    return tflite_model(tensors, operators, ["x"], ["y"])


def float_network() -> bytes:
    """Shape arithmetic, layouts and movement."""
    tensors = [
        TfliteTensor("x", (1, 4, 4, 2), shape_signature=(-1, 4, 4, 2)),
        TfliteTensor("p", (1, 6, 6, 2)),
        constant("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)),
        constant("w", np.ones((1, 3, 3, 2), np.float16)),
        TfliteTensor("f", (1, 3, 3, 2)),
        constant("b", np.zeros(2, np.float32)),
        TfliteTensor("c", (1, 4, 4, 2)),
        constant("size", np.array([8, 8], np.int32)),
        TfliteTensor("r", (1, 8, 8, 2)),
        TfliteTensor("s", (4,), np.int32),
        TfliteTensor("n", (), np.int32),
        constant("zero", np.array([0], np.int32)),
        constant("one", np.array([1], np.int32)),
        constant("rest", np.array(-1, np.int32)),
        TfliteTensor("t", (2,), np.int32),
        TfliteTensor("y", (1, 128)),
    ]
    operators = [
        TfliteOperator("PAD", ("x", "pads"), ("p",)),
        TfliteOperator("DEQUANTIZE", ("w",), ("f",)),
        TfliteOperator(
            "DEPTHWISE_CONV_2D",
            ("p", "f", "b"),
            ("c",),
            {**STRIDES, "padding": 1, "depthMultiplier": 1},
        ),
        TfliteOperator("RESIZE_BILINEAR", ("c", "size"), ("r",), {"halfPixelCenters": True}),
        TfliteOperator("SHAPE", ("r",), ("s",), {"outType": 2}),
        TfliteOperator("STRIDED_SLICE", ("s", "zero", "one", "one"), ("n",), {"shrinkAxisMask": 1}),
        TfliteOperator("PACK", ("n", "rest"), ("t",), {"valuesCount": 2}),
        TfliteOperator("RESHAPE", ("r", "t"), ("y",)),
    ]
    return tflite_model(tensors, operators, ["x"], ["y"])


@functools.cache
def small_models() -> tuple[bytes, ...]:
    return integer_network(), float_network()


def import_or_refuse(content: bytes) -> None:
    try:
        graph = import_tflite(content)
    except ModelError as error:
        message = str(error)
    else:
        message = ""
        assert graph.outputs
        assert len(graph.fingerprint) == 64
    assert "\n" not in message
    assert len(message) < 1000


def test_the_undamaged_models_import() -> None:
    for content in small_models():
        assert import_tflite(content).outputs[0].name == "y"


@pytest.mark.parametrize("index", [0, 1])
def test_every_truncation_is_refused_or_imported(index: int) -> None:
    content = small_models()[index]
    for length in range(len(content)):
        import_or_refuse(content[:length])


@pytest.mark.parametrize("index", [0, 1])
def test_flipped_bits_all_over(index: int) -> None:
    content = small_models()[index]
    for place in range(index, len(content), 2):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place * 5 + place // 8) % 8
        import_or_refuse(bytes(damaged))


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("word", [0x7FFFFFFF, 0xFFFFFFFF, 0x40000000, 0x10000])
def test_an_absurd_number_in_every_word(index: int, word: int) -> None:
    content = small_models()[index]
    for place in range(8, len(content) - 3, 8):
        damaged = bytearray(content)
        struct.pack_into("<I", damaged, place, word)
        import_or_refuse(bytes(damaged))


@given(data=st.data())
def test_any_bytes_anywhere(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(small_models())))
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    import_or_refuse(bytes(content))


@given(tail=st.binary(max_size=200))
def test_anything_behind_the_identifier(tail: bytes) -> None:
    import_or_refuse(b"\x10\x00\x00\x00TFL3" + tail)
    import_or_refuse(b"\x08\x00\x00\x00TFL3" + tail)


@given(data=st.data())
def test_a_piece_of_one_file_in_another(data: st.DataObject) -> None:
    one, other = small_models()
    start = data.draw(st.integers(8, len(one) - 1))
    length = data.draw(st.integers(1, 200))
    import_or_refuse(one[:start] + other[start : start + length] + one[start + length :])
