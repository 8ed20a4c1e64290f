"""The tensors of a TFLite file as values of the graph: in one layout, in the other, or in both."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.importers.tflite.builder import GraphBuilder
from tidlq.importers.tflite.constants import ELEMENT_TYPES, FLOAT_TYPES, real_values
from tidlq.importers.tflite.contents import StoredModel, StoredTensor
from tidlq.importers.tflite.layout import (
    CHANNELS_FIRST_SUFFIX,
    IMAGE_RANKS,
    OWN_SUFFIX,
    Layout,
    axis_in,
    permutation,
)
from tidlq.importers.tflite.names import UniqueNames
from tidlq.importers.tflite.quantization import (
    feature_quant,
    is_quantized,
    parameter_statement,
)
from tidlq.passes.node_reading import rank_of, static_shape
from tidlq.passes.stated import state_feature, state_parameter

Array = NDArray[np.generic]

# Constants unfold at most this many times the file's size (sparse ones, four bits, shared
# buffers), or to this many bytes where that is more.
_UNFOLDING = 64
_ALWAYS_ALLOWED_BYTES = 1 << 28


def tensor_names(model: StoredModel) -> list[str]:
    """A unique name for every tensor; inputs and outputs come first, then the order of the file."""
    names = [""] * len(model.tensors)
    unique = UniqueNames()
    ends = dict.fromkeys((*model.inputs, *model.outputs))
    for index in (*ends, *(i for i in range(len(names)) if i not in ends)):
        names[index] = unique.take(model.tensors[index].name or f"tensor_{index}")
    return names


def graph_type(tensor: StoredTensor) -> np.dtype[np.generic]:
    """The element type of a tensor in the graph: float32 for floats and for quantized integers.

    Raises:
        ModelError: The type has no meaning there.
    """
    if tensor.type in FLOAT_TYPES or is_quantized(tensor):
        return np.dtype(np.float32)
    if tensor.type not in ELEMENT_TYPES:
        raise ModelError(f"tensor {tensor.name!r} is of type {tensor.type}, which is not read.")
    return ELEMENT_TYPES[tensor.type]


class Tensors:
    """Which values of the graph hold which tensors of the file.

    Args:
        model: the file.
        names: one for every tensor.
        builder: of the graph.
        wanted: tensors that layers with channels first read next.
    """

    def __init__(
        self,
        model: StoredModel,
        names: list[str],
        builder: GraphBuilder,
        wanted: frozenset[int] = frozenset(),
    ) -> None:
        self.model = model
        self.names = names
        self.wanted = wanted
        self._builder = builder
        self._forms: dict[tuple[int, Layout], ir.Value] = {}
        self._arrays: dict[int, Array] = {}
        self._constants: dict[tuple[int, tuple[int, ...], tuple[int, ...], bool], ir.Value] = {}
        self._named: set[ir.Value] = set()
        self._inputs = frozenset(model.inputs)
        self._outputs = frozenset(model.outputs)
        reads = (index for operator in model.operators for index in operator.inputs)
        self._readers = Counter((*reads, *model.outputs))
        stored = sum(len(tensor.data or b"") for tensor in model.tensors)
        self._bytes_left = max(_UNFOLDING * stored, _ALWAYS_ALLOWED_BYTES)

    def has(self, index: int, layout: Layout) -> bool:
        """Whether a computed tensor is there in a layout without a transposition."""
        return (index, layout) in self._forms

    def is_computed(self, index: int) -> bool:
        """Whether an operator or the network's caller gives the tensor its elements."""
        return self.has(index, Layout.OWN) or self.has(index, Layout.CHANNELS_FIRST)

    def array(self, index: int) -> Array | None:
        """The real numbers of a tensor that is constant or follows from constants; else None."""
        if index in self._arrays:
            return self._arrays[index]
        if self.is_computed(index):
            for layout in Layout:
                value = self._forms.get((index, layout))
                found = None if value is None else self._builder.evaluate(value)
                if found is None:
                    continue
                if layout is Layout.CHANNELS_FIRST:
                    found = np.transpose(found, permutation(found.ndim, Layout.OWN))
                return found
            return None
        tensor = self.model.tensors[index]
        if tensor.data is None and 0 not in tensor.shape:
            return None
        return self._keep(index, real_values(tensor) if tensor.data is not None else _empty(tensor))

    def _keep(self, index: int, array: Array) -> Array:
        self._bytes_left -= array.nbytes
        if self._bytes_left < 0:
            raise ModelError(
                f"the constants up to {self.names[index]!r} unfold to far more than the file "
                "holds; it is damaged."
            )
        self._arrays[index] = array
        return array

    def set_array(self, index: int, array: Array) -> None:
        """Makes the output of an operator a constant."""
        self._refuse_second_writer(index)
        self._keep(index, array)

    def shape(self, index: int) -> tuple[int, ...] | None:
        """Sizes in TFLite's own order; None where they depend on data."""
        for layout in Layout:
            value = self._forms.get((index, layout))
            if value is None:
                continue
            shape = static_shape(value)
            if shape is None or layout is Layout.OWN:
                return shape
            return tuple(shape[axis] for axis in permutation(len(shape), Layout.OWN))
        array = self.array(index)
        if array is None:
            raise self._unwritten(index)
        return array.shape

    def rank(self, index: int) -> int:
        """Number of axes."""
        for layout in Layout:
            if (value := self._forms.get((index, layout))) is not None:
                rank = rank_of(value)
                if rank is None:
                    raise ModelError(f"the rank of tensor {self.names[index]!r} depends on data.")
                return rank
        return len(self.shape(index) or ())

    def _unwritten(self, index: int) -> ModelError:
        tensor = self.model.tensors[index]
        if tensor.is_variable:
            return ModelError(
                f"tensor {self.names[index]!r} is a variable, which keeps its value between runs; "
                "networks with a state are not supported."
            )
        return ModelError(
            f"tensor {self.names[index]!r} is read, but holds no data and no operator before "
            "writes it."
        )

    def read(self, index: int, layout: Layout = Layout.OWN, rank: int | None = None) -> ir.Value:
        """A tensor as a value of the graph.

        Args:
            index: of the tensor.
            layout: that the value must have; without effect below rank 4.
            rank: at least this many axes, new ones in front.

        Raises:
            ModelError: Nothing has written the tensor.
        """
        if not self.is_computed(index) and (array := self.array(index)) is not None:
            return self._read_constant(index, array, layout, rank or 0)
        own = self.rank(index)
        if rank is not None and own < rank:
            shape = self.shape(index)
            if shape is None:
                raise ModelError(f"the shape of tensor {self.names[index]!r} depends on data.")
            sizes = (1,) * (rank - own) + shape
            value = self._moved(index, "Reshape", f"rank{rank}", sizes=sizes)
            return value if layout is Layout.OWN else self._transposed(value, index, layout)
        if own not in IMAGE_RANKS:
            layout = Layout.OWN
        if (index, layout) not in self._forms:
            other = Layout.OWN if layout is Layout.CHANNELS_FIRST else Layout.CHANNELS_FIRST
            if (index, other) not in self._forms:
                raise self._unwritten(index)
            self._forms[index, layout] = self._transposed(self._forms[index, other], index, layout)
        return self._forms[index, layout]

    def _read_constant(self, index: int, array: Array, layout: Layout, rank: int) -> ir.Value:
        if array.size == 1 and array.ndim < rank:
            layout = Layout.OWN
        elif array.ndim < rank:
            array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        if array.ndim not in IMAGE_RANKS:
            layout = Layout.OWN
        axis = self._quantized_axis(index, array, layout)
        perm = tuple(range(array.ndim))
        if layout is Layout.CHANNELS_FIRST:
            perm = permutation(array.ndim, layout)
        return self.parameter(index, array, perm, axis)

    def _quantized_axis(self, index: int, array: Array, layout: Layout) -> int:
        quantization = self.model.tensors[index].quantization
        if quantization is None or len(quantization.scales) == 1:
            return 0
        axis = quantization.axis + array.ndim - len(self.model.tensors[index].shape)
        return axis_in(axis, array.ndim, layout)

    def parameter(
        self,
        index: int,
        array: Array,
        perm: tuple[int, ...],
        axis: int,
        *,
        is_stated: bool = True,
    ) -> ir.Value:
        """A constant made of a tensor's real numbers; the same again where it is asked for again.

        Args:
            index: of the tensor.
            array: its numbers; they decide the constant together with the rest.
            perm: axis i of the constant is axis perm[i] of `array`.
            axis: where the quantized axis stands in the constant.
            is_stated: the constant states how the file stores it.
        """
        key = (index, array.shape, perm, is_stated)
        if key in self._constants:
            return self._constants[key]
        value = self.add_constant(index, array.transpose(perm))
        if is_stated:
            state_parameter(value, parameter_statement(self.model.tensors[index], axis))
        self._constants[key] = value
        return value

    def add_constant(self, index: int, array: Array) -> ir.Value:
        """A new constant, named after a tensor."""
        if index in self._outputs:
            # The name is kept for what leaves the network.
            name = self._builder.take_name(f"{self.names[index]}_constant")
        else:
            name = self._builder.claim_name(self.names[index], "constant")
        return self._builder.add_constant(name, array)

    def _transposed(self, value: ir.Value, index: int, layout: Layout) -> ir.Value:
        rank = rank_of(value) or 0
        names = CHANNELS_FIRST_SUFFIX if layout is Layout.CHANNELS_FIRST else OWN_SUFFIX
        name = f"{self.names[index]}_{names[rank]}"
        perm = permutation(rank, layout)
        return self._builder.add_node("Transpose", [value], [name], {"perm": perm}, name)[0]

    def _moved(self, index: int, op_type: str, role: str, *, sizes: tuple[int, ...]) -> ir.Value:
        name = f"{self.names[index]}_{role}"
        shape_name = self._builder.take_name(f"{name}_shape")
        shape = self._builder.add_constant(shape_name, np.array(sizes, np.int64))
        return self._builder.add_node(op_type, [self.read(index), shape], [name], {}, name)[0]

    def _refuse_second_writer(self, index: int) -> None:
        tensor = self.model.tensors[index]
        if self.is_computed(index) or index in self._arrays:
            raise ModelError(f"tensor {self.names[index]!r} is written twice or is an input.")
        if tensor.data is not None or tensor.is_variable:
            kind = "a variable" if tensor.is_variable else "a constant"
            raise ModelError(f"tensor {self.names[index]!r} is written, but is {kind}.")

    def define(self, index: int, value: ir.Value, layout: Layout) -> None:
        """Says that a value of the graph holds a tensor, and names it after the tensor.

        Args:
            index: of the tensor.
            value: keeps its name where it holds another tensor already.
            layout: of the value.

        Raises:
            ModelError: The tensor has been written before.
        """
        self._refuse_second_writer(index)
        self._forms[index, layout] = value
        tensor = self.model.tensors[index]
        if (quant := feature_quant(tensor)) is not None:
            state_feature(value, quant)
        if value in self._named:
            return
        self._named.add(value)
        name = self.names[index]
        suffix = CHANNELS_FIRST_SUFFIX.get(rank_of(value) or 0, "float")
        if index in self._outputs and not self._leaves_as_it_is(tensor, layout):
            suffix = "float" if layout is Layout.OWN else suffix
            self._builder.rename(value, self._builder.take_name(f"{name}_{suffix}"))
        else:
            self._builder.rename(value, self._builder.claim_name(name, suffix))

    def _leaves_as_it_is(self, tensor: StoredTensor, layout: Layout) -> bool:
        """Whether a value in this layout is what the network's output shows."""
        narrow = tensor.type in FLOAT_TYPES and tensor.type != "FLOAT32"
        return layout is Layout.OWN and not is_quantized(tensor) and not narrow

    def alias(self, index: int, source: int, *, rename: bool) -> None:
        """Says that the values which hold one tensor hold another one as well.

        Args:
            index: of the new tensor.
            source: of the tensor that is there.
            rename: the values take the new tensor's name.
        """
        self._refuse_second_writer(index)
        quant = feature_quant(self.model.tensors[index])
        for layout in Layout:
            if (value := self._forms.get((source, layout))) is None:
                continue
            self._forms[index, layout] = value
            if quant is not None:
                state_feature(value, quant)
            if rename:
                suffix = CHANNELS_FIRST_SUFFIX.get(rank_of(value) or 0, "float")
                self._builder.rename(value, self._builder.claim_name(self.names[index], suffix))

    def is_free(self, index: int) -> bool:
        """Whether one operator alone reads a computed tensor that has no name at the interface."""
        return self._readers[index] == 1 and index not in self._inputs

    def is_sole_input(self, index: int) -> bool:
        """Whether a tensor is an input of the network that one operator alone reads."""
        return self._readers[index] == 1 and index in self._inputs

    def define_input(self, index: int, value: ir.Value) -> None:
        """Says that a value, which keeps its name, holds an input of the network."""
        self._named.add(value)
        self.define(index, value, Layout.OWN)


def _empty(tensor: StoredTensor) -> Array:
    return np.zeros(tensor.shape, graph_type(tensor))
