"""Bits and signs of features and parameters, as the options ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tidlq.errors import OptionError, nearest_names
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import operand_index
from tidlq.graph.partition import Partition
from tidlq.precision.wide_pre_activations import find_wide_pre_activations
from tidlq.spec import Fusion, Precision
from tidlq.target import Options, TidlLayerType, is_asymmetric

_PARAMETERS = "advanced_options:params_16bit_names_list"
_FEATURES = "advanced_options:output_feature_16bit_names_list"


def precision_of(options: Options, graph: Graph, partition: Partition) -> Precision:
    """The precision that the options ask for: `tensor_bits` everywhere but in the named layers.

    A layer whose output features have 16 bits has 16-bit parameters too. Layers that hand values on
    (reshape, max pool and the like) share the precision of what they read. What only functions read
    has 16 bits, unless that is left out.

    Args:
        options: `tensor_bits` 8 or 16, `output_feature_16bit_names_list` and
            `params_16bit_names_list`: layers by their name or their first output's name.
        graph: the canonical Graph.
        partition: its stages.

    Raises:
        OptionError: A name is not a layer's, or the layer runs in float, or is to have 16-bit
            parameters and has none.
    """
    parameters: dict[str, int] = {}
    for layer in _named(_PARAMETERS, options.params_16bit_names_list, graph, partition):
        if not _has_parameters(graph, layer):
            raise OptionError(
                f"option {_PARAMETERS!r} names layer {layer.name!r} ({layer.op_type}), which has "
                "no parameters."
            )
        parameters[layer.name] = 16
    wide = _named(_FEATURES, options.output_feature_16bit_names_list, graph, partition)
    features = _sharing(partition, {layer.output for layer in wide})
    for layer in partition.layers:
        if layer.output in features and _has_parameters(graph, layer):
            parameters[layer.name] = 16
    if options.tensor_bits == 8 and Fusion.WIDE_PRE_ACTIVATION not in options.left_out:
        inner = find_wide_pre_activations(graph, partition)
        features |= inner
        # One gain per channel, all of one scale: with 8 bits the smallest ones would be lost.
        gains = [x for x in partition.layers if x.kind is LayerKind.BATCH_NORM]
        parameters |= {layer.name: 16 for layer in gains if layer.output in inner}
    return Precision(options.tensor_bits, dict.fromkeys(sorted(features), 16), parameters)


def _has_parameters(graph: Graph, layer: Layer) -> bool:
    return layer.weight is not None or operand_index(graph, layer) is not None


def _sharing(partition: Partition, tensors: set[str]) -> set[str]:
    """The tensors, and all that share their quantization with one of them."""
    found = set(tensors)
    while True:
        before = len(found)
        for layer in partition.layers:
            if layer.keeps_quantization and found & {layer.inputs[0], layer.output}:
                found |= {layer.inputs[0], layer.output}
        if len(found) == before:
            return found


def _named(
    option: str, names: Iterable[str], graph: Graph, partition: Partition
) -> tuple[Layer, ...]:
    layers = _layers_by_name(graph, partition)
    floats = {
        name: node.name for node in partition.float_nodes for name in (*node.outputs[:1], node.name)
    }
    for name in names:
        if name in floats and name not in layers:
            raise OptionError(
                f"option {option!r} names layer {name!r}, which runs in float; only fixed-point "
                "layers have 16 bits."
            )
        if name not in layers:
            raise OptionError(
                f"option {option!r} names layer {name!r}, which the network does not have."
                f"{nearest_names(name, sorted({*layers, *floats} - {''}))}"
            )
    return tuple(layers[name] for name in names)


def asymmetry_of(options: Options) -> Callable[[LayerKind | None], bool]:
    """The device's restriction of asymmetric features, by kind of layer."""
    types = {
        LayerKind.CONVOLUTION: TidlLayerType.CONVOLUTION,
        LayerKind.INNER_PRODUCT: TidlLayerType.INNER_PRODUCT,
        LayerKind.CONCAT: TidlLayerType.CONCAT,
        LayerKind.SUM: TidlLayerType.ELTWISE,
        LayerKind.SOFTMAX: TidlLayerType.SOFTMAX,
    }
    return lambda kind: (
        options.device is None or (kind in types and is_asymmetric(types[kind], options.device))
    )


def _layers_by_name(graph: Graph, partition: Partition) -> dict[str, Layer]:
    """Fixed-point layers by their name, their output's, and their leading node's output's."""
    first_outputs = {node.name: node.outputs[0].name for node in graph.nodes if node.outputs}
    layers = {layer.name: layer for layer in partition.layers}
    for layer in partition.layers:
        for alias in (layer.output, first_outputs.get(layer.nodes[0])):
            if alias:
                layers.setdefault(alias, layer)
    return layers
