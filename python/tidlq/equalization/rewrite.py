"""Carrying out an equalization on a Graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.equalization.groups import CHANNEL_AXIS, ChannelGroup
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.layers import BatchNormAttributes, InnerProductAttributes, Layer
from tidlq.graph.model import Graph
from tidlq.graph.paged_weights import with_paged_weights
from tidlq.graph.parameters import layer_parameters, operand_index
from tidlq.spec import Equalization

Float64 = NDArray[np.float64]


def input_channels(layer: Layer, weight: NDArray[np.floating]) -> tuple[int, int]:
    """Groups of a layer with a weight, and input channels per group."""
    return group_count(layer, weight), in_taps(weight).shape[1]


def scaled_inputs(layer: Layer, weight: NDArray[np.floating], factors: Float64) -> Float64:
    """The weight [C_out, C_in / groups, ...] with the columns of each input channel multiplied."""
    groups, per_group = input_channels(layer, weight)
    blocks = weight.reshape(groups, len(weight) // groups, per_group, -1)
    return np.asarray(blocks * factors.reshape(groups, 1, per_group, 1)).reshape(weight.shape)


def by_output(values: Float64, rank: int) -> Float64:
    """Values per output channel in a shape that multiplies a weight."""
    return values.reshape(-1, *([1] * (rank - 1)))


def equalize(graph: Graph, groups: Iterable[ChannelGroup], equalization: Equalization) -> Graph:
    """A Graph that computes the same with rescaled channels.

    Where a Clip is to have a bound of its own for each channel, which no operator has, it is
    carried out as two: with c the channels' bounds and C the largest one, clip(z, 0, c) is
    clip(c - clip(c - z, 0, C), 0, C). The layer computes c - z, by negated weights, and a
    batch-norm of gain -1 follows. Both have the scale of the feature map, so that nothing is lost.

    Args:
        graph: the canonical Graph; it stays as it is.
        groups: its channel groups.
        equalization: factors for the producers of some of these groups.
    """
    if not equalization:
        return graph
    groups = tuple(groups)
    inputs, outputs = _factors_by_layer(groups, equalization)
    model = graph.model.clone()
    editor = _Editor(graph, replace(graph, model=model))
    layers = {x.name: x for group in groups for x in (*group.producers, *group.consumers)}
    for name, layer in layers.items():
        if name in inputs or name in outputs:
            editor.rescale(layer, inputs.get(name), outputs.get(name))
    for group in groups:
        factors = outputs.get(group.producers[0].name)
        if factors is not None:
            for layer in group.shifted:
                editor.divide_operand(layer, factors)
            for layer, tensor in group.restored:
                editor.restore(layer, tensor, factors)
    for name, bound in equalization.bounds.items():
        editor.bound_channels(layers[name], outputs[name], bound)
    editor.remove_unused_constants()
    return with_paged_weights(replace(graph, model=model))


def _factors_by_layer(
    groups: Iterable[ChannelGroup], equalization: Equalization
) -> tuple[dict[str, Float64], dict[str, Float64]]:
    inputs: dict[str, Float64] = {}
    outputs: dict[str, Float64] = {}
    for group in groups:
        given = equalization.factors.get(group.producers[0].name)
        if given is None:
            continue
        factors = np.asarray(given, np.float64)
        inputs |= dict.fromkeys((layer.name for layer in group.consumers), factors)
        outputs |= dict.fromkeys((layer.name for layer in group.producers), factors)
    return inputs, outputs


class _Editor:
    """Edits a copy of a model, by the layers of the original."""

    def __init__(self, original: Graph, copy: Graph) -> None:
        self.original = original
        self.graph = copy.model.graph
        self.nodes = {node.name or "": node for node in self.graph}
        self._taken = {*original.values, *self.nodes}
        self._added: set[str] = set()

    def rescale(self, layer: Layer, inputs: Float64 | None, outputs: Float64 | None) -> None:
        if isinstance(layer.attributes, BatchNormAttributes):
            self._rescale_batch_norm(layer, layer.attributes, inputs, outputs)
            return
        parameters = layer_parameters(self.original, layer)
        weight, bias = parameters.weight.astype(np.float64), parameters.bias
        if inputs is not None:
            weight = scaled_inputs(layer, weight, inputs)
        if outputs is not None:
            weight = weight / by_output(outputs, weight.ndim)
            bias = None if bias is None else bias / outputs
        self._set_weight(layer, weight)
        if bias is not None and outputs is not None:
            self._set_bias(layer, bias)

    def _rescale_batch_norm(
        self,
        layer: Layer,
        norm: BatchNormAttributes,
        inputs: Float64 | None,
        outputs: Float64 | None,
    ) -> None:
        gain = np.float64(1) if inputs is None else inputs
        loss = np.float64(1) if outputs is None else outputs
        changed = (
            (norm.scale, self._constant(norm.scale) * gain / loss),
            (norm.shift, self._constant(norm.shift) / loss),
            (norm.mean, self._constant(norm.mean) / gain),
        )
        for index, (name, values) in enumerate(changed, start=1):
            self._set_input(layer, self.nodes[layer.nodes[0]], index, name, values)

    def divide_operand(self, layer: Layer, factors: Float64) -> None:
        """Divides the constant operand of a sum by the factors."""
        index = operand_index(self.original, layer)
        assert index is not None, layer.name
        name = layer.inputs[index]
        rank = len(self.original.shape(layer.output) or ())
        values = self._constant(name) / factors.reshape(-1, *([1] * (rank - CHANNEL_AXIS - 1)))
        self._set_input(layer, self.nodes[layer.nodes[0]], index, name, values)

    def restore(self, layer: Layer, tensor: str, factors: Float64) -> None:
        """Gives a layer its input multiplied by the factors, by a batch-norm before it."""
        node = self.nodes[layer.nodes[0]]
        index = next(i for i, x in enumerate(node.inputs) if x is not None and x.name == tensor)
        source = node.inputs[index]
        assert source is not None
        name = self._fresh(f"{layer.name}/restored")
        channels = {
            "gain": factors,
            "shift": np.zeros(len(factors)),
            "mean": np.zeros(len(factors)),
            "variance": np.ones(len(factors)),
        }
        constants = [
            self._add_constant(f"{name}/{key}", values.astype(np.float32))
            for key, values in channels.items()
        ]
        norm = ir.node(
            "BatchNormalization",
            [source, *constants],
            attributes={"epsilon": 0.0},
            name=name,
        )
        output = norm.outputs[0]
        output.name = self._fresh(f"{tensor}/restored@{layer.name}")
        output.shape, output.type = source.shape, source.type
        self.graph.insert_before(node, [norm])
        node.replace_input_with(index, output)

    def bound_channels(self, layer: Layer, factors: Float64, largest: float) -> None:
        """Turns the Clip behind a convolution into one with a bound per channel."""
        clamp = layer.clamp
        assert clamp is not None, layer.name
        assert clamp.high is not None, layer.name
        bounds = np.minimum(clamp.high / factors, largest)
        parameters = layer_parameters(self.original, layer)
        weight = self._current(layer)
        bias = np.zeros(len(weight)) if parameters.bias is None else parameters.bias / factors
        self._set_weight(layer, -weight)
        self._set_bias(layer, bounds - bias)
        self._replace_clips(layer, bounds, largest)

    def _replace_clips(self, layer: Layer, bounds: Float64, largest: float) -> None:
        source = self.nodes[layer.nodes[0]].outputs[0]
        clips = [self.nodes[name] for name in layer.nodes[1:]]
        output = clips[-1].outputs[0]
        prefix = f"{layer.output}/bound"
        low = self._add_constant(f"{prefix}/low", np.float32(0))
        high = self._add_constant(f"{prefix}/high", np.float32(largest))
        channels = {
            "gain": -np.ones(len(bounds)),
            "shift": bounds,
            "mean": np.zeros(len(bounds)),
            "variance": np.ones(len(bounds)),
        }
        constants = [
            self._add_constant(f"{prefix}/{key}", values.astype(np.float32))
            for key, values in channels.items()
        ]
        name = self._fresh(f"{layer.name}/bound")
        # The options may name what is replaced: the successors answer to that.
        first = clips[0].name if len(clips) > 1 else self._fresh(f"{name}/distance")
        distance = ir.node("Clip", [source, low, high], name=first)
        norm = ir.node(
            "BatchNormalization",
            [distance.outputs[0], *constants],
            attributes={"epsilon": 0.0},
            name=name,
        )
        last = ir.node("Clip", [norm.outputs[0], low, high], name=clips[-1].name)
        for node in (distance, norm, last):
            node.outputs[0].shape, node.outputs[0].type = output.shape, output.type
        distance.outputs[0].name = self._fresh(f"{prefix}/distance")
        norm.outputs[0].name = self._fresh(f"{prefix}/mirrored")
        for reader, index in tuple(output.uses()):
            reader.replace_input_with(index, last.outputs[0])
        last.outputs[0].name, output.name = output.name, self._fresh(f"{prefix}/replaced")
        self.graph.insert_before(clips[0], [distance, norm, last])
        # What stood between the convolution and its last Clip bounds values that are mirrored now.
        self.graph.remove(clips[::-1], safe=True)

    # --- constants

    def remove_unused_constants(self) -> None:
        """Drops the weights that have been replaced."""
        constants = self.graph.initializers
        replaced = [n for n, value in constants.items() if not tuple(value.uses())]
        for name in replaced:
            if not constants[name].is_graph_output():
                del constants[name]

    def _constant(self, name: str) -> Float64:
        array = self.original.constant(name)
        assert array is not None, name
        return np.asarray(array, np.float64)

    def _current(self, layer: Layer) -> Float64:
        """The weight of a convolution as it stands in the copy."""
        value = self.nodes[layer.nodes[0]].inputs[1]
        assert value is not None, layer.name
        assert value.const_value is not None, layer.name
        return np.asarray(value.const_value.numpy(), np.float64)

    def _set_weight(self, layer: Layer, weight: Float64) -> None:
        assert layer.weight is not None
        if isinstance(layer.attributes, InnerProductAttributes):
            if layer.attributes.alpha == 0:
                return
            stored = weight / layer.attributes.alpha
            weight = stored if layer.attributes.transposed else stored.T
        self._set_input(layer, self.nodes[layer.nodes[0]], 1, layer.weight, weight)

    def _set_bias(self, layer: Layer, bias: Float64) -> None:
        if layer.bias is None:
            name = f"{layer.name}/bias"
            self._set_input(layer, self.nodes[layer.nodes[0]], 2, name, bias)
            return
        attributes = layer.attributes
        beta = attributes.beta if isinstance(attributes, InnerProductAttributes) else 1.0
        if beta == 0:
            return
        shape = self._constant(layer.bias).shape
        stored = bias / beta
        if int(np.prod(shape)) == len(stored):
            stored = stored.reshape(shape)
        self._set_input(layer, *self._bias_place(layer), layer.bias, stored)

    def _bias_place(self, layer: Layer) -> tuple[ir.Node, int]:
        """The node that adds a layer's bias, and which input of it the bias is."""
        node = self.nodes[layer.nodes[0]]
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            return node, 2
        node = self.nodes[layer.nodes[1]]
        places = (i for i, x in enumerate(node.inputs) if x is not None and x.name == layer.bias)
        return node, next(places)

    def _set_input(
        self, layer: Layer, node: ir.Node, index: int, name: str, values: Float64
    ) -> None:
        """Gives an input of a node a constant of its own; others may read the old one."""
        array = np.asarray(values.astype(np.float32), order="C")
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        current = node.inputs[index]
        if current is not None and current.name in self._added:
            current.const_value = ir.tensor(array, name=current.name)
            return
        node.replace_input_with(index, self._add_constant(f"{name}@{layer.name}", array))

    def _add_constant(self, name: str, values: NDArray[np.float32] | np.float32) -> ir.Value:
        name = self._fresh(name)
        self._added.add(name)
        tensor = ir.tensor(np.asarray(values, order="C"), name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(np.shape(values)),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        return value

    def _fresh(self, name: str) -> str:
        """A name that neither a tensor nor a node has."""
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name
