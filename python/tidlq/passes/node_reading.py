"""Reading nodes: constants, attributes and shapes, for the passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

QUANTIZATION_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether the node is one of these operators of the default domain."""
    return node is not None and node.domain == "" and node.op_type in op_types


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is an initializer that no caller can feed."""
    return (
        value is not None
        and value.is_initializer()
        and value.const_value is not None
        and not value.is_graph_input()
    )


def constant_array(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The array of a constant, or None."""
    if value is None or not is_constant(value) or value.const_value is None:
        return None
    array: NDArray[np.generic] = value.const_value.numpy()
    return array


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """The input at an index, or None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """A float attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """A string attribute or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def ints_attribute(node: ir.Node, name: str) -> tuple[int, ...] | None:
    """A list attribute, or None where it is absent."""
    attribute = node.attributes.get(name)
    return None if attribute is None else tuple(attribute.as_ints())


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Sizes of a value when all of them are known."""
    if value is None or value.shape is None:
        return None
    sizes = tuple(size for size in value.shape.dims if isinstance(size, int))
    return sizes if len(sizes) == len(value.shape) else None


def rank_of(value: ir.Value | None) -> int | None:
    """Number of axes, where known."""
    return None if value is None or value.shape is None else len(value.shape)


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads the value, when nothing else does and it is no graph output."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node


def reads_outer_scope(node: ir.Node) -> bool:
    """Whether the node holds a nested graph (If, Loop, Scan)."""
    return bool(nested_graphs(node))


def nested_graphs(node: ir.Node) -> list[ir.Graph]:
    """The graphs among a node's attributes."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type is ir.AttributeType.GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def is_sorted(graph: ir.Graph) -> bool:
    """Whether every node stands behind those it reads; False where graphs are nested."""
    ahead: set[ir.Node | None] = {None}
    for node in graph:
        if any(value is not None and value.producer() not in ahead for value in node.inputs):
            return False
        if nested_graphs(node):
            return False
        ahead.add(node)
    return True


def all_equal(array: NDArray[np.generic] | None, expected: float) -> bool:
    """Whether every element of a numeric array is this number; False for None."""
    if array is None or array.dtype.kind not in "fiub":
        return False
    return bool(np.all(array == expected))


def sizes_product(sizes: Sequence[int]) -> int:
    """Product of sizes as an exact integer; 1 for none."""
    product = 1
    for size in sizes:
        product *= size
    return product
