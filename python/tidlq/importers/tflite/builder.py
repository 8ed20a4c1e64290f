"""An ONNX graph under construction: unique names, and the type and shape of every value at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.importers.tflite.computed_constants import ComputedConstants
from tidlq.importers.tflite.names import UniqueNames
from tidlq.passes.node_editing import add_constant
from tidlq.passes.node_reading import constant_array, sizes_product, static_shape
from tidlq.passes.stated import state_feature, stated_feature

LEAST_OPSET = 18
# Definitions are taken from here; what is written is valid in the opset that the model ends up in.
_DEFINITIONS = 21
# Operators that are younger than the least opset.
_SINCE: Mapping[str, int] = {"Gelu": 20}
_WIDE_TYPES = frozenset({ir.DataType.INT16, ir.DataType.UINT16})
_SINCE_WIDE: Mapping[str, int] = {"QuantizeLinear": 21, "DequantizeLinear": 21}

# They rearrange elements, so the result is quantized as the first input is.
_MOVING = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Gather",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
# Elements. A shape, a list of axes or of pads has fewer.
_LARGEST_HINT = 256
_LONGEST_REASON = 200
# What ONNX Runtime's kernels count with.
_LARGEST_TENSOR = (1 << 31) - 1

Attribute = int | float | str | Sequence[int] | Sequence[float]


class GraphBuilder:
    """Adds nodes and constants; a value's shape is known as soon as its node stands.

    Args:
        name: of the graph.
        kept_names: tensor names that are given out by `claim_name` alone.
    """

    def __init__(self, name: str, kept_names: Iterable[str]) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports={"": LEAST_OPSET}, name=name)
        self._kept_names = set(kept_names)
        self._tensor_names = UniqueNames()
        self._tensor_names.reserve(self._kept_names)
        self._node_names = UniqueNames()
        self._computed = ComputedConstants()

    def take_name(self, base: str) -> str:
        """A tensor name that is not in use: `base`, or `base_1`, `base_2` ..."""
        return self._tensor_names.take(base)

    def claim_name(self, name: str, suffix: str) -> str:
        """A name that was kept, for the first who asks; with a suffix for all others."""
        if name not in self._kept_names:
            return self.take_name(f"{name}_{suffix}")
        self._kept_names.remove(name)
        return name

    def add_input(self, name: str, dtype: np.dtype[np.generic], shape: Sequence[int]) -> ir.Value:
        """An input of the network, under a name that was taken or claimed."""
        kind = ir.TensorType(ir.DataType.from_numpy(dtype))
        value = ir.Value(name=name, shape=ir.Shape(shape), type=kind)
        self.graph.inputs.append(value)
        return value

    def add_constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        """A constant, under a name that was taken or claimed."""
        return add_constant(self.graph, name, np.ascontiguousarray(array).reshape(array.shape))

    def add_node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        names: Sequence[str],
        attributes: Mapping[str, Attribute],
        node_name: str,
    ) -> tuple[ir.Value, ...]:
        """Adds a node of the default domain.

        Args:
            op_type: ONNX operator.
            inputs: None where one is absent.
            names: of the outputs; made unique.
            attributes: by name.
            node_name: made unique.

        Raises:
            ModelError: The operator does not fit its inputs, or a result is too large.
        """
        outputs = [ir.Value(name=self.take_name(name)) for name in names]
        node = ir.node(
            op_type,
            inputs,
            dict(attributes),
            outputs=outputs,
            name=self._node_names.take(node_name),
        )
        self._infer(node)
        self.graph.append(node)
        self._require_opset(node)
        if op_type in _MOVING and (quant := stated_feature(inputs[0])):
            for output in outputs:
                state_feature(output, quant)
        self._computed.note(node)
        return tuple(outputs)

    def _require_opset(self, node: ir.Node) -> None:
        needed = _SINCE.get(node.op_type, LEAST_OPSET)
        if any(value.dtype in _WIDE_TYPES for value in (*node.inputs, *node.outputs) if value):
            needed = max(needed, _SINCE_WIDE.get(node.op_type, LEAST_OPSET))
        imports = self.graph.opset_imports
        imports[""] = max(imports[""], needed)

    def _infer(self, node: ir.Node) -> None:
        """Sets types and shapes of a node's outputs."""
        read = {value.name or "": value for value in node.inputs if value is not None}
        try:
            found = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, _DEFINITIONS, ""),
                ir.serde.serialize_node(node),
                {name: _type_proto(value) for name, value in read.items()},
                {name: hint for name, value in read.items() if (hint := _hint(value))},
                opset_imports=[onnx.helper.make_opsetid("", _DEFINITIONS)],
            )
        except (
            onnx.shape_inference.InferenceError,
            onnx.checker.ValidationError,
            RuntimeError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".")
            raise ModelError(f"does not fit its inputs: {reason}.") from error
        for value in node.outputs:
            proto = found.get(value.name or "")
            if proto is None:
                continue
            value.type = ir.serde.deserialize_type_proto_for_type(proto)
            value.shape = ir.serde.deserialize_type_proto_for_shape(proto)
            _check_size(value)

    def rename(self, value: ir.Value, name: str) -> None:
        """Gives a value a name that was taken or claimed; its own is free again."""
        self._tensor_names.release(value.name or "")
        value.name = name

    def evaluate(self, value: ir.Value) -> NDArray[np.generic] | None:
        """The elements of a value that follows from constants alone; None of any other.

        Raises:
            ModelError: It cannot be computed.
        """
        return self._computed.evaluate(value, self.graph.opset_imports[""])


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    shape = (
        None if value.shape is None else [d if isinstance(d, int) else None for d in value.shape]
    )
    kind = 0 if value.dtype is None else int(value.dtype)
    return onnx.helper.make_tensor_type_proto(kind, shape)


def _hint(value: ir.Value) -> onnx.TensorProto | None:
    """The elements of a small constant, from which shapes may follow."""
    array = constant_array(value)
    if array is None or array.size > _LARGEST_HINT:
        return None
    return onnx.numpy_helper.from_array(array, value.name)


def _check_size(value: ir.Value) -> None:
    shape = static_shape(value)
    if shape is None:
        return
    spelled = "x".join(map(str, shape))
    if min(shape, default=1) < 0:
        raise ModelError(f"would have an output of shape {spelled}.")
    if sizes_product(shape) > _LARGEST_TENSOR:
        raise ModelError(
            f"would have an output of shape {spelled}; at most {_LARGEST_TENSOR} elements are "
            "supported."
        )
