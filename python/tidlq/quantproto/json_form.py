"""JSON form of a quantization proto: protobuf's JSON mapping with the schema's own field names.

Numbers are the shortest decimals that read back as the same float or double. Extensions have their
full names in brackets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format

from tidlq.quantproto import quant_params_pb2 as pb


def format_json(net: pb.TIDLNetQuantParams) -> str:
    """Returns the JSON of a message: ASCII, one field on a line, lists of numbers on one line."""
    # A copy: what is present and empty in an extension would be printed.
    document = json_format.MessageToDict(
        pb.TIDLNetQuantParams.FromString(net.SerializeToString()), preserving_proto_field_name=True
    )
    return "".join(_pieces(document, "\n")) + "\n"


def parse_json(text: str) -> pb.TIDLNetQuantParams:
    """Returns the message of a JSON document.

    Raises:
        json_format.ParseError: The document is not one of the schema.
        ValueError: It holds numbers or strings that protobuf cannot.
    """
    return json_format.Parse(text, pb.TIDLNetQuantParams())


def _pieces(value: Any, line: str) -> Iterator[str]:
    """A JSON value; `line` begins a line at the depth of the value."""
    if isinstance(value, Mapping) and value:
        yield "{"
        for position, (key, inner) in enumerate(value.items()):
            yield f"{',' if position else ''}{line} {json.dumps(key)}: "
            yield from _pieces(inner, f"{line} ")
        yield f"{line}}}"
    elif isinstance(value, list) and value and isinstance(value[0], (Mapping, list)):
        yield "["
        for position, inner in enumerate(value):
            yield f"{',' if position else ''}{line} "
            yield from _pieces(inner, f"{line} ")
        yield f"{line}]"
    else:
        yield json.dumps(value)
