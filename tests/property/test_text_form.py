"""The native text form agrees with the protobuf library wherever it does not abstain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2, text_format
from hypothesis import example, given
from hypothesis import strategies as st

from tidlq import _core
from tidlq.errors import InternalError
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext

FILES = [pb.DESCRIPTOR.serialized_pb, ext.DESCRIPTOR.serialized_pb]


def form_of(message: Any) -> _core.TextForm:
    return _core.TextForm(FILES, message.DESCRIPTOR.full_name)


NET, TENSOR = form_of(pb.TIDLNetQuantParams), form_of(pb.TidlTensorQuantParams)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
doubles = st.floats(allow_nan=False)
floats = st.floats(allow_nan=False, width=32)
numbers = st.integers(0, 2**32 - 1)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=3)


@st.composite
def tensors(draw: st.DrawFn) -> pb.TidlTensorQuantParams:
    tensor = pb.TidlTensorQuantParams(
        min=draw(st.none() | floats),
        max=draw(st.none() | floats),
        size=draw(st.none() | numbers),
        scale=draw(some(doubles)),
        zero_point=draw(some(numbers)),
        value=draw(some(doubles)),
    )
    if name := draw(st.none() | texts):
        tensor.Extensions[ext.tensor_name] = name
    if channels := draw(some(floats)):
        tensor.Extensions[ext.channel_min].extend(channels)
    if draw(st.booleans()):
        origin = ext.RangeOrigin.values()
        tensor.Extensions[ext.range_origin] = draw(st.sampled_from(origin))
    return tensor


@st.composite
def nets(draw: st.DrawFn) -> pb.TIDLNetQuantParams:
    net = pb.TIDLNetQuantParams(
        num_layers=draw(st.none() | st.integers(-(2**31), 2**31 - 1)),
        quant_type=draw(st.sampled_from([None, pb.SYMMETRIC, pb.ASYMMETRIC])),
    )
    for name in draw(some(texts)):
        net.layers.add(
            layer_name=name, bit_depth=draw(numbers), outputs=draw(some(tensors())), bias=[{}]
        )
    if draw(st.booleans()):
        provenance = net.Extensions[ext.provenance]
        provenance.accuracy_level = draw(st.integers(-9, 9))
        provenance.options.add(key=draw(texts), value=draw(texts))
    return net


def printed(message: Any, *, short: bool = True, utf8: bool = False) -> str:
    return text_format.MessageToString(message, as_utf8=utf8, use_short_repeated_primitives=short)


def bits(message: Any) -> bytes:
    """Unlike ==, tells -0.0 from 0.0."""
    content: bytes = message.SerializeToString(deterministic=True)
    return content


def assert_agrees(form: _core.TextForm, message: Any, text: str) -> bool:
    """Whatever is accepted is accepted by the library, with the same bits; says whether it was."""
    binary = form.to_binary(text)
    if binary is None:
        return False
    assert bits(message.FromString(binary)) == bits(text_format.Parse(text, message()))
    return True


@given(net=nets())
def test_printed_text_is_the_librarys_byte_for_byte(net: pb.TIDLNetQuantParams) -> None:
    assert NET.to_text(net.SerializeToString()) == printed(net)


@given(value=doubles, narrow=floats)
@example(value=168.79946899414062, narrow=9.0078125)  # halfway between two shortest decimals
@example(value=5e-324, narrow=2**-149)
@example(value=2.0**-44, narrow=2.0**-44)
def test_every_float_is_printed_as_the_library_does(value: float, narrow: float) -> None:
    tensor = pb.TidlTensorQuantParams(min=narrow, scale=[value])
    assert TENSOR.to_text(tensor.SerializeToString()) == printed(tensor)


@given(
    net=nets(), short=st.booleans(), utf8=st.booleans(), line_end=st.sampled_from(["\n", "\r\n"])
)
def test_what_the_library_prints_is_read_to_the_last_bit(
    net: pb.TIDLNetQuantParams, short: bool, utf8: bool, line_end: str
) -> None:
    text = printed(net, short=short, utf8=utf8).replace("\n", line_end)
    binary = NET.to_binary(text)
    assert binary is not None
    assert bits(pb.TIDLNetQuantParams.FromString(binary)) == bits(net)


def test_a_published_file_is_read_without_the_library(repository: Path) -> None:
    sample = repository / "tests" / "unit" / "quantproto" / "published_sample.prototxt"
    assert assert_agrees(NET, pb.TIDLNetQuantParams, sample.read_text(encoding="utf-8"))


@given(
    net=nets(),
    changes=st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.integers(0, 3),
            st.sampled_from(
                [
                    *"\n\r\t\f\x00\x1c\xa0 #{}[]<>:;,\"'\\/.-+_eE0179fxäλ",
                    "inf",
                    "layers {",
                    "min: 1",
                ]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_altered_text_is_never_read_differently(
    net: pb.TIDLNetQuantParams, changes: list[tuple[int, int, str]]
) -> None:
    text = printed(net)
    for place, dropped, inserted in changes:
        position = place % (len(text) + 1)
        text = text[:position] + inserted + text[position + dropped :]
    assert_agrees(NET, pb.TIDLNetQuantParams, text)


@given(
    field=st.sampled_from(["min", "scale", "size", "zero_point"]),
    token=st.text("0123456789+-._eExXfFinaNbo", max_size=8) | doubles.map(repr),
)
@example(field="size", token="010")
@example(field="size", token="-0")
@example(field="size", token="4294967296")
@example(field="min", token="1e39")
@example(field="min", token="-1e400")
@example(field="min", token="3.4028235677973366e+38")  # halfway from the largest float32 to 2^128
@example(field="min", token="00.5")
@example(field="min", token="1_0")
@example(field="min", token="-Infinity")
@example(field="min", token="1.00000017881393432617187499")  # rounds twice
def test_no_spelling_of_a_number_is_read_differently(field: str, token: str) -> None:
    text = f"{field}: {token}"
    is_read = assert_agrees(TENSOR, pb.TidlTensorQuantParams, text)
    if field == "scale" and token == repr_of(token):
        assert is_read


def repr_of(token: str) -> str | None:
    """The token as Python prints the number it is; None when it is none or NaN."""
    try:
        value = float(token)
    except ValueError:
        return None
    return None if math.isnan(value) else repr(value)


@given(
    pieces=st.lists(
        st.sampled_from(
            [*"abxX0179\"'\\ntu äλ", "\\\\", "\\x", "\\x4", "\\xc3", "\\xa4", "\\n", "\\303", "\\4"]
        ),
        max_size=10,
    ),
    quote=st.sampled_from("\"'"),
)
@example(pieces=["\\x", "4", "1", "2"], quote='"')
@example(pieces=["\\\\", "λ"], quote='"')
@example(pieces=["\\4", "7", "7"], quote="'")
def test_no_string_literal_is_read_differently(pieces: list[str], quote: str) -> None:
    text = f"[tidlq.quantproto.tensor_name]: {quote}{''.join(pieces)}{quote}"
    assert_agrees(TENSOR, pb.TidlTensorQuantParams, text)


@given(binary=st.binary(max_size=40))
def test_arbitrary_binary_is_printed_as_the_library_does_or_not_at_all(binary: bytes) -> None:
    text = TENSOR.to_text(binary)
    if text is not None:
        assert text == printed(pb.TidlTensorQuantParams.FromString(binary))


def test_hostile_nesting_is_refused() -> None:
    assert NET.to_binary("layers {" * 1_000_000) is None
    assert NET.to_binary("[" * 1_000_000) is None


def test_a_schema_that_is_none_is_an_internal_error() -> None:
    with pytest.raises(InternalError, match="schema cannot be used"):
        _core.TextForm([b"\xff"], "a.B")
    with pytest.raises(InternalError, match=r"it has no message a\.B"):
        _core.TextForm(FILES, "a.B")
    with pytest.raises(InternalError, match=r"google\.protobuf\..* is of an unsupported kind"):
        _core.TextForm([any_pb2.DESCRIPTOR.serialized_pb], "google.protobuf.Any")
