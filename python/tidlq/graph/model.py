"""The Graph noun: a float network in canonical form, over `onnx_ir`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.paging import PagedArrays, give_back_freed_memory
from tidlq.spec import ChannelRanges, FeatureQuant, IntegerType, StatedQuantization


@dataclass(frozen=True)
class TensorSignature:
    """Name, dtype and shape of a graph input or output.

    Attributes:
        name: the tensor's name.
        dtype: numpy dtype.
        shape: static sizes, as the Graph runs.
        interface_shape: sizes as the source model declares them; a name stands for a free size.
        quant: the real values that the integers of a quantized input or output stand for; None
            where the values are what they are.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    interface_shape: tuple[int | str, ...]
    quant: FeatureQuant | None = None

    def takes(self, dtype: np.dtype[np.generic]) -> bool:
        """Whether arrays of a dtype can be fed: its own, and real values where it has a scale."""
        return dtype == self.dtype or (self.quant is not None and dtype == np.float32)

    def stored(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The array in the tensor's dtype; real values as  saturate(round(x / scale) + zero_point).

        Args:
            array: of a dtype that it takes. Halves round to even; NaN becomes the zero point.
        """
        if self.quant is None or array.dtype == self.dtype:
            return array
        values = np.nan_to_num(np.asarray(array, np.float32) / np.float32(self.quant.scale), nan=0)
        q = np.rint(values) + self.quant.zero_point
        q = np.clip(q, self.quant.type.lowest, self.quant.type.highest)
        return np.asarray(q, self.dtype)


@dataclass(frozen=True, eq=False)
class Graph:
    """A float network: static shapes, folded constants, unique names for tensors and nodes.

    Two graphs are equal when their fingerprints are.

    Attributes:
        model: the `onnx_ir` model; nodes are topologically sorted; treat it as read-only.
        name: the model's name, for reports and files.
        free_batch: the leading axis of every input and output was symbolic and is resolved to 1,
            so a batch is executed as independent frames.
        interface_shapes: shapes of inputs and outputs as the source model declares them.
        stated: scales and zero points of a pre-quantized model; None for a float model.
        channel_ranges: ranges of the output channels of weights, by parameter name, that the model
            gives for the case that saved ranges replace calibration and do not say them. They are
            no part of what the Graph computes, nor of its fingerprint.
        pages: files that hold weights; `graph/paged_weights.py` says why.
    """

    model: ir.Model
    name: str
    free_batch: bool = False
    interface_shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    stated: StatedQuantization | None = None
    channel_ranges: Mapping[str, ChannelRanges] = field(default_factory=dict)
    pages: tuple[PagedArrays, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def nodes(self) -> Iterator[ir.Node]:
        """Nodes in execution order."""
        return iter(self.model.graph)

    @functools.cached_property
    def values(self) -> Mapping[str, ir.Value]:
        """Every tensor by name: inputs, initializers and node outputs."""
        graph = self.model.graph
        found = {value.name: value for value in graph.inputs if value.name}
        found |= dict(graph.initializers.items())
        for node in graph:
            found |= {value.name: value for value in node.outputs if value.name}
        return found

    @functools.cached_property
    def inputs(self) -> tuple[TensorSignature, ...]:
        """Inputs that a caller feeds, without initializers."""
        initializers = self.model.graph.initializers
        fed = [v for v in self.model.graph.inputs if v.name not in initializers]
        return tuple(self._signature(value) for value in fed)

    @functools.cached_property
    def outputs(self) -> tuple[TensorSignature, ...]:
        """The network's outputs."""
        return tuple(self._signature(value) for value in self.model.graph.outputs)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of a constant tensor, or None when the tensor is computed or fed."""
        value = self.values.get(name)
        if value is None or value.const_value is None:
            return None
        array: NDArray[np.generic] = value.const_value.numpy()
        return array

    def rest_weights(self) -> None:
        """Gives back memory: that of weights that a file holds, until they are used again."""
        for pages in self.pages:
            pages.rest()
        give_back_freed_memory()

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Static shape of a tensor, or None where inference could not tell."""
        shape = self.values[name].shape
        if shape is None:
            return None
        sizes = tuple(size for size in shape.dims if isinstance(size, int))
        return sizes if len(sizes) == len(shape) else None

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over opset, operators, attributes, tensor names, shapes and weights.

        What a pre-quantized model states counts as well; names of nodes, documentation and the free
        batch's name do not.
        """
        digest = hashlib.sha256()

        def add(*parts: object) -> None:
            digest.update(("\x1f".join(map(repr, parts)) + "\x1e").encode())

        add(sorted(self.model.graph.opset_imports.items()), self.free_batch)
        for signature in (*self.inputs, *self.outputs):
            add(signature.name, str(signature.dtype), signature.shape)
        for name in sorted(self.model.graph.initializers):
            array = self.constant(name)
            if array is None:
                add(name)
                continue
            add(name, str(array.dtype), array.shape)
            digest.update(_element_bytes(array))
        for node in self.nodes:
            names = [value.name if value is not None else "" for value in node.inputs]
            add(node.domain, node.op_type, names, [value.name for value in node.outputs])
            for key in sorted(node.attributes):
                proto = ir.serde.serialize_attribute(node.attributes[key])
                proto.ClearField("doc_string")
                add(key, proto.SerializeToString(deterministic=True))
        if self.stated is not None:
            for table in (self.stated.features, self.stated.parameters, self.stated.biases):
                add(sorted(table.items(), key=lambda item: item[0]))
            add(self.stated.requantization.value)
            add(sorted(self.stated.unrounded), sorted(self.stated.float_nodes))
        return digest.hexdigest()

    def _signature(self, value: ir.Value) -> TensorSignature:
        name = value.name or ""
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        shape = self.shape(name) or ()
        interface_shape = self.interface_shapes.get(name, shape)
        return TensorSignature(name, dtype, shape, interface_shape, self._interface_quant(value))

    def _interface_quant(self, value: ir.Value) -> FeatureQuant | None:
        """How an integer input that is dequantized, or an output that was quantized, is meant."""
        readers = [use.node for use in value.uses()]
        nodes = [*readers, value.producer()] if value.is_graph_output() else readers
        for node in nodes:
            is_pair = node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear")
            if node is None or not is_pair or value.dtype not in _INTEGER_TYPES:
                continue
            scale, zero = (_scalar(v) for v in (*node.inputs[1:3], None)[:2])
            if scale is not None:
                return FeatureQuant(_INTEGER_TYPES[value.dtype], float(scale), int(zero or 0))
        return None


_INTEGER_TYPES: Mapping[ir.DataType | None, IntegerType] = MappingProxyType(
    {
        ir.DataType.INT8: IntegerType(8, signed=True),
        ir.DataType.UINT8: IntegerType(8, signed=False),
        ir.DataType.INT16: IntegerType(16, signed=True),
        ir.DataType.UINT16: IntegerType(16, signed=False),
    }
)


def _scalar(value: ir.Value | None) -> float | None:
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().reshape(()))


def _element_bytes(array: NDArray[np.generic]) -> memoryview | bytes:
    """Elements in row-major order, little-endian; a view where they are stored like that."""
    if array.dtype == object:
        return repr(array.tolist()).encode()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data
