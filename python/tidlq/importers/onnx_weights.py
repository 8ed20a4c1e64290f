"""Constants of an ONNX model as arrays: external files, sizes, and values that are not numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from tidlq.errors import ModelError

# Operator -> indices of the inputs that are its parameters.
_PARAMETERS = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DeformConv": (1, 3),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
}


def check_constants(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Checks that the data of every constant of the main graph are there and fit its shape.

    Raises:
        ModelError: Names the tensor, and the file where data are external.
    """
    known = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
    for tensor in proto.graph.initializer:
        if tensor.data_type not in known:
            raise ModelError(
                f"constant {tensor.name!r} has element type {tensor.data_type}, which "
                "ONNX does not define."
            )
        if any(size < 0 for size in tensor.dims):
            raise ModelError(
                f"constant {tensor.name!r} has shape {list(tensor.dims)}; sizes cannot be negative."
            )
        needed = _needed_bytes(tensor)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_external(tensor, needed, folder)
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != needed:
            raise ModelError(
                f"constant {tensor.name!r} of shape {list(tensor.dims)} needs {needed} "
                f"bytes and has {len(tensor.raw_data)}."
            )


def _needed_bytes(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    return -(-count * ir.DataType(tensor.data_type).bitwidth // 8)


def _check_external(tensor: onnx.TensorProto, needed: int, folder: Path | None) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(
            f"constant {tensor.name!r} is in the external file {location!r}, which needs "
            "the model's path to be found; give the model as a path."
        )
    place = Path(location)
    if not location or place.is_absolute() or ".." in place.parts:
        raise ModelError(
            f"constant {tensor.name!r} names the external file {location!r}; it must lie "
            "in the model's folder."
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", needed))
    except ValueError as error:
        raise ModelError(
            f"constant {tensor.name!r} states its place in {location!r} by something "
            "other than numbers."
        ) from error
    path = folder / place
    if not path.is_file():
        raise ModelError(f"{path} does not exist; it holds constant {tensor.name!r}.")
    size = path.stat().st_size
    if offset < 0 or length != needed or offset + length > size:
        raise ModelError(
            f"{path} has {size} bytes; constant {tensor.name!r} needs {needed} from byte "
            f"{offset} on."
        )


def load_constants(graph: ir.Graph) -> None:
    """Turns constants into arrays without copying: views of messages and of mapped files.

    Raises:
        ModelError: The data of a constant do not fit its shape.
    """
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None or isinstance(tensor, ir.Tensor | ir.StringTensor):
            continue
        try:
            array = tensor.numpy()
            value.const_value = ir.Tensor(array, dtype=tensor.dtype, name=name)
        except (ValueError, TypeError, AssertionError, OSError, OverflowError) as error:
            raise ModelError(
                f"the data of constant {name!r} do not fit its shape {list(tensor.shape)}."
            ) from error
        value.shape = value.const_value.shape
        value.type = ir.TensorType(tensor.dtype)


def refuse_non_finite(graph: ir.Graph) -> None:
    """Refuses a NaN or Inf in a weight, bias, slope or batch-norm parameter.

    Raises:
        ModelError: Names the tensor, the node and the first bad value's place.
    """
    seen: set[ir.Value] = set()
    for node in graph:
        for index in _PARAMETERS.get(node.op_type, ()) if node.domain == "" else ():
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is None or value in seen or value.const_value is None:
                continue
            seen.add(value)
            array = value.const_value.numpy()
            if array.dtype.kind != "f" or not array.size:
                continue
            if np.isfinite(array).all():
                continue
            flat = np.flatnonzero(~np.isfinite(array))
            place = tuple(int(i) for i in np.unravel_index(flat[0], array.shape))
            raise ModelError(
                f"constant {value.name!r} of node {node.name!r} ({node.op_type}) holds "
                f"{flat.size} values that are NaN or Inf, the first at {list(place)}; parameters "
                "must be finite."
            )
