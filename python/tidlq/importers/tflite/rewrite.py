"""One operator being rewritten: what it reads, its options, and the nodes that stand for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.importers.tflite.atrous import Atrous
from tidlq.importers.tflite.builder import Attribute, GraphBuilder
from tidlq.importers.tflite.contents import OptionValue, StoredOperator, StoredTensor
from tidlq.importers.tflite.layout import IMAGE_RANKS, Layout
from tidlq.importers.tflite.quantization import feature_quant
from tidlq.importers.tflite.tensors import Array, Tensors, graph_type
from tidlq.passes.stated import state_feature, stated_feature
from tidlq.spec import FeatureQuant

_ABSENT = -1
_LONGEST_LIST = 1024


class Rewrite:
    """An operator of the file on its way into the graph.

    Args:
        operator: the operator.
        options: its options, complete.
        tensors: those of the file.
        builder: of the graph.
        atrous: what the operators around a convolution make of it.
    """

    def __init__(
        self,
        operator: StoredOperator,
        options: Mapping[str, OptionValue],
        tensors: Tensors,
        builder: GraphBuilder,
        atrous: Atrous | None = None,
    ) -> None:
        self.operator = operator
        self.atrous = atrous
        self.tensors = tensors
        self._options = options
        self.builder = builder

    @property
    def name(self) -> str:
        """The name of the tensor that the operator writes."""
        return self.tensors.names[self.operator.outputs[0]]

    def fault(self, what: str) -> ModelError:
        """An error that names the operator and the tensor that it writes."""
        return ModelError(f"{self.operator.label}, which writes {self.name!r}, {what}")

    def integer(self, option: str) -> int:
        """An option that is a whole number."""
        value = self._options[option]
        assert not isinstance(value, tuple)
        return int(value)

    def real(self, option: str) -> float:
        """An option that is a real number."""
        value = self._options[option]
        assert not isinstance(value, tuple)
        return float(value)

    def flag(self, option: str) -> bool:
        """An option that is true or false."""
        return bool(self._options[option])

    def integers(self, option: str) -> tuple[int, ...]:
        """An option that is a list."""
        value = self._options[option]
        assert isinstance(value, tuple)
        return value

    @property
    def input_count(self) -> int:
        """Number of inputs, absent ones included."""
        return len(self.operator.inputs)

    @property
    def output_count(self) -> int:
        """Number of outputs."""
        return len(self.operator.outputs)

    def has_input(self, position: int) -> bool:
        """Whether an input is there."""
        inputs = self.operator.inputs
        return position < len(inputs) and inputs[position] != _ABSENT

    def index(self, position: int) -> int:
        """The tensor at an input."""
        if not self.has_input(position):
            raise self.fault(f"has no input {position}.")
        return self.operator.inputs[position]

    def stored(self, position: int) -> StoredTensor:
        """The file's tensor at an input."""
        return self.tensors.model.tensors[self.index(position)]

    def stored_output(self, position: int = 0) -> StoredTensor:
        """The file's tensor at an output."""
        return self.tensors.model.tensors[self.operator.outputs[position]]

    def shape(self, position: int) -> tuple[int, ...]:
        """Sizes of an input in TFLite's own order."""
        shape = self.tensors.shape(self.index(position))
        if shape is None:
            raise self.fault(
                f"needs the shape of {self.tensors.names[self.index(position)]!r}, which depends "
                "on data."
            )
        return shape

    def rank(self, position: int) -> int:
        """Number of axes of an input."""
        return self.tensors.rank(self.index(position))

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            raise self.fault(f"names axis {axis} of {rank}.")
        return axis % rank

    def array(self, position: int) -> Array | None:
        """The numbers of a constant input; None of a computed one."""
        return self.tensors.array(self.index(position))

    def needed_array(self, position: int, what: str) -> Array:
        """The numbers of an input that must be constant."""
        array = self.array(position)
        if array is None:
            raise self.fault(f"has {what} that depends on data; it must be constant.")
        return array

    def listed(self, position: int, what: str) -> tuple[int, ...]:
        """Whole numbers of an input that must be constant."""
        array = self.needed_array(position, what)
        if array.dtype.kind not in "iu":
            raise self.fault(f"has {what} of type {array.dtype}; whole numbers are needed.")
        if array.size > _LONGEST_LIST:
            raise self.fault(f"has {what} of {array.size} numbers; at most {_LONGEST_LIST} count.")
        return tuple(int(item) for item in array.reshape(-1))

    def quant(self, position: int) -> FeatureQuant | None:
        """The quantization of a feature map at an input."""
        return feature_quant(self.stored(position))

    def output_quant(self, position: int = 0) -> FeatureQuant | None:
        """The quantization of an output."""
        return feature_quant(self.stored_output(position))

    def read(self, position: int, layout: Layout = Layout.OWN, rank: int | None = None) -> ir.Value:
        """An input as a value of the graph; see `Tensors.read`."""
        return self.tensors.read(self.index(position), layout, rank)

    def constant(self, array: NDArray[np.generic], role: str) -> ir.Value:
        """A constant of the operator's own, named after its output and its role."""
        name = self.builder.take_name(f"{self.name}_{role}")
        return self.builder.add_constant(name, array)

    def integers_constant(self, values: Sequence[int], role: str) -> ir.Value:
        """A list of whole numbers as a constant: int64 [n]."""
        return self.constant(np.array(values, np.int64).reshape(len(values)), role)

    def emit(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        role: str = "",
        **attributes: Attribute,
    ) -> ir.Value:
        """Adds a node and returns its output.

        Args:
            op_type: ONNX operator.
            inputs: None where one is absent.
            role: what a node beside the main one does; the main one has the name of the tensor
                that the operator writes.
            attributes: of the node.
        """
        return self.emit_many(op_type, *inputs, count=1, role=role, **attributes)[0]

    def emit_many(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        count: int,
        role: str = "",
        **attributes: Attribute,
    ) -> tuple[ir.Value, ...]:
        """Adds a node with several outputs; see `emit`."""
        name = f"{self.name}_{role}" if role else self.name
        names = [f"{self.name}_{role or op_type.lower()}"] * count
        try:
            return self.builder.add_node(op_type, inputs, names, attributes, name)
        except ModelError as error:
            raise self.fault(str(error)) from error.__cause__

    def follow(self, *positions: int) -> Layout:
        """The layout for an operator that can work in either: that of its inputs.

        Args:
            positions: inputs that are feature maps.
        """
        ranks = [self.rank(position) for position in positions]
        highest = max(ranks, default=0)
        if highest not in IMAGE_RANKS:
            return Layout.OWN
        computed = [
            self.index(position)
            for position, rank in zip(positions, ranks, strict=True)
            if rank == highest and self.tensors.is_computed(self.index(position))
        ]
        there = [i for i in computed if self.tensors.has(i, Layout.CHANNELS_FIRST)]
        if there:
            return Layout.CHANNELS_FIRST if 2 * len(there) >= len(computed) else Layout.OWN
        is_wanted = any(index in self.tensors.wanted for index in self.operator.outputs)
        return Layout.CHANNELS_FIRST if is_wanted and len(computed) == 1 else Layout.OWN

    def write(self, value: ir.Value, layout: Layout = Layout.OWN, position: int = 0) -> None:
        """Says that a value is what the operator writes.

        Args:
            value: of the graph; it takes the tensor's name.
            layout: of the value.
            position: of the output.
        """
        stored = self.stored_output(position)
        expected = ir.DataType.from_numpy(graph_type(stored))
        if value.dtype != expected:
            if ir.DataType.FLOAT in (value.dtype, expected):
                raise self.fault(f"writes a tensor of type {stored.type}, which cannot be.")
            value = self.emit("Cast", value, role=f"cast{position}", to=int(expected))
        quant, moved = feature_quant(stored), stated_feature(value)
        if quant is not None and moved is not None and moved != quant:
            value = self._with_integers_kept(value, moved, quant)
        self.tensors.define(self.operator.outputs[position], value, layout)

    def _with_integers_kept(
        self, value: ir.Value, given: FeatureQuant, quant: FeatureQuant
    ) -> ir.Value:
        """What integers that were moved stand for under another scale.

        An operator that moves elements copies integers, whatever the two tensors' scales.
        """
        factor = self.constant(np.array(quant.scale / given.scale, np.float32), "factor")
        offset = quant.scale * (given.zero_point - quant.zero_point)
        shift = self.constant(np.array(offset, np.float32), "shift")
        scaled = self.emit("Mul", value, factor, role="rescaled")
        state_feature(scaled, None)
        return self.emit("Add", scaled, shift, role="reread")

    def write_array(self, array: Array) -> None:
        """Says that what the operator writes is constant."""
        self.tensors.set_array(self.operator.outputs[0], array)
