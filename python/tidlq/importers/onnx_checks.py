"""Structural faults of an ONNX message, each found before any rewrite and named."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping

import onnx

from tidlq.errors import ModelError, nearest_names

OLDEST_OPSET = 7
OLDEST_IR_VERSION = 3


def check_structure(proto: onnx.ModelProto) -> None:
    """Checks versions, types of inputs, names, references and order of the main graph.

    Raises:
        ModelError: Names the tensor or node at fault.
    """
    check_versions(proto)
    graph = proto.graph
    if not graph.output:
        raise ModelError("the graph has no outputs.")
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError(f"constant {name!r} is sparse; constants must be dense.")
    for info in graph.input:
        _check_input_type(info)
    _check_names(graph)
    _check_references(graph)


def check_versions(proto: onnx.ModelProto) -> None:
    """Checks the format version and the operator set.

    Raises:
        ModelError: States what was found and what is supported.
    """
    newest_ir, newest = int(onnx.IR_VERSION), int(onnx.defs.onnx_opset_version())
    if not OLDEST_IR_VERSION <= proto.ir_version <= newest_ir:
        raise ModelError(
            f"ONNX IR version {proto.ir_version} is not supported; supported are "
            f"{OLDEST_IR_VERSION} to {newest_ir}."
        )
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    uses_onnx = any(node.domain in ("", "ai.onnx") for node in proto.graph.node)
    if not versions and uses_onnx:
        raise ModelError("no ONNX opset is named; the model may be truncated.")
    for version in versions:
        if not OLDEST_OPSET <= version <= newest:
            raise ModelError(
                f"ONNX opset {version} is not supported; supported are {OLDEST_OPSET} to {newest}."
            )


def _check_input_type(info: onnx.ValueInfoProto) -> None:
    kind = info.type.WhichOneof("value")
    if kind is None:
        raise ModelError(f"input {info.name!r} has no type; a tensor type is needed.")
    if kind != "tensor_type":
        found = kind.removesuffix("_type").replace("_", " ")
        raise ModelError(f"input {info.name!r} is of type {found}; an input must be a tensor.")
    known = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
    if info.type.tensor_type.elem_type not in known:
        raise ModelError(
            f"input {info.name!r} has element type {info.type.tensor_type.elem_type}, "
            "which ONNX does not define."
        )


def _check_names(graph: onnx.GraphProto) -> None:
    _refuse_repeats((info.name for info in graph.input), "input")
    _refuse_repeats((tensor.name for tensor in graph.initializer), "constant")
    _refuse_repeats((info.name for info in graph.output), "output")
    produced: dict[str, str | onnx.NodeProto] = {info.name: "an input" for info in graph.input}
    produced |= {tensor.name: "a constant" for tensor in graph.initializer}
    for node in graph.node:
        for name in node.output:
            if name and name in produced:
                earlier = produced[name]
                role = earlier if isinstance(earlier, str) else f"written by {_called(earlier)}"
                raise ModelError(
                    f"tensor {name!r} is written by {_called(node)} and is also "
                    f"{role}; names of tensors must be unique."
                )
            produced[name] = node


def _refuse_repeats(names: Iterable[str], role: str) -> None:
    seen: set[str] = set()
    for name in names:
        if not name:
            raise ModelError(f"one {role} has no name.")
        if name in seen:
            raise ModelError(f"{role} {name!r} occurs twice; names must be unique.")
        seen.add(name)


def _called(node: onnx.NodeProto) -> str:
    return f"node {node.name or ', '.join(node.output)!r} ({node.op_type})"


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that a node reads, those that its nested graphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
            inner = {info.name for info in graph.input}
            inner |= {tensor.name for tensor in graph.initializer}
            inner |= {name for child in graph.node for name in child.output}
            reads = {name for child in graph.node for name in read_names(child)}
            reads |= {info.name for info in graph.output}
            yield from sorted(reads - inner)


def _check_references(graph: onnx.GraphProto) -> None:
    given = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    writers = {name: node for node in graph.node for name in node.output if name}
    available = given | set(writers)
    for info in graph.output:
        if info.name not in available:
            raise ModelError(
                f"nothing produces output {info.name!r}.{nearest_names(info.name, available)}"
            )
    edges: dict[int, list[int]] = {}
    index_of = {name: index for index, node in enumerate(graph.node) for name in node.output}
    is_ordered = True
    for index, node in enumerate(graph.node):
        reads = list(read_names(node))
        for name in reads:
            if name not in available:
                raise ModelError(
                    f"{_called(node)} reads tensor {name!r}, which nothing produces."
                    f"{nearest_names(name, available)}"
                )
        edges[index] = [index_of[name] for name in reads if name not in given]
        is_ordered = is_ordered and all(source < index for source in edges[index])
    if not is_ordered:
        _refuse_cycle(graph, edges)


def _refuse_cycle(graph: onnx.GraphProto, edges: Mapping[int, Iterable[int]]) -> None:
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        around = " -> ".join(
            repr(graph.node[index].name or graph.node[index].output[0]) for index in error.args[1]
        )
        raise ModelError(f"the graph has a cycle: {around}.") from error
