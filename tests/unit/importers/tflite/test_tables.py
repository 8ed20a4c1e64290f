"""The tables that the verifier knows are those of the `tflite` package's generated readers."""

from __future__ import annotations

import struct

import flatbuffers
import pytest
import tflite

from tidlq.importers.tflite.operators.registry import IMPORTERS
from tidlq.importers.tflite.reading import default_options
from tidlq.importers.tflite.tables import (
    OPTION_TABLES,
    TABLES,
    Child,
    Children,
    Choice,
    Field,
    Number,
    Numbers,
    Text,
)

FIELDS = [(table, field) for table, fields in TABLES.items() for field in fields]


def slots_of(table: str, field: Field) -> list[int]:
    """Slots of a table that the package wrote with this field alone."""
    builder = flatbuffers.Builder(64)
    value: object = 1
    if not isinstance(field.kind, Number):
        value = builder.CreateString("text")
    module = getattr(tflite, f"{table}Start")
    module(builder)
    getattr(tflite, f"{table}Add{field.name}")(builder, value)
    builder.Finish(getattr(tflite, f"{table}End")(builder))
    data = bytes(builder.Output())
    start = struct.unpack_from("<I", data)[0]
    vtable = start - struct.unpack_from("<i", data, start)[0]
    count = (struct.unpack_from("<H", data, vtable)[0] - 4) // 2
    found = struct.unpack_from(f"<{count}H", data, vtable + 4)
    return [slot for slot, place in enumerate(found) if place]


def needs_other_value(table: str, field: Field) -> bool:
    """Whether 1 is the schema's default, which is not written."""
    return table in OPTION_TABLES.values() and default_options(table)[field.name] == 1


@pytest.mark.parametrize(("table", "field"), FIELDS, ids=lambda v: getattr(v, "name", v))
def test_a_field_stands_in_its_slot(table: str, field: Field) -> None:
    if (table, field.name) == ("OperatorCode", "Version") or needs_other_value(table, field):
        pytest.skip("the value of the test is the schema's default")
    assert slots_of(table, field) == [field.slot]


@pytest.mark.parametrize(("table", "field"), FIELDS, ids=lambda v: getattr(v, "name", v))
def test_a_field_has_an_accessor_of_its_kind(table: str, field: Field) -> None:
    reader = getattr(tflite, table)
    assert callable(getattr(reader, field.name))
    assert hasattr(reader, f"{field.name}Length") == isinstance(field.kind, Numbers | Children)
    if isinstance(field.kind, Child | Children):
        assert field.kind.table in TABLES


@pytest.mark.parametrize("table", OPTION_TABLES.values())
def test_options_hold_numbers_and_lists_alone(table: str) -> None:
    assert all(isinstance(field.kind, Number | Numbers) for field in TABLES[table])


def test_the_union_of_options_is_the_package_s() -> None:
    assert {name: number for number, name in OPTION_TABLES.items()} == {
        name: getattr(tflite.BuiltinOptions, name) for name in OPTION_TABLES.values()
    }
    assert all(name in TABLES for name in OPTION_TABLES.values())


def test_every_importer_s_options_are_read() -> None:
    used = {importer.options for importer in IMPORTERS.values() if importer.options}
    assert used <= set(OPTION_TABLES.values())


def test_defaults_are_the_schema_s() -> None:
    assert default_options("Conv2DOptions") == {
        "Padding": 0,
        "StrideW": 0,
        "StrideH": 0,
        "FusedActivationFunction": 0,
        "DilationWFactor": 1,
        "DilationHFactor": 1,
    }
    assert default_options("ReshapeOptions") == {"NewShape": ()}


def test_every_kind_of_field_occurs() -> None:
    kinds = {type(field.kind) for _, field in FIELDS}
    assert kinds == {Number, Numbers, Text, Child, Children, Choice}
