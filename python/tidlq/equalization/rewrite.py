"""Carrying out an equalization on a Graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.equalization.groups import ChannelGroup
from tidlq.graph.layers import BatchNormAttributes, InnerProductAttributes, Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.spec import Equalization

Float64 = NDArray[np.float64]


def input_channels(layer: Layer, weight: NDArray[np.floating]) -> tuple[int, int]:
    """Groups of a layer with a weight, and input channels per group."""
    if layer.kind is LayerKind.BATCH_NORM:
        return len(weight), 1
    groups = getattr(layer.attributes, "groups", 1)
    return groups, weight.shape[1]


def scaled_inputs(layer: Layer, weight: Float64, factors: Float64) -> Float64:
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
    inputs, outputs = _factors_by_layer(groups, equalization)
    model = ir.serde.deserialize_model(ir.serde.serialize_model(graph.model))
    editor = _Editor(graph, replace(graph, model=model))
    layers = {x.name: x for group in groups for x in (*group.producers, *group.consumers)}
    for name, layer in layers.items():
        if name in inputs or name in outputs:
            editor.rescale(layer, inputs.get(name), outputs.get(name))
    for name, bound in equalization.bounds.items():
        editor.bound_channels(layers[name], outputs[name], bound)
    editor.remove_unused_constants()
    return replace(graph, model=model)


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
        self.nodes = {node.name: node for node in self.graph}

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
        changed = {
            norm.scale: self._constant(norm.scale) * gain / loss,
            norm.mean: self._constant(norm.mean) / gain,
            norm.shift: self._constant(norm.shift) / loss,
        }
        for name, values in changed.items():
            self._replace_constant(layer, name, values)

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
        self._add_second_clip(layer, bounds, largest)

    def _add_second_clip(self, layer: Layer, bounds: Float64, largest: float) -> None:
        clip = next(n for n in self.graph if any(o.name == layer.output for o in n.outputs))
        output, source = clip.outputs[0], clip.inputs[0]
        assert source is not None, layer.name
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
        distance = ir.node("Clip", [source, low, high], name=f"{layer.name}/bound/distance")
        norm = ir.node(
            "BatchNormalization",
            [distance.outputs[0], *constants],
            attributes={"epsilon": 0.0},
            name=f"{layer.name}/bound",
        )
        last = ir.node("Clip", [norm.outputs[0], low, high], name=f"{layer.name}/bound/clip")
        for node, name in ((distance, "/distance"), (norm, "/mirrored"), (last, "")):
            value = node.outputs[0]
            value.name = f"{prefix}{name}" if name else output.name
            value.shape, value.type = output.shape, output.type
        for reader, index in tuple(output.uses()):
            reader.replace_input_with(index, last.outputs[0])
        output.name = f"{prefix}/replaced"
        self.graph.insert_before(clip, [distance, norm, last])
        self.graph.remove(clip, safe=True)

    # --- constants

    def remove_unused_constants(self) -> None:
        """Drops the weights that have been replaced."""
        constants = self.graph.initializers
        for name in [n for n, value in constants.items() if not tuple(value.uses())]:
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
            stored = weight / layer.attributes.alpha
            weight = stored if layer.attributes.transposed else stored.T
        self._replace_constant(layer, layer.weight, weight)

    def _set_bias(self, layer: Layer, bias: Float64) -> None:
        if layer.bias is None:
            constant = self._add_constant(f"{layer.name}/bias", bias.astype(np.float32))
            node = self.nodes[layer.nodes[0]]
            node.resize_inputs(3)
            node.replace_input_with(2, constant)
            return
        attributes = layer.attributes
        beta = attributes.beta if isinstance(attributes, InnerProductAttributes) else 1.0
        shape = self._constant(layer.bias).shape
        size = int(np.prod(shape))
        stored = bias / beta
        self._replace_constant(
            layer, layer.bias, stored.reshape(shape) if size == len(stored) else stored
        )

    def _replace_constant(self, layer: Layer, name: str, values: Float64) -> None:
        """Gives the nodes of a layer a constant of their own; others may read the old one."""
        constant = self._add_constant(f"{name}@{layer.name}", values.astype(np.float32))
        for node in (self.nodes[member] for member in layer.nodes):
            for index, value in enumerate(node.inputs):
                if value is not None and value.name in (name, constant.name):
                    node.replace_input_with(index, constant)

    def _add_constant(self, name: str, values: NDArray[np.float32] | np.float32) -> ir.Value:
        tensor = ir.tensor(np.asarray(values, order="C"), name=name)
        value = self.graph.initializers.get(name)
        if value is None:
            value = ir.Value(
                name=name,
                shape=ir.Shape(np.shape(values)),
                type=ir.TensorType(tensor.dtype),
                const_value=tensor,
            )
            self.graph.register_initializer(value)
        value.const_value = tensor
        return value
