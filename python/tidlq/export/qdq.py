"""A quantized network as a QDQ ONNX model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from tidlq.errors import ModelError
from tidlq.export.batch import LooseNode, loosen_batch
from tidlq.export.forms import NetworkForms, network_forms
from tidlq.export.layers import NodeEdit, Replacement, edit_layers
from tidlq.export.opset import choose_opset
from tidlq.export.parameters import StoredBias, StoredConstant
from tidlq.export.writer import GraphWriter
from tidlq.graph.model import Graph, TensorSignature
from tidlq.graph.partition import Partition
from tidlq.importers.export_facts import ExportFacts
from tidlq.spec import QuantPlan
from tidlq.version import __version__

_LARGEST_FILE = (1 << 31) - 1
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True, eq=False)
class QdqExport:
    """A QDQ model, and where its integers are.

    Attributes:
        model: the ONNX model.
        integers: by tensor of the Graph, the output of its QuantizeLinear.
    """

    model: onnx.ModelProto
    integers: Mapping[str, str]


def qdq_model(graph: Graph, partition: Partition, plan: QuantPlan) -> onnx.ModelProto:
    """The network as float operators between QuantizeLinear and DequantizeLinear nodes.

    Every tensor that the plan quantizes is followed by such a pair, and every constant of a
    fixed-point layer is an integer initializer with its DequantizeLinear. Nodes of float islands
    stay as they are. Names of nodes and tensors are the Graph's; the batch is free where it was
    free in the source model and no node needs it to be 1.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions for its fixed stages.

    Returns:
        The model; the same arguments give the same bytes.

    Raises:
        ModelError: The model would not fit a file of 2 GiB, which is the most that ONNX allows
            without a second file.
    """
    return export_qdq(graph, partition, plan).model


def export_qdq(graph: Graph, partition: Partition, plan: QuantPlan) -> QdqExport:
    """The same as `qdq_model`, with the names of the integer tensors."""
    exporter = _Exporter(graph, partition, plan)
    model = exporter.export()
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size > _LARGEST_FILE:
        raise ModelError(
            f"The QDQ form of {graph.name!r} has {size} bytes of constants; an ONNX file holds at "
            f"most {_LARGEST_FILE}."
        )
    return QdqExport(model, MappingProxyType(exporter.integers))


class _Exporter:
    """Writes the nodes of a Graph in order."""

    def __init__(self, graph: Graph, partition: Partition, plan: QuantPlan) -> None:
        self.graph = graph
        self.partition = partition
        self.plan = plan
        self.forms: NetworkForms = network_forms(graph, partition, plan)
        self.edits: Mapping[str, NodeEdit] = edit_layers(graph, partition, plan)
        self.loose: Mapping[str, LooseNode] | None = loosen_batch(graph)
        self.opset = choose_opset(graph, is_wide=self._is_wide())
        self.copied = self._copied_constants()
        constants = set(graph.model.graph.initializers)
        self.writer = GraphWriter(graph, constants - self.copied, self.opset.domain)
        self.float_nodes = {node.name for node in partition.float_nodes}
        self.float_readers = {
            node for x in partition.layers if x.name in self.forms.float_readers for node in x.nodes
        }
        # What a tensor is called before and behind its pair.
        self.raw_names: dict[str, str] = {}
        self.dequantized: dict[str, str] = {}
        self.integers: dict[str, str] = {}
        self.guarded: dict[str, str] = {}

    def export(self) -> onnx.ModelProto:
        outputs = {signature.name for signature in self.graph.outputs}
        for name in sorted(outputs & self.forms.integers):
            self.raw_names[name] = self.writer.take_name(f"{name}/unquantized")
        for name in sorted(self.copied):
            self._copy_constant(name)
        for signature in self.graph.inputs:
            self._quantize(signature.name)
        for node in self.graph.nodes:
            self._write(node)
            for value in node.outputs:
                self._quantize(value.name or "")
        return self._assemble()

    def _is_wide(self) -> bool:
        stored = [c for edit in self.edits.values() for c in edit.constants.values()]
        bits = [c.bits for c in stored if isinstance(c, StoredConstant)]
        bits += [quant.type.bits for quant in self.forms.quantized.values()]
        return max(bits, default=8) > 8

    def _copied_constants(self) -> set[str]:
        """Constants that some node reads as they are."""
        read: set[str] = set()
        for node in self.graph.nodes:
            edit = self.edits.get(node.name or "", NodeEdit())
            loose = (self.loose or {}).get(node.name or "", LooseNode())
            replaced = {*edit.constants, *loose.constants}
            read.update(
                value.name or ""
                for index, value in enumerate(node.inputs)
                if value is not None and index not in replaced
            )
        for float_node in self.partition.float_nodes:
            read.update(float_node.inputs)
        return {name for name in read if self.graph.constant(name) is not None}

    def _copy_constant(self, name: str) -> None:
        tensor = self.graph.values[name].const_value
        assert tensor is not None
        proto = ir.serde.serialize_tensor(tensor)
        proto.name = name
        self.writer.initializers.append(proto)

    def _quantize(self, name: str) -> None:
        quant = self.forms.quantized.get(name)
        if quant is None:
            return
        raw = self.raw_names.get(name, name)
        output = name if raw != name else None
        pair = self.writer.add_quantization(raw, name, quant, output)
        self.integers[name], self.dequantized[name] = pair

    def _read_name(self, name: str, *, reads_float: bool) -> str:
        if self.forms.is_dequantized(name, reads_float=reads_float):
            return self.dequantized.get(name, name)
        return name

    def _guarded_input(self, node: ir.Node) -> str | None:
        """The first input of a node whose float weights ONNX Runtime would round; None for others.

        A Graph's tensor has one such form, whichever node asks first.
        """
        source = node.inputs[0] if node.inputs else None
        name = "" if source is None else source.name or ""
        edit = self.edits.get(node.name or "", NodeEdit())
        is_real = node.name in self.float_nodes or isinstance(edit.constants.get(1), np.ndarray)
        if not is_real or node.op_type not in _WEIGHTED or node.domain:
            return None
        sizes = self.graph.shape(name) if name in self.dequantized else None
        if not sizes or not self.forms.is_dequantized(name, reads_float=True):
            return None
        if name not in self.guarded:
            self.guarded[name] = self.writer.add_guarded(
                name, self.integers[name], self.forms.quantized[name], sizes
            )
        return self.guarded[name]

    def _write(self, node: ir.Node) -> None:
        name = node.name or ""
        proto = ir.serde.serialize_node(node)
        reads_float = name in self.float_nodes or name in self.float_readers
        guarded = self._guarded_input(node)
        _rename_inputs(proto, lambda read: self._read_name(read, reads_float=reads_float))
        if guarded is not None:
            proto.input[0] = guarded
        for index, output in enumerate(proto.output):
            proto.output[index] = self.raw_names.get(output, output)
        loose = (self.loose or {}).get(name)
        if loose is not None:
            names = {
                index: self.writer.add_constant(f"{name}/sizes", array)
                for index, array in loose.constants.items()
            }
            loose.apply(proto, names)
        edit = self.edits.get(name)
        if edit is None:
            self.writer.nodes.append(proto)
        else:
            self._write_edited(proto, edit)

    def _write_edited(self, proto: onnx.NodeProto, edit: NodeEdit) -> None:
        for index, constant in sorted(edit.constants.items()):
            if constant is None:
                del proto.input[index:]
                continue
            while len(proto.input) <= index:
                proto.input.append("")
            proto.input[index] = self._add_replacement(proto.input[index], constant)
        kept = [a for a in proto.attribute if a.name not in edit.dropped | edit.reals.keys()]
        kept += [helper.make_attribute(key, value) for key, value in edit.reals.items()]
        del proto.attribute[:]
        proto.attribute.extend(kept)
        proto.op_type = edit.op_type or proto.op_type
        self.writer.nodes.append(proto)
        if edit.added is not None:
            output = proto.output[0]
            proto.output[0] = self.writer.take_name(f"{output}/unbiased")
            bias = self.writer.add_bias(edit.added)
            self.writer.add_node("Add", [proto.output[0], bias], output, f"{proto.name}/add")

    def _add_replacement(self, name: str, constant: Replacement) -> str:
        match constant:
            case StoredConstant():
                return self.writer.add_stored(constant)
            case StoredBias():
                return self.writer.add_bias(constant)
            case np.ndarray():
                return self.writer.add_constant(name, constant)

    def _assemble(self) -> onnx.ModelProto:
        model = helper.make_model(
            helper.make_graph(
                self.writer.nodes,
                self.graph.name,
                [self._interface(signature) for signature in self.graph.inputs],
                [self._interface(signature) for signature in self.graph.outputs],
                self.writer.initializers,
            ),
            opset_imports=[
                helper.make_opsetid(domain, version)
                for domain, version in sorted(self.opset.imports.items())
            ],
            ir_version=self.opset.ir_version,
            producer_name="tidlq",
            producer_version=__version__,
        )
        facts = ExportFacts(
            self.plan.scheme.requantization,
            self.forms.hidden,
            self.forms.unrounded,
            frozenset(self.float_nodes),
        )
        helper.set_model_props(model, facts.to_properties(self.plan.scheme.name))
        return model

    def _interface(self, signature: TensorSignature) -> onnx.ValueInfoProto:
        info = ir.serde.serialize_value(self.graph.values[signature.name])
        batch = signature.interface_shape[0] if self.loose is not None else 1
        if isinstance(batch, str):
            info.type.tensor_type.shape.dim[0].dim_param = batch
        return info


def _rename_inputs(node: onnx.NodeProto, rename: Callable[[str], str]) -> None:
    """Renames what a node reads, the outer tensors that its bodies read included."""
    for index, name in enumerate(node.input):
        node.input[index] = rename(name) if name else ""
    for attribute in node.attribute:
        bodies = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
        for body in bodies:
            _rename_in_body(body, rename)


def _rename_in_body(body: onnx.GraphProto, rename: Callable[[str], str]) -> None:
    local = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    local |= {name for node in body.node for name in node.output}
    for node in body.node:
        _rename_inputs(node, lambda name: name if name in local else rename(name))
    for value in body.output:
        # A body may hand out an outer tensor.
        if value.name not in local:
            value.name = rename(value.name)
