"""Values that follow from constants alone: shapes put together operator by operator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.float_runtime import open_float_session, refusal_reason
from tidlq.passes.node_reading import constant_array, sizes_product, static_shape

_LARGEST = 1 << 24


class ComputedConstants:
    """Knows which nodes compute constants, and what they compute once that is asked for."""

    def __init__(self) -> None:
        self._order: dict[ir.Node, int] = {}
        self._known: dict[ir.Value, NDArray[np.generic]] = {}

    def note(self, node: ir.Node) -> None:
        """Takes notice of a new node."""
        for value in node.inputs:
            if value is None or constant_array(value) is not None:
                continue
            if value.producer() not in self._order:
                return
        for value in node.outputs:
            shape = static_shape(value)
            if shape is None or sizes_product(shape) > _LARGEST:
                return
        self._order[node] = len(self._order)

    def evaluate(self, value: ir.Value, opset: int) -> NDArray[np.generic] | None:
        """The elements of a value; None where it does not follow from constants alone.

        Raises:
            ModelError: ONNX Runtime refuses to compute it.
        """
        if (stored := constant_array(value)) is not None:
            return stored
        node = value.producer()
        if node is None or node not in self._order:
            return None
        if value not in self._known:
            self._run(self._unknown(node), opset)
        return self._known[value]

    def _unknown(self, last: ir.Node) -> list[ir.Node]:
        """The nodes up to this one that have not been computed yet, in order."""
        needed = {last}
        stack = [last]
        while stack:
            for value in stack.pop().inputs:
                node = None if value is None or value in self._known else value.producer()
                if node is not None and node not in needed:
                    needed.add(node)
                    stack.append(node)
        return sorted(needed, key=self._order.__getitem__)

    def _run(self, nodes: list[ir.Node], opset: int) -> None:
        proto = onnx.GraphProto(name="constants")
        given: dict[str, NDArray[np.generic]] = {}
        made: list[ir.Value] = []
        for node in nodes:
            proto.node.append(ir.serde.serialize_node(node))
            made += node.outputs
            for value in node.inputs:
                if value is None:
                    continue
                array = self._known.get(value, constant_array(value))
                if array is not None:
                    given[value.name or ""] = array
        for name, array in given.items():
            proto.initializer.append(onnx.numpy_helper.from_array(array, name))
        proto.output.extend(onnx.ValueInfoProto(name=value.name) for value in made)
        model = onnx.ModelProto(ir_version=10, graph=proto)
        model.opset_import.add(domain="", version=opset)
        try:
            session = open_float_session(model.SerializeToString(), threads=1, is_optimized=False)
            arrays = session.run(None, {})
        except Exception as error:  # ONNX Runtime raises more than it documents
            raise ModelError(f"cannot be computed: {refusal_reason(error)}.") from error
        self._known.update(zip(made, map(np.asarray, arrays), strict=True))
