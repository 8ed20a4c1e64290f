"""Text form of a quantization proto.

The protobuf library walks a text token by token in Python; with it, reading saved ranges would take
longer than all the rest of a compilation. The native module reads and prints what is common in
files; all else, errors included, is left to the library.
"""

from __future__ import annotations

import warnings

from google.protobuf import text_format

from tidlq import _core
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext

_FORM = _core.TextForm(
    [pb.DESCRIPTOR.serialized_pb, ext.DESCRIPTOR.serialized_pb],
    pb.TIDLNetQuantParams.DESCRIPTOR.full_name,
)


def format_text(net: pb.TIDLNetQuantParams) -> str:
    """Returns the text of a message: ASCII, one field on a line, repeated numbers as lists."""
    binary = net.SerializeToString()
    text = _FORM.to_text(binary)
    if text is not None:
        return text
    # A copy: the library cannot print an extension that is present and empty.
    net = pb.TIDLNetQuantParams.FromString(binary)
    return text_format.MessageToString(net, as_utf8=False, use_short_repeated_primitives=True)


def parse_text(text: str) -> pb.TIDLNetQuantParams:
    """Returns the message of a text.

    Raises:
        text_format.ParseError: The text is not one of the schema; with line and column.
    """
    binary = _FORM.to_binary(text)
    if binary is not None:
        return pb.TIDLNetQuantParams.FromString(binary)
    net = pb.TIDLNetQuantParams()
    with warnings.catch_warnings():
        # About escapes in strings, which the library decodes with Python's own codec.
        warnings.simplefilter("ignore", DeprecationWarning)
        text_format.Parse(text, net)
    return net
