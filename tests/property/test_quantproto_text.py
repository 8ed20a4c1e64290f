"""Our text of a quantization proto is the protobuf library's text, read and written faster."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext
from tidlq.quantproto.text import format_text, parse_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
doubles = st.floats(allow_nan=False, allow_infinity=False)
floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
numbers = st.integers(0, 2**32 - 1)


def draw_message(data: st.DataObject, kind: Any, fields: dict[str, Any]) -> Any:
    """A message in which each field is absent or drawn."""
    message = kind()
    for name, values in fields.items():
        drawn = data.draw(st.none() | values, label=name)
        if drawn is None:
            continue
        if isinstance(drawn, list):
            place = message.Extensions[getattr(ext, name)] if hasattr(ext, name) else None
            target = getattr(message, name) if place is None else place
            if drawn:
                target.extend(drawn)
        elif hasattr(ext, name):
            message.Extensions[getattr(ext, name)] = drawn
        else:
            setattr(message, name, drawn)
    return message


def draw_tensor(data: st.DataObject) -> pb.TidlTensorQuantParams:
    tensor: pb.TidlTensorQuantParams = draw_message(
        data,
        pb.TidlTensorQuantParams,
        {
            "min": floats,
            "max": floats,
            "size": numbers,
            "element_type": numbers,
            "scale": st.lists(doubles, max_size=3),
            "zero_point": st.lists(numbers, max_size=3),
            "value": st.lists(doubles, max_size=3),
            "tensor_name": texts,
            "channel_min": st.lists(floats, max_size=3),
            "channel_max": st.lists(floats, max_size=3),
            "range_origin": st.sampled_from([0, 1, 2, 3]),
        },
    )
    return tensor


def draw_net(data: st.DataObject) -> pb.TIDLNetQuantParams:
    net: pb.TIDLNetQuantParams = draw_message(
        data,
        pb.TIDLNetQuantParams,
        {
            "num_layers": st.integers(-(2**31), 2**31 - 1),
            "quant_type": st.sampled_from([1, 2]),
            "calib_type": st.sampled_from([1, 2]),
        },
    )
    for _ in range(data.draw(st.integers(0, 2), label="layers")):
        layer = draw_message(
            data,
            pb.TidlLayerQuantParams,
            {
                "layer_name": texts,
                "layer_type": texts,
                "bit_depth": numbers,
                "parameter_bit_depth": numbers,
            },
        )
        for role in data.draw(st.lists(st.sampled_from(["outputs", "weights", "bias", "slope"]))):
            getattr(layer, role).append(draw_tensor(data))
        net.layers.append(layer)
    if data.draw(st.booleans()):
        provenance = net.Extensions[ext.provenance]
        provenance.SetInParent()
        provenance.frames = data.draw(numbers)
        provenance.options.add(key=data.draw(texts), value=data.draw(texts))
    return net


@given(data=st.data())
def test_the_library_reads_what_we_write(data: st.DataObject) -> None:
    net = draw_net(data)
    text = format_text(net)
    assert text.isascii()
    assert text_format.Parse(text, pb.TIDLNetQuantParams()) == net
    assert parse_text(text) == net


@given(data=st.data(), short=st.booleans(), utf8=st.booleans(), line_end=st.sampled_from("\n\r"))
def test_we_read_what_the_library_writes(
    data: st.DataObject, short: bool, utf8: bool, line_end: str
) -> None:
    net = draw_net(data)
    text = text_format.MessageToString(net, as_utf8=utf8, use_short_repeated_primitives=short)
    if line_end == "\r":
        text = text.replace("\n", "\r\n")
    assert parse_text(text) == net


ALTERATIONS = st.sampled_from(
    [*"\n\r\t #{}[]:;,\"'\\.-+eE0179_naif", "layers {", "min: 1", "inf", "nan", "0x1", "010", "1f"]
)


@given(data=st.data())
def test_altered_text_is_read_or_refused_as_the_library_does(data: st.DataObject) -> None:
    text = format_text(draw_net(data))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(text)))
        dropped = data.draw(st.integers(0, 2))
        text = text[:position] + data.draw(ALTERATIONS) + text[position + dropped :]
    expected = pb.TIDLNetQuantParams()
    line = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            text_format.Parse(text, expected)
    except text_format.ParseError as error:
        line = error.GetLine()
    if line is None:
        assert str(parse_text(text)) == str(expected)
        return
    with pytest.raises(text_format.ParseError) as refused:
        parse_text(text)
    assert refused.value.GetLine() == line
