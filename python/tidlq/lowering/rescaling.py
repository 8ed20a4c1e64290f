"""A tensor in the scale of another, for layers whose inputs and output share one."""

from __future__ import annotations

from tidlq.graph.layers import Layer, LayerKind
from tidlq.lowering.builder import NetworkBuilder
from tidlq.lowering.functions import requantization_table
from tidlq.lowering.requantize import by_ratio
from tidlq.lowering.tflite_tables import joined_table, raw_table
from tidlq.spec import FeatureQuant, Requantization


def rescaled(builder: NetworkBuilder, layer: Layer, name: str, x: int, source: FeatureQuant) -> int:
    """An input in the quantization of the layer's output.

    LiteRT moves and compares integers as they are, but for CONCATENATION of unsigned ones.

    Args:
        builder: of the Network.
        layer: reads the input.
        name: of the new tensor, if one is needed.
        x: index of the input.
        source: its quantization.

    Returns:
        Index of the input or of the new tensor.
    """
    target = builder.feature(layer.output)
    if source == target:
        return x
    mode = builder.plan.layers[layer.name].requantization
    scaled = builder.add_tensor(name, builder.network.tensors[x].shape, target)
    added = builder.add_layer(f"{layer.name}/rescale", [x], scaled)
    if mode is Requantization.TWICE_ROUNDED:
        is_mixed = layer.kind is LayerKind.CONCAT and not target.type.signed
        added.lookup.value.extend((joined_table if is_mixed else raw_table)(source, target))
    elif mode is Requantization.FLOAT:
        added.lookup.value.extend(requantization_table(source, target))
    else:
        added.rescale.requantize.CopyFrom(by_ratio(mode, [(source.scale,)], target))
    return scaled
