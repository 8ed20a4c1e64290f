"""The TFLite door: a file, or bytes, becomes the canonical float Graph."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.importers.canonical import canonicalize
from tidlq.importers.model_file import read_model_file
from tidlq.importers.onnx_shapes import interface_shapes
from tidlq.importers.onnx_weights import refuse_non_finite
from tidlq.importers.tflite.conversion import convert
from tidlq.importers.tflite.reading import read_tflite
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.stated import collect_stated
from tidlq.spec import Requantization

_NO_SHAPES: Mapping[str, Sequence[int]] = MappingProxyType({})
_BYTES_LABEL = "the given bytes"


def import_tflite(
    source: str | os.PathLike[str] | bytes,
    *,
    input_shapes: Mapping[str, Sequence[int]] = _NO_SHAPES,
    pre_batchnorm_fold: bool = True,
) -> Graph:
    """Reads a TFLite model and brings it into canonical form.

    The Graph consists of ONNX operators. Inputs and outputs keep TFLite's names, order, types and
    layout; between them, feature maps of convolutions have their channels first. Tensors keep the
    file's names. What the file says about quantization is in `Graph.stated`; weights are the real
    numbers that the file's integers stand for.

    Args:
        source: a path, or the file's bytes.
        input_shapes: sizes of inputs that the file leaves free, by input name. A free leading axis
            need not be given: it becomes 1.
        pre_batchnorm_fold: fold a batch-norm, or mean and scale, that stands between an input and
            the first convolution.

    Raises:
        ModelError: The file is damaged, or holds what cannot be imported.
    """
    data, label, name = _read(source)
    try:
        converted = convert(read_tflite(data), input_shapes)
        model = converted.model
        refuse_non_finite(model.graph)
        canonicalize(model, pre_batchnorm_fold=pre_batchnorm_fold)
        refuse_non_finite(model.graph)
        InferShapes()(model)
    except ModelError as error:
        raise ModelError(f"{label}: {error}") from error.__cause__
    free_batch, shapes = interface_shapes(model.graph, converted.batch)
    stated = collect_stated(model.graph, Requantization.TWICE_ROUNDED)
    return Graph(
        model, name or model.graph.name or "model", free_batch, MappingProxyType(shapes), stated
    )


def _read(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str, str]:
    """Bytes, how messages call them, and a short name."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), _BYTES_LABEL, ""
    path = Path(source)
    data = read_model_file(path, "larger TFLite files cannot be read")
    return data, f"{path}", path.stem
