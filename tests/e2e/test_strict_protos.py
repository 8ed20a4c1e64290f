"""Strict protos hold nothing that a reader of the published schema does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

import tidlq
from tidlq import demo_data
from tidlq.quantproto import ProtoForm, format_quant_params, parse_quant_params

FIELD = descriptor_pb2.FieldDescriptorProto
ENUMS = {
    "TidlQuantType": ("SYMMETRIC", "ASYMMETRIC"),
    "TidlCalibType": ("PERTENSOR", "PERCHANNEL"),
}
LAYER, TENSOR = ".TidlLayerQuantParams", ".TidlTensorQuantParams"
MESSAGES: dict[str, list[tuple[str, int, Any, bool]]] = {
    "TIDLNetQuantParams": [
        ("num_layers", 1, FIELD.TYPE_INT32, False),
        ("quant_type", 2, ".TidlQuantType", False),
        ("calib_type", 3, ".TidlCalibType", False),
        ("layers", 4, LAYER, True),
    ],
    "TidlLayerQuantParams": [
        ("layer_name", 1, FIELD.TYPE_STRING, False),
        ("layer_type", 2, FIELD.TYPE_STRING, False),
        ("bit_depth", 3, FIELD.TYPE_UINT32, False),
        *((name, number, TENSOR, True) for number, name in enumerate(
            ("outputs", "weights", "bias", "slope"), start=4)),
    ],
    "TidlTensorQuantParams": [
        ("min", 1, FIELD.TYPE_FLOAT, False),
        ("max", 2, FIELD.TYPE_FLOAT, False),
        ("size", 3, FIELD.TYPE_UINT32, False),
        ("element_type", 4, FIELD.TYPE_UINT32, False),
        ("scale", 5, FIELD.TYPE_DOUBLE, True),
        ("zero_point", 6, FIELD.TYPE_UINT32, True),
        ("value", 7, FIELD.TYPE_DOUBLE, True),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def published() -> type[Message]:
    """The file's message with the published fields and without extensions."""
    schema = descriptor_pb2.FileDescriptorProto(name="published.proto", syntax="proto2")
    for name, words in ENUMS.items():
        enum = schema.enum_type.add(name=name)
        for number, word in enumerate(words, start=1):
            enum.value.add(name=word, number=number)
    for name, fields in MESSAGES.items():
        message = schema.message_type.add(name=name)
        for field, number, kind, is_repeated in fields:
            added = message.field.add(name=field, number=number)
            added.label = FIELD.LABEL_REPEATED if is_repeated else FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type_name = kind
                added.type = FIELD.TYPE_ENUM if kind[1:] in ENUMS else FIELD.TYPE_MESSAGE
            else:
                added.type = kind
            added.options.packed = number >= 5 and name == "TidlTensorQuantParams"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    found: type[Message] = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("TIDLNetQuantParams")
    )
    return found


def unknown_fields(message: Any) -> int:
    """Fields that the schema does not have, in a message and all inside it."""
    inner = [
        unknown_fields(item)
        for field, value in message.ListFields()
        if field.message_type is not None
        for item in value
    ]
    return len(UnknownFieldSet(message)) + sum(inner)


OPTIONS = [
    {"quantization_scale_type": 0},
    {"quantization_scale_type": 1, "tidlq:cross_layer_equalization": "on"},
    {"quantization_scale_type": 4},
    {"tensor_bits": 16},
    {"params_16bit_names_list": "model/dense/MatMul", "channel_wise_quantization": 1},
    {"output_feature_16bit_names_list": "model/dense/MatMul", "accuracy_level": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_a_strict_proto_has_no_unknown_field(
    published: type[Message], options: dict[str, object], tmp_path: Path
) -> None:
    frames = [frame for frame, _ in zip(demo_data.calibration_frames(), range(4), strict=False)]
    path = tmp_path / "strict.prototxt"
    tidlq.compile(
        demo_data.model_path(),
        frames,
        {"accuracy_level": 0, **options, "quant_params_proto_path": str(path)},
        tidl_strict=True,
    )
    text = path.read_text(encoding="ascii")
    message = text_format.Parse(text, published())
    assert unknown_fields(message) == 0
    saved = parse_quant_params(text.encode(), ProtoForm.TEXT, "strict")
    binary = format_quant_params(saved, form=ProtoForm.BINARY, strict=True)
    other = published()
    other.ParseFromString(binary)
    assert unknown_fields(other) == 0
    assert other == message


def test_the_check_finds_what_is_not_published(published: type[Message], tmp_path: Path) -> None:
    frames = [next(demo_data.calibration_frames())]
    path = tmp_path / "full.pb"
    options = {"accuracy_level": 0, "quant_params_proto_path": str(path)}
    tidlq.compile(demo_data.model_path(), frames, options)
    message = published()
    message.ParseFromString(path.read_bytes())
    assert unknown_fields(message) > 0
