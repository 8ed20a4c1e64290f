"""Elements of constants, as stored and as the real numbers that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import ModelError
from tidlq.importers.tflite.constants import real_values, stored_values
from tidlq.importers.tflite.contents import StoredQuantization, StoredTensor
from tidlq.importers.tflite.names import UniqueNames
from tidlq.importers.tflite.quantization import parameter_statement
from tidlq.spec import IntegerType, StatedParameter


def stored(
    kind: str,
    data: bytes,
    shape: tuple[int, ...],
    quantization: StoredQuantization | None = None,
) -> StoredTensor:
    return StoredTensor(0, "w", kind, shape, shape, quantization, memoryview(data))


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=9))
def test_four_bits_come_low_half_first(values: list[int]) -> None:
    padded = [*values, 0] if len(values) % 2 else values
    data = bytes(
        (low & 15) | (high & 15) << 4 for low, high in zip(padded[::2], padded[1::2], strict=True)
    )
    found = stored_values(stored("INT4", data, (len(values),)))
    assert found.dtype == np.int8
    assert found.tolist() == values


def test_four_bits_state_eight() -> None:
    tensor = stored("INT4", b"\x7f\x80", (2, 2), StoredQuantization((0.5, 2.0), (0, 0), 0))
    np.testing.assert_array_equal(real_values(tensor), np.float32([[-0.5, 3.5], [0, -16]]))
    expected = StatedParameter(IntegerType(8, signed=True), (0.5, 2.0), (0, 0), 0)
    assert parameter_statement(tensor) == expected


@given(st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=5))
def test_half_precision_widens_exactly(values: list[float]) -> None:
    data = np.array(values, "<f2").tobytes()
    found = real_values(stored("FLOAT16", data, (len(values),)))
    assert found.dtype == np.float32
    assert found.tolist() == values


def test_brain_floats_are_the_upper_half() -> None:
    bits = np.array([1.0, -2.5, 0.15625], np.float32).view(np.uint32) >> 16
    data = bits.astype("<u2").tobytes()
    assert real_values(stored("BFLOAT16", data, (3,))).tolist() == [1.0, -2.5, 0.15625]


@pytest.mark.parametrize("kind", ["INT8", "INT32", "BOOL"])
def test_numbers_without_a_scale_stay(kind: str) -> None:
    width = 4 if kind == "INT32" else 1
    tensor = stored(kind, (b"\x01" + b"\x00" * (width - 1)) * 2, (2,))
    assert real_values(tensor).tolist() == [1, 1]


@given(
    q=st.integers(-128, 127),
    zero_point=st.integers(-128, 127),
    scale=st.floats(2.0**-40, 2.0**20, width=32),
)
def test_integers_stand_for_one_rounded_product(q: int, zero_point: int, scale: float) -> None:
    data = np.array([q], np.int8).tobytes()
    tensor = stored("INT8", data, (1,), StoredQuantization((scale,), (zero_point,)))
    expected = np.float32(np.float64(scale) * (q - zero_point))
    assert real_values(tensor)[0] == expected


@pytest.mark.parametrize(
    ("quantization", "words"),
    [
        (StoredQuantization((-1.0,), (0,)), "a scale that is negative"),
        (StoredQuantization((float("inf"),), (0,)), "a scale that is negative, NaN or Inf"),
        (StoredQuantization((1.0, 1.0), (0, 0), 0), "2 scales for axis 0"),
        (StoredQuantization((1.0,) * 4, (0,) * 4, 7), "4 scales for axis 7"),
        (StoredQuantization((1.0,), (1 << 40,)), "must be integers of 16 bits"),
        (StoredQuantization((3e38,), (0,)), "does not fit float32"),
        (StoredQuantization((), (), is_special=True), "in blocks or in a form of their own"),
    ],
)
def test_scales_that_cannot_be(quantization: StoredQuantization, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        real_values(stored("INT8", b"\x05" * 4, (4,), quantization))


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [
        ("FLOAT32", 15, "needs 16 bytes and has 15"),
        ("INT4", 3, "needs 2 bytes and has 3"),
        ("STRING", 16, "of type STRING, which is not read"),
        ("type 99", 16, "of type type 99, which is not read"),
    ],
)
def test_data_of_another_size_or_type(kind: str, size: int, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        stored_values(stored(kind, bytes(size), (4,)))


@given(st.lists(st.sampled_from(["a", "a_1", "b"]), max_size=12))
def test_unique_names_are_unique_and_begin_with_their_base(bases: list[str]) -> None:
    names = UniqueNames()
    names.reserve(["b"])
    found = [names.take(base) for base in bases]
    assert len({*found, "b"}) == len(found) + 1
    assert all(name.startswith(base) for name, base in zip(found, bases, strict=True))
    if found:
        names.release(found[0])
        assert names.take(found[0]) == found[0]
