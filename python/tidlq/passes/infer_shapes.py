"""Shape inference.

What: fills in dtype and shape of every tensor, with onnx's inference and its propagation of shape
    arithmetic. Weights stay out of the message that crosses into the inference.
When: after the shapes of the inputs are fixed, and again whenever constants were folded.
Before -> After: `y = Conv(x, w)` with y unknown -> y float32 [1, 8, 14, 14].
Numerics: none.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_ir as ir

from tidlq.errors import ModelError
from tidlq.passes.node_reading import is_constant, sizes_product, static_shape

# Elements. A shape vector has fewer; most weights have more.
_LARGEST_SHAPE_CONSTANT = 256


def weightless_proto(model: ir.Model, *, hints: bool = False) -> onnx.ModelProto:
    """The model as a message in which large constants are inputs of their dtype and shape.

    Args:
        model: the model; left as it is.
        hints: also state the static shapes that are already known of tensors inside.
    """
    graph = onnx.GraphProto(name=model.graph.name or "graph")
    for value in model.graph.inputs:
        graph.input.append(ir.serde.serialize_value(value))
    fed = {value.name for value in model.graph.inputs}
    for name, value in model.graph.initializers.items():
        if name in fed or value.const_value is None:
            continue
        tensor = value.const_value
        if tensor.dtype != ir.DataType.STRING and tensor.size <= _LARGEST_SHAPE_CONSTANT:
            graph.initializer.add(
                name=name,
                data_type=int(tensor.dtype),
                dims=tensor.shape.numpy(),
                raw_data=tensor.tobytes(),
            )
        else:
            _declare(graph, name, tensor)
    graph.output.extend(ir.serde.serialize_value(value) for value in model.graph.outputs)
    outputs = set(model.graph.outputs)
    for node in model.graph:
        graph.node.append(ir.serde.serialize_node(node))
        if not hints and node.domain == "":
            continue
        for value in node.outputs:
            if value not in outputs and value.type is not None and static_shape(value) is not None:
                graph.value_info.append(ir.serde.serialize_value(value))
    proto = onnx.ModelProto(ir_version=max(model.ir_version, 4), graph=graph)
    for domain, version in model.graph.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    return proto


def _declare(graph: onnx.GraphProto, name: str, tensor: ir.TensorProtocol) -> None:
    """Adds an input of a constant's dtype and shape."""
    declared = graph.input.add(name=name).type.tensor_type
    declared.elem_type = int(tensor.dtype)
    declared.shape.SetInParent()
    for size in tensor.shape.numpy():
        declared.shape.dim.add(dim_value=size)


@dataclass
class InferredShapes(ir.passes.PassResult):
    """The result of shape inference.

    Attributes:
        message: the weightless message with all that was inferred.
    """

    message: onnx.ModelProto


class InferShapes(ir.passes.InPlacePass):
    """Sets dtype and shape of every tensor that onnx can infer; what is known stays known."""

    def call(self, model: ir.Model) -> InferredShapes:
        """Infers, and once more with the declared shapes as hints where they say more."""
        found, declared = self._infer(model, hints=False)
        if declared and has_open_shapes(model.graph):
            again, _ = self._infer(model, hints=True)
            found = InferredShapes(model, found.modified or again.modified, again.message)
        return found

    def _infer(self, model: ir.Model, *, hints: bool) -> tuple[InferredShapes, bool]:
        """Returns what was inferred, and whether a declared shape says more."""
        try:
            inferred = onnx.shape_inference.infer_shapes(
                weightless_proto(model, hints=hints), check_type=False, data_prop=True
            )
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"shapes cannot be inferred: {' '.join(str(error).split())[:300]}."
            ) from error
        found = {info.name: info.type for info in inferred.graph.value_info}
        found |= {info.name: info.type for info in inferred.graph.output}
        modified = declared = False
        for node in model.graph:
            for value in node.outputs:
                shape = None
                if value.name in found:
                    shape = ir.serde.deserialize_type_proto_for_shape(found[value.name])
                    modified |= _learn_type(value, found[value.name])
                # Declared sizes stay where inference knows less.
                if static_shape(value) is not None and (shape is None or not shape.is_static()):
                    declared = True
                elif shape is not None and value.shape != shape:
                    value.shape = shape
                    modified = True
        return InferredShapes(model, modified, inferred), declared


def _learn_type(value: ir.Value, proto: onnx.TypeProto) -> bool:
    type_ = ir.serde.deserialize_type_proto_for_type(proto)
    if type_ is None or value.type == type_:
        return False
    value.type = type_
    return True


def has_open_shapes(graph: ir.Graph) -> bool:
    """Whether the shape of some tensor is not known."""
    return any(static_shape(v) is None for node in graph for v in node.outputs if v.name)


def refuse_absurd_sizes(model: ir.Model, limit: int) -> None:
    """Refuses a graph with a tensor of more than `limit` elements.

    Raises:
        ModelError: Names the tensor and its shape.
    """
    produced = [value for node in model.graph for value in node.outputs]
    for value in (*model.graph.inputs, *produced):
        shape = static_shape(value)
        if shape is None or is_constant(value):
            continue
        count = sizes_product(shape)
        if count > limit:
            raise ModelError(
                f"tensor {value.name!r} has shape {'x'.join(map(str, shape))}, {count} elements; "
                f"at most {limit} are supported."
            )
