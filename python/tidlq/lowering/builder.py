"""The Network under construction, and where each tensor of the Graph lives in it.

A tensor's physical layout is a permutation: physical axis i holds logical axis layout[i]. Layers
ask for a tensor in the layout that their meaning needs; a layout change is emitted only then, and
only when it moves elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.model import Graph
from tidlq.lowering import network_pb2 as pb
from tidlq.spec import FeatureQuant, IntegerType, QuantPlan, Requantization

Layout = tuple[int, ...]

_ELEMENT_TYPES = {
    IntegerType(8, signed=False): pb.ELEMENT_TYPE_U8,
    IntegerType(8, signed=True): pb.ELEMENT_TYPE_S8,
    IntegerType(16, signed=False): pb.ELEMENT_TYPE_U16,
    IntegerType(16, signed=True): pb.ELEMENT_TYPE_S16,
}


def identity(rank: int) -> Layout:
    """The layout of ONNX: axes in their logical order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Layout:
    """(N, C, spatial...) stored as (N, spatial..., C)."""
    return (0, *range(2, rank), 1)


def is_same_memory(shape: Sequence[int], one: Layout, other: Layout) -> bool:
    """Two layouts of a shape give the same element order: they differ in axes of size 1 only."""
    return [a for a in one if shape[a] != 1] == [a for a in other if shape[a] != 1]


def permuted(values: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Logical values per axis in physical order."""
    return tuple(values[axis] for axis in layout)


@dataclass(frozen=True)
class Placed:
    """A form of a tensor in the Network: its index and its layout."""

    index: int
    layout: Layout


class NetworkBuilder:
    """Emits tensors and layers; remembers every form of every Graph tensor.

    Args:
        graph: gives shapes.
        plan: gives each feature's quantization.
        name: the Network's name.
        joined_in_float: outputs of concats that only leave the Network: their inputs are
            dequantized first, each by its own scale.
    """

    def __init__(
        self,
        graph: Graph,
        plan: QuantPlan,
        name: str,
        joined_in_float: frozenset[str] = frozenset(),
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.joined_in_float = joined_in_float
        self.network = pb.Network(name=name, graph_fingerprint=graph.fingerprint)
        self._integer: dict[str, list[Placed]] = {}
        self._float: dict[str, list[Placed]] = {}
        self._tensor_names: set[str] = set()
        self._layer_names: set[str] = set()

    def shape(self, name: str) -> tuple[int, ...]:
        """Logical shape of a Graph tensor."""
        shape = self.graph.shape(name)
        assert shape is not None, name
        return shape

    def feature(self, name: str) -> FeatureQuant:
        """Quantization of a Graph tensor."""
        return self.plan.features[name]

    # --- emission

    def add_tensor(
        self,
        name: str,
        shape: Sequence[int],
        quant: FeatureQuant | None,
        constant: NDArray[np.generic] | None = None,
    ) -> int:
        """A new tensor: integer with a quantization, float32 without."""
        tensor = self.network.tensors.add(name=_unique(name, self._tensor_names), shape=shape)
        if quant is None:
            tensor.element_type = pb.ELEMENT_TYPE_F32
        else:
            tensor.element_type = _ELEMENT_TYPES[quant.type]
            tensor.scale = quant.scale
            tensor.zero_point = quant.zero_point
        if constant is not None:
            dtype = quant.type.dtype.newbyteorder("<") if quant else np.dtype("<f4")
            tensor.constant = np.ascontiguousarray(constant, dtype).tobytes()
        return len(self.network.tensors) - 1

    def add_positions(self, name: str, shape: Sequence[int], bits: int) -> int:
        """A new tensor of positions, which have no scale; 32 or 64 bits."""
        tensor = self.network.tensors.add(name=_unique(name, self._tensor_names), shape=shape)
        tensor.element_type = pb.ELEMENT_TYPE_S64 if bits == 64 else pb.ELEMENT_TYPE_S32
        return len(self.network.tensors) - 1

    def add_layer(self, name: str, inputs: Sequence[int], output: int) -> pb.Layer:
        """A new layer whose operator the caller fills in."""
        return self.network.layers.add(
            name=_unique(name, self._layer_names), inputs=inputs, output=output
        )

    # --- forms

    def place_integer(self, name: str, index: int, layout: Layout) -> None:
        """Records an integer form of a Graph tensor."""
        self._integer.setdefault(name, []).append(Placed(index, layout))

    def place_float(self, name: str, index: int, layout: Layout) -> None:
        """Records a form of a Graph tensor in float, or as the positions that it holds."""
        self._float.setdefault(name, []).append(Placed(index, layout))

    def new_integer(self, name: str, layout: Layout) -> int:
        """A tensor for a layer's output, recorded as an integer form."""
        index = self.add_tensor(name, permuted(self.shape(name), layout), self.feature(name))
        self.place_integer(name, index, layout)
        return index

    def new_output(self, name: str, layout: Layout) -> int:
        """A tensor for a layer's output: float32 where the plan does not quantize it."""
        if name in self.plan.features:
            return self.new_integer(name, layout)
        index = self.add_tensor(f"{name}/float", permuted(self.shape(name), layout), None)
        self.place_float(name, index, layout)
        return index

    def is_float_only(self, name: str) -> bool:
        """The tensor exists in float and nobody has asked for its integers."""
        return name in self._float and name not in self._integer

    @property
    def integer_forms(self) -> Mapping[str, Placed]:
        """The first integer form of every Graph tensor that has one."""
        return {name: forms[0] for name, forms in self._integer.items()}

    @property
    def float_forms(self) -> Mapping[str, Placed]:
        """The first float form of every Graph tensor that has one."""
        return {name: forms[0] for name, forms in self._float.items()}

    def forms_of(self, name: str) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
        """The integer forms and the float forms of a Graph tensor, in the order of their making."""
        return tuple(self._integer.get(name, ())), tuple(self._float.get(name, ()))

    def any_layout(self, name: str) -> Layout:
        """The layout in which the tensor was written."""
        forms = self._integer.get(name) or self._float[name]
        return forms[0].layout

    def integer(self, name: str, layout: Layout | None = None) -> int:
        """Index of an integer form, in the given layout or in the one it was written in."""
        if name not in self._integer:
            source = self._float[name][0]
            shape = permuted(self.shape(name), source.layout)
            index = self.add_tensor(name, shape, self.feature(name))
            quantize = self.add_layer(f"{name}/quantize", [source.index], index).quantize
            mode = self.plan.scheme.requantization
            quantize.half_away = mode is Requantization.TWICE_ROUNDED
            quantize.SetInParent()
            self.place_integer(name, index, source.layout)
        return self._in_layout(name, self._integer[name], layout, self.feature(name))

    def round_float(self, name: str) -> None:
        """Quantizes a tensor that was written in float, for all that read it from here on."""
        self.integer(name)
        del self._float[name]

    def floating(self, name: str, layout: Layout) -> int:
        """Index of a float form in the given layout."""
        if name not in self._float:
            source = self.integer(name, layout)
            index = self.add_tensor(f"{name}/float", permuted(self.shape(name), layout), None)
            self.add_layer(f"{name}/dequantize", [source], index).dequantize.SetInParent()
            self.place_float(name, index, layout)
        return self._in_layout(name, self._float[name], layout, None)

    def _in_layout(
        self, name: str, forms: list[Placed], layout: Layout | None, quant: FeatureQuant | None
    ) -> int:
        if layout is None:
            return forms[0].index
        for form in forms:
            if form.layout == layout:
                return form.index
        shape = self.shape(name)
        index = self.change_layout(name, forms[0], shape, layout, quant)
        forms.append(Placed(index, layout))
        return index

    def change_layout(
        self,
        name: str,
        source: Placed,
        shape: Sequence[int],
        layout: Layout,
        quant: FeatureQuant | None,
    ) -> int:
        """Emits the Transpose (or, where no element moves, the Reshape) between two layouts."""
        physical = permuted(shape, layout)
        if physical == permuted(shape, source.layout) and is_same_memory(
            shape, source.layout, layout
        ):
            return source.index
        suffix = "".join(map(str, layout))
        index = self.add_tensor(f"{name}/layout-{suffix}", physical, quant)
        layer = self.add_layer(f"{name}/layout-{suffix}", [source.index], index)
        if is_same_memory(shape, source.layout, layout):
            layer.reshape.SetInParent()
        else:
            layer.transpose.perm.extend(source.layout.index(axis) for axis in layout)
        return index

    def reshape(
        self, name: str, source: int, shape: Sequence[int], quant: FeatureQuant | None
    ) -> int:
        """Emits a Reshape to a physical shape, unless it has that shape already."""
        if tuple(self.network.tensors[source].shape) == tuple(shape):
            return source
        index = self.add_tensor(name, shape, quant)
        self.add_layer(name, [source], index).reshape.SetInParent()
        return index


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name or "unnamed", 1
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    taken.add(candidate)
    return candidate
