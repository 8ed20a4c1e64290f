"""Hypothesis strategies: Networks of one layer, of several, and frames for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from oracle.bigint.tensors import Array
from oracle.networks import (
    draws,
    element_layers,
    movement_layers,
    row_layers,
    sampling_layers,
    window_layers,
)
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

Append = Callable[[DrawFn, NetworkBuilder, int], int]

# Chains stop growing beyond this many elements, so that an example takes milliseconds.
_LARGEST_FEATURE = 4000


@dataclass(frozen=True)
class LayerKind:
    """How to append a layer of one kind, and which tensors it accepts.

    Attributes:
        append: adds the layer to a network after a tensor.
        ranks: ranks of that tensor.
        takes_integers: integer tensors are accepted.
        takes_floats: float32 tensors are accepted.
        takes_positions: tensors of positions are accepted.
    """

    append: Append
    ranks: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    takes_integers: bool = True
    takes_floats: bool = False
    takes_positions: bool = False

    def accepts(self, tensor: pb.Tensor) -> bool:
        """Whether a layer of this kind may read the tensor."""
        is_taken = self.takes_integers
        if tensor.element_type == pb.ELEMENT_TYPE_F32:
            is_taken = self.takes_floats
        elif tensor.element_type in (pb.ELEMENT_TYPE_S32, pb.ELEMENT_TYPE_S64):
            is_taken = self.takes_positions
        return len(tensor.shape) in self.ranks and is_taken


_FEATURES = (3, 4)
_NOT_SCALAR = (1, 2, 3, 4, 5)

LAYER_KINDS: Mapping[str, LayerKind] = {
    "quantize": LayerKind(element_layers.quantize, takes_integers=False, takes_floats=True),
    "dequantize": LayerKind(element_layers.dequantize),
    "rescale": LayerKind(element_layers.rescale),
    "convolution": LayerKind(window_layers.convolution, _FEATURES),
    "transposed_convolution": LayerKind(window_layers.transposed_convolution, _FEATURES),
    "inner_product": LayerKind(window_layers.inner_product, _NOT_SCALAR),
    "gather": LayerKind(movement_layers.gather, _NOT_SCALAR, takes_floats=True),
    "reduce": LayerKind(window_layers.reduce, (3,)),
    "top_k": LayerKind(movement_layers.top_k, (3,)),
    "division": LayerKind(element_layers.division),
    "power": LayerKind(element_layers.power),
    "scattered_product": LayerKind(element_layers.scattered_product),
    "sum": LayerKind(element_layers.sum_operands),
    "extremum": LayerKind(element_layers.extremum),
    "product": LayerKind(element_layers.product),
    "max_pool": LayerKind(window_layers.max_pool, _FEATURES),
    "average_pool": LayerKind(window_layers.average_pool, _FEATURES),
    "lookup": LayerKind(element_layers.lookup),
    "prelu": LayerKind(element_layers.prelu, _NOT_SCALAR),
    "concat": LayerKind(movement_layers.concat, _NOT_SCALAR, takes_floats=True),
    "reshape": LayerKind(movement_layers.reshape, takes_floats=True, takes_positions=True),
    "transpose": LayerKind(movement_layers.transpose, takes_floats=True),
    "pad": LayerKind(movement_layers.pad, _NOT_SCALAR),
    "slice": LayerKind(movement_layers.slice_axes, _NOT_SCALAR, takes_floats=True),
    "resize": LayerKind(movement_layers.resize, _FEATURES),
    "windowed_resize": LayerKind(movement_layers.windowed_resize, _FEATURES),
    "grid_sample": LayerKind(sampling_layers.grid_sample, (4,)),
    "deformable_convolution": LayerKind(sampling_layers.deformable_convolution, (4,)),
    "softmax": LayerKind(element_layers.softmax, _NOT_SCALAR),
    "matrix_product": LayerKind(row_layers.matrix_product, (2, 3, 4, 5)),
    "normalization": LayerKind(row_layers.normalization, _NOT_SCALAR),
    "integer_softmax": LayerKind(element_layers.integer_softmax, _NOT_SCALAR),
}


@st.composite
def single_layers(draw: DrawFn, kind: str) -> pb.Network:
    """A Network with one layer of a kind, on inputs of any type it accepts."""
    layer, net = LAYER_KINDS[kind], NetworkBuilder(kind)
    types = (*draws.INTEGER_TYPES,) if layer.takes_integers else ()
    if layer.takes_floats:
        types = (*types, pb.ELEMENT_TYPE_F32)
    source = _input(draw, net, draw(st.sampled_from(types)), draw(st.sampled_from(layer.ranks)))
    layer.append(draw, net, source)
    return net.finish()


@st.composite
def networks(draw: DrawFn, layers: int = 6) -> pb.Network:
    """A Network of up to `layers` layers of any kinds, each after any earlier tensor."""
    net = NetworkBuilder("random")
    tensors = [_input(draw, net, draw(draws.integer_types), draw(st.sampled_from((4, 4, 3, 2))))]
    for _ in range(draw(st.integers(1, layers))):
        source = draw(st.sampled_from([tensors[-1], tensors[-1], *tensors]))
        allowed = [name for name, kind in LAYER_KINDS.items() if kind.accepts(net.tensor(source))]
        output = LAYER_KINDS[draw(st.sampled_from(allowed))].append(draw, net, source)
        if math.prod(net.tensor(output).shape) <= _LARGEST_FEATURE:
            tensors.append(output)
    extra = [output for output in tensors[1:] if draws.one_in(draw, 4)]
    return net.finish(extra)


@st.composite
def frames(draw: DrawFn, network: pb.Network) -> dict[str, Array]:
    """One array per input of a Network, by name."""
    arrays: dict[str, Array] = {}
    for index in network.inputs:
        tensor = network.tensors[index]
        if tensor.element_type == pb.ELEMENT_TYPE_F32:
            arrays[tensor.name] = draws.float_values(draw, tensor.shape, _step(network, index))
        else:
            arrays[tensor.name] = draws.integer_values(draw, tensor.element_type, tensor.shape)
    return arrays


def _step(network: pb.Network, index: int) -> float:
    """The scale at which a float tensor is quantized, where it is."""
    for layer in network.layers:
        if layer.WhichOneof("op") == "quantize" and layer.inputs[0] == index:
            return float(network.tensors[layer.output].scale)
    return 1.0


def _input(draw: DrawFn, net: NetworkBuilder, element_type: int, rank: int) -> int:
    shape = draws.shapes(draw, rank)
    if element_type == pb.ELEMENT_TYPE_F32:
        return net.input(element_type, shape)
    scale, zero_point = draws.scales(draw), draws.zero_points(draw, element_type)
    return net.input(element_type, shape, scale, zero_point)
