"""Reading an ONNX file, or bytes, into its message; faults of the file itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message

from tidlq.errors import ModelError
from tidlq.importers.model_file import TFLITE_IDENTIFIER, read_model_file

# Field 1 (the format version), as a varint: how serializers begin an ONNX model.
_FIRST_BYTE = 0x08


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX message and where it came from.

    Attributes:
        proto: the message, weights in external files not yet read.
        label: how messages call it: the path, or 'the given bytes'.
        name: short name for reports and files.
        folder: where external data files are looked for, if anywhere.
    """

    proto: onnx.ModelProto
    label: str
    name: str
    folder: Path | None = None


def read_onnx(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> OnnxSource:
    """Reads a model from a path, from bytes or from a message.

    Raises:
        ModelError: There is no such file, or it is not a whole ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return OnnxSource(source, "the given model", source.graph.name or "model")
    if isinstance(source, (bytes, bytearray, memoryview)):
        proto = _parse(bytes(source), "the given bytes")
        return OnnxSource(proto, "the given bytes", proto.graph.name or "model")
    path = Path(source)
    label = f"{path}"
    proto = _parse(read_model_file(path, "save the model with external data"), label)
    return OnnxSource(proto, label, path.stem, path.parent)


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{label} is empty; a model is needed.")
    if data[4:8] == TFLITE_IDENTIFIER:
        raise ModelError(f"{label} is a TFLite model; an ONNX model is needed.")
    try:
        proto = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        if data[0] == _FIRST_BYTE:
            raise ModelError(
                f"{label} is truncated or damaged: it begins like an ONNX model, but its "
                f"{len(data)} bytes do not decode."
            ) from error
        raise ModelError(f"{label} is neither an ONNX nor a TFLite model.") from error
    if not proto.HasField("graph"):
        reason = (
            "holds no graph" if data[0] == _FIRST_BYTE else "is neither an ONNX nor a TFLite model"
        )
        raise ModelError(f"{label} {reason}; it may be truncated or of another format.")
    if not _is_text_valid(proto):
        raise ModelError(f"{label} is damaged: a name in it is not UTF-8 text.")
    return proto


def _is_text_valid(message: Message) -> bool:
    """Whether all names are text; protobuf hands out bytes where they are not."""
    if isinstance(message, onnx.TensorProto):
        # Elements are left alone: they may be large.
        entries = [text for entry in message.external_data for text in (entry.key, entry.value)]
        return all(isinstance(text, str) for text in (message.name, *entries))
    for field, value in message.ListFields():
        if isinstance(value, str | int | float):
            continue
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_STRING and not all(isinstance(text, str) for text in values):
            return False
        if field.type == field.TYPE_MESSAGE and not all(map(_is_text_valid, values)):
            return False
    return True
