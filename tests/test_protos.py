"""The committed protobuf modules are what the schemas generate."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "tidlq_proto_generate", repository / "proto" / "generate.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_schema_has_a_module(generator: ModuleType, repository: Path) -> None:
    schemas = sorted(path.name for path in (repository / "proto").glob("*.proto"))
    assert schemas == sorted(generator.PACKAGES)


def test_committed_modules_equal_generated_ones(
    generator: ModuleType, repository: Path, tmp_path: Path
) -> None:
    for path in generator.generate(tmp_path):
        committed = repository / "python" / path.relative_to(tmp_path)
        assert committed.read_bytes() == path.read_bytes(), (
            f"{committed.relative_to(repository)} is stale: run python proto/generate.py"
        )


def test_quant_params_has_the_published_fields() -> None:
    from tidlq.quantproto import quant_params_pb2 as pb

    field = descriptor_pb2.FieldDescriptorProto
    tensor = "TidlTensorQuantParams"
    published = {
        "TIDLNetQuantParams": [
            ("num_layers", 1, field.TYPE_INT32, False),
            ("quant_type", 2, field.TYPE_ENUM, False),
            ("calib_type", 3, field.TYPE_ENUM, False),
            ("layers", 4, field.TYPE_MESSAGE, True),
        ],
        "TidlLayerQuantParams": [
            ("layer_name", 1, field.TYPE_STRING, False),
            ("layer_type", 2, field.TYPE_STRING, False),
            ("bit_depth", 3, field.TYPE_UINT32, False),
            ("outputs", 4, field.TYPE_MESSAGE, True),
            ("weights", 5, field.TYPE_MESSAGE, True),
            ("bias", 6, field.TYPE_MESSAGE, True),
            ("slope", 7, field.TYPE_MESSAGE, True),
        ],
        tensor: [
            ("min", 1, field.TYPE_FLOAT, False),
            ("max", 2, field.TYPE_FLOAT, False),
            ("size", 3, field.TYPE_UINT32, False),
            ("element_type", 4, field.TYPE_UINT32, False),
            ("scale", 5, field.TYPE_DOUBLE, True),
            ("zero_point", 6, field.TYPE_UINT32, True),
            ("value", 7, field.TYPE_DOUBLE, True),
        ],
    }
    schema = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(schema)
    found = {
        message.name: [
            (entry.name, entry.number, entry.type, entry.label == field.LABEL_REPEATED)
            for entry in message.field
        ]
        for message in schema.message_type
    }
    assert found == published
    packed = [entry.name for entry in schema.message_type[-1].field if entry.options.packed]
    assert packed == ["scale", "zero_point", "value"]
    values = {enum.name: {v.name: v.number for v in enum.value} for enum in schema.enum_type}
    assert values == {
        "TidlQuantType": {"SYMMETRIC": 1, "ASYMMETRIC": 2},
        "TidlCalibType": {"PERTENSOR": 1, "PERCHANNEL": 2},
    }


def test_quant_params_has_the_published_defaults() -> None:
    from tidlq.quantproto import quant_params_pb2 as pb

    net, layer, tensor = (
        pb.TIDLNetQuantParams(),
        pb.TidlLayerQuantParams(),
        pb.TidlTensorQuantParams(),
    )
    assert (net.quant_type, net.calib_type) == (pb.SYMMETRIC, pb.PERTENSOR)
    assert layer.bit_depth == 8
    assert tensor.min == -3.4028234663852886e38
    assert tensor.max == 3.4028234663852886e38


def test_modules_import_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from tidlq.lowering import network_pb2
        from tidlq.quantproto import quant_params_pb2, quant_params_tidlq_pb2
    for module in (network_pb2, quant_params_pb2, quant_params_tidlq_pb2):
        assert module.DESCRIPTOR.name.startswith("tidlq/")
