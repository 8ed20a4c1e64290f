"""Reading a node's attributes and constant inputs, with refusal by reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.graph.layers import Attributes, Clamp, Layer, LayerKind, NoAttributes
from tidlq.graph.model import Graph


class RefusedError(Exception):
    """The engine has no integer kernel for a node; the text says why."""


class NodeReader:
    """A node's view of its Graph: shapes, constants and attributes, or `RefusedError`."""

    def __init__(self, graph: Graph, node: ir.Node) -> None:
        self.graph = graph
        self.node = node
        self.op_type = node.op_type
        self.name = node.name or ""
        self.inputs = tuple(value.name or "" if value else "" for value in node.inputs)
        self.outputs = tuple(value.name or "" for value in node.outputs)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return int(self.graph.model.opset_imports.get("", 1))

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else int(attribute.as_int())

    def real(self, name: str, default: float) -> float:
        """A float attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else float(attribute.as_float())

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    def optional(self, index: int) -> str | None:
        """The name of an input that may be missing."""
        return self.inputs[index] if self.has_input(index) else None

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """A list attribute."""
        attribute = self.node.attributes.get(name)
        return tuple(default if attribute is None else map(int, attribute.as_ints()))

    def has_input(self, index: int) -> bool:
        """An optional input is present."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def is_constant(self, index: int) -> bool:
        """Input `index` is a constant."""
        return self.has_input(index) and self.graph.constant(self.inputs[index]) is not None

    def constant(self, index: int, what: str) -> NDArray[np.generic]:
        """A constant input."""
        array = self.graph.constant(self.inputs[index]) if self.has_input(index) else None
        if array is None:
            raise RefusedError(f"its {what} is not constant")
        return array

    def feature(self, index: int) -> str:
        """The name of a computed float32 input with a known shape."""
        if not self.has_input(index):
            raise RefusedError(f"input {index} is missing")
        name = self.inputs[index]
        if self.graph.constant(name) is not None:
            raise RefusedError(f"input {index} is constant")
        self.float_shape(name)
        return name

    def float_shape(self, name: str) -> tuple[int, ...]:
        """Static shape of a float32 tensor of rank 6 or less with no empty axis."""
        value = self.graph.values[name]
        if value.dtype != ir.DataType.FLOAT:
            raise RefusedError(f"tensor {name!r} is not float32")
        shape = self.graph.shape(name)
        if shape is None:
            raise RefusedError(f"the shape of tensor {name!r} is not known")
        if len(shape) > 6:
            raise RefusedError(f"tensor {name!r} has {len(shape)} axes, the engine takes up to 6")
        if 0 in shape:
            raise RefusedError(f"tensor {name!r} is empty")
        return shape

    def output(self) -> str:
        """The name of the only used output, float32 with a known shape."""
        for extra in self.outputs[1:]:
            if extra and self.is_used(extra):
                raise RefusedError(f"its output {extra!r} is used")
        self.float_shape(self.outputs[0])
        return self.outputs[0]

    def is_used(self, name: str) -> bool:
        """A node or the network's outputs read the tensor."""
        value = self.graph.values[name]
        return bool(value.uses()) or value.is_graph_output()

    def axis(self, axis: int, rank: int) -> int:
        """A possibly negative axis as 0 .. rank-1."""
        resolved = axis + rank if axis < 0 else axis
        if not 0 <= resolved < rank:
            raise RefusedError(f"axis {axis} is outside rank {rank}")
        return resolved

    def listed(self, index: int, attribute: str, what: str) -> tuple[int, ...] | None:
        """A list that newer operator sets pass as an input and older ones as an attribute."""
        if self.has_input(index):
            return tuple(int(v) for v in self.constant(index, what).reshape(-1).tolist())
        if attribute in self.node.attributes:
            return self.integers(attribute, ())
        return None

    def layer(
        self,
        kind: LayerKind,
        attributes: Attributes | None = None,
        *,
        inputs: tuple[str, ...] | None = None,
        weight: str | None = None,
        bias: str | None = None,
        clamp: Clamp | None = None,
    ) -> Layer:
        """The layer that this node alone forms; it reads the first input unless told otherwise."""
        return Layer(
            name=self.name,
            kind=kind,
            op_type=self.op_type,
            nodes=(self.name,),
            inputs=(self.feature(0),) if inputs is None else inputs,
            output=self.output(),
            attributes=attributes or NoAttributes(),
            weight=weight,
            bias=bias,
            clamp=clamp,
        )
