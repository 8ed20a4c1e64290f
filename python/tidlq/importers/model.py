"""The front door for models: ONNX or TFLite, told apart by what is in the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import onnx

from tidlq.graph.model import Graph
from tidlq.importers.model_file import TFLITE_IDENTIFIER, begins_like_tflite
from tidlq.importers.onnx_model import import_onnx

_NO_SHAPES: Mapping[str, Sequence[int]] = MappingProxyType({})


def import_model(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int]] = _NO_SHAPES,
    pre_batchnorm_fold: bool = True,
) -> Graph:
    """Reads an ONNX or TFLite model and brings it into canonical form.

    The file's first bytes decide, whatever its name. See `import_onnx` and `import_tflite`.

    Args:
        source: a path, the file's bytes, or an ONNX message.
        input_shapes: sizes of inputs whose shape is not fixed, by input name. A free leading axis
            need not be given: it becomes 1.
        pre_batchnorm_fold: fold a batch-norm, or mean and scale, that stands between an input and
            the first convolution.

    Raises:
        ModelError: The model cannot be read, is not valid, or has a shape that is not known.
    """
    if not isinstance(source, onnx.ModelProto) and is_tflite(source):
        # Its readers are only loaded for those who need them.
        from tidlq.importers.tflite.model import import_tflite

        return import_tflite(
            source, input_shapes=input_shapes, pre_batchnorm_fold=pre_batchnorm_fold
        )
    return import_onnx(source, input_shapes=input_shapes, pre_batchnorm_fold=pre_batchnorm_fold)


def is_tflite(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> bool:
    """Whether a model is a TFLite one, by its first bytes."""
    if isinstance(source, onnx.ModelProto):
        return False
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[4:8]) == TFLITE_IDENTIFIER
    return begins_like_tflite(Path(source))
