"""A Graph's batch of 1 made free again, where its nodes allow that.

Shape arithmetic of the source model was folded for a batch of 1, which stands in the constants of
Reshape and Resize. With these loosened, shape inference with another batch tells whether every
tensor follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.graph.model import Graph
from tidlq.passes.infer_shapes import weightless_proto

# A prime that no size of a real network is a multiple of; nothing of this size is allocated.
_PROBE = 1_000_003
_AXES_OPSET = 18


@dataclass(frozen=True, eq=False)
class LooseNode:
    """Changes to a node that states the batch in a constant.

    Attributes:
        constants: new constants by input index.
        axes: value of its attribute `axes`; None leaves it.
    """

    constants: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    axes: tuple[int, ...] | None = None

    def apply(self, node: onnx.NodeProto, names: Mapping[int, str]) -> None:
        """Changes a node.

        Args:
            node: in place.
            names: of the new constants, by input index.
        """
        for index, name in names.items():
            node.input[index] = name
        if self.axes is not None:
            node.attribute.append(onnx.helper.make_attribute("axes", self.axes))


def loosen_batch(graph: Graph) -> Mapping[str, LooseNode] | None:
    """Changes by node name under which every tensor has the batch of the inputs as its first size.

    Returns:
        None where the batch is not free, or some node needs it to be 1.
    """
    if not graph.free_batch:
        return None
    loose = {
        node.name or "": change
        for node in graph.nodes
        if (change := _loosen_node(graph, node)) is not None
    }
    return loose if _follows_batch(graph, loose) else None


def _loosen_node(graph: Graph, node: ir.Node) -> LooseNode | None:
    if node.domain or not node.inputs or node.inputs[0] is None:
        return None
    source = graph.shape(node.inputs[0].name or "")
    target = graph.shape(node.outputs[0].name or "")
    if not source or not target or source[0] != 1 or target[0] != 1:
        return None
    if node.op_type == "Reshape":
        return _loosen_reshape(graph, node)
    if node.op_type == "Resize":
        return _loosen_resize(graph, node, len(source))
    return None


def _constant(graph: Graph, node: ir.Node, index: int) -> NDArray[np.int64] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    array = None if value is None else graph.constant(value.name or "")
    return None if array is None else np.asarray(array, np.int64)


def _loosen_reshape(graph: Graph, node: ir.Node) -> LooseNode | None:
    """A leading 1 becomes 0: the size of the input's axis."""
    shape = _constant(graph, node, 1)
    allows_zero = node.attributes.get("allowzero")
    if shape is None or shape[0] != 1 or (allows_zero and allows_zero.as_int()):
        return None
    return LooseNode({1: np.array([0, *shape[1:]], np.int64)})


def _loosen_resize(graph: Graph, node: ir.Node, rank: int) -> LooseNode | None:
    """Sizes of all axes but the first."""
    sizes, roi = _constant(graph, node, 3), _constant(graph, node, 1)
    opset = graph.model.graph.opset_imports.get("", 1)
    if sizes is None or len(sizes) != rank or "axes" in node.attributes or opset < _AXES_OPSET:
        return None
    if roi is not None and roi.size:
        return None
    return LooseNode({3: sizes[1:]}, tuple(range(1, rank)))


def _follows_batch(graph: Graph, loose: Mapping[str, LooseNode]) -> bool:
    """Whether shape inference finds every tensor's leading size to be that of the inputs."""
    proto = weightless_proto(graph.model)
    fed = {signature.name for signature in graph.inputs}
    for info in proto.graph.input:
        if info.name in fed:
            info.type.tensor_type.shape.dim[0].dim_value = _PROBE
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    for node in proto.graph.node:
        change = loose.get(node.name)
        if change is not None:
            names = {index: f"{node.name}/loose-{index}" for index in change.constants}
            change.apply(node, names)
            for index, array in change.constants.items():
                proto.graph.initializer.append(onnx.numpy_helper.from_array(array, names[index]))
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return False
    found = {info.name: info.type for info in (*inferred.graph.value_info, *inferred.graph.output)}
    computed = [value for node in graph.nodes for value in node.outputs if value.name]
    return all(
        value.name in found and _has_probe(found[value.name], graph.shape(value.name))
        for value in computed
        if value.name
    )


def _has_probe(type_: onnx.TypeProto, shape: tuple[int, ...] | None) -> bool:
    if shape is None or not type_.tensor_type.HasField("shape"):
        return False
    sizes = [dim.dim_value for dim in type_.tensor_type.shape.dim]
    return sizes == [_PROBE, *shape[1:]]
