"""Text, binary and JSON are told apart by extension, or by how a content begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidlq.errors import QuantProtoError
from tidlq.quantproto import (
    ProtoForm,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    form_of_path,
    format_quant_params,
    parse_quant_params,
)
from tidlq.quantproto.forms import form_of_content
from tidlq.spec import Range

SAVED = SavedRanges(
    (SavedLayer("ä", "TIDL_DataLayer", (SavedTensor("x", Range(-0.0, 0.1), 4, (1.5,) * 4),)),)
)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"num_layers: 1", ProtoForm.TEXT),
        (b"# comment\n", ProtoForm.TEXT),
        (b"  \n[tidlq.quantproto.provenance] { }", ProtoForm.TEXT),
        (b"", ProtoForm.TEXT),
        (b'\n {"num_layers": 1}', ProtoForm.JSON),
        (b"[1]", ProtoForm.JSON),
        (b"\x08\x01", ProtoForm.BINARY),
        (b'"\x00', ProtoForm.BINARY),
        (b"\x82\xb5\x18", ProtoForm.BINARY),
    ],
)
def test_a_content_is_of_the_form_that_begins_like_it(content: bytes, form: ProtoForm) -> None:
    assert form_of_content(content) is form


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.PBTXT", ProtoForm.TEXT), ("a.json", ProtoForm.JSON), ("a.b.bin", ProtoForm.BINARY)],
)
def test_a_file_is_of_the_form_of_its_extension(name: str, form: ProtoForm) -> None:
    assert form_of_path(Path(name)) is form


@pytest.mark.parametrize("form", ProtoForm)
def test_every_form_holds_the_same(form: ProtoForm) -> None:
    content = format_quant_params(SAVED, form=form)
    assert parse_quant_params(content, form, "it") == SAVED
    assert form_of_content(content) is form


def test_json_has_the_schemas_names_and_lists_of_numbers_on_one_line() -> None:
    text = format_quant_params(SAVED, form=ProtoForm.JSON).decode("ascii")
    assert '"layer_name": "\\u00e4"' in text
    assert '"value": [1.5, 1.5, 1.5, 1.5]' in text
    assert '"min": -0.0' in text
    assert '"[tidlq.quantproto.tensor_name]": "x"' in text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"num_layers": 1', "Expecting"),
        ("[]", "no layers"),
        ("3", "JSON"),
        ("null", "JSON|no layers"),
        ('{"num_layers": "x"}', "num_layers"),
        ('{"num_layers": 1e999}', "num_layers"),
        ('{"layers": [{"layer_name": "\\ud800"}]}', "it"),
        ('{"layers": [{"outputs": [{"min": 1e39}]}]}', "min"),
        ('{"layers": [{"outputs": [{"zero_point": [-1]}]}]}', "zero_point"),
        ('{"num_layers": 1, "num_layers": 2}', "twice|duplicated|multiple|Failed"),
        ("[" * 100_000, "it"),
        ('{"layers": ' * 5000, "it"),
        ('{"num_layers": ' + "9" * 5000 + "}", "it"),
        ('{"layers": {"layer_name": "a"}}', "layers"),
        ('{"layers": [null]}', "layers"),
    ],
)
def test_json_that_is_no_proto_is_one_error(text: str, fault: str) -> None:
    with pytest.raises(QuantProtoError, match=fault) as refused:
        parse_quant_params(text.encode(), ProtoForm.JSON, "it")
    assert "\n" not in str(refused.value)
