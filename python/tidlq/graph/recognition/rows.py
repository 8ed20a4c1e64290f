"""Layers that compute with whole rows: products of two feature maps, normalizations."""

from __future__ import annotations

from tidlq.graph.layers import (
    Layer,
    LayerKind,
    NormalizationAttributes,
)
from tidlq.graph.recognition.reading import NodeReader, RefusedError
from tidlq.spec import Requantization

_BATCH_AND_CHANNELS = 2


def _check_statements(node: NodeReader, inputs: tuple[str, ...]) -> None:
    """What a pre-quantized model does not state at all ends runs in float."""
    stated = node.graph.stated
    if stated is None:
        return
    is_whole = all(name in stated.features for name in (*inputs, node.outputs[0]))
    if not is_whole or stated.requantization is Requantization.TWICE_ROUNDED:
        raise RefusedError("the engine has no integer kernel for it as the model states it")


def recognise_matrix_product(node: NodeReader) -> Layer:
    """MatMul of two feature maps."""
    _check_statements(node, node.inputs)
    return node.layer(LayerKind.MATRIX_PRODUCT, inputs=(node.feature(0), node.feature(1)))


def _parameters(node: NodeReader, size: int) -> tuple[str | None, str | None]:
    """The names of gain and shift, whose sizes are checked."""
    names = (node.optional(1), node.optional(2))
    for index, what in ((1, "gain"), (2, "shift")):
        if node.has_input(index) and node.constant(index, what).size not in (1, size):
            raise RefusedError(f"its {what} does not have the size of what it normalizes")
    return names


def recognise_layer_norm(node: NodeReader) -> Layer:
    """LayerNormalization and RMSNormalization with constant gain and shift."""
    _check_statements(node, node.inputs[:1])
    shape = node.float_shape(node.feature(0))
    first = node.axis(node.integer("axis", -1), len(shape))
    axes = tuple(range(first, len(shape)))
    size = 1
    for axis in axes:
        size *= shape[axis]
    gain, shift = _parameters(node, size)
    attributes = NormalizationAttributes(
        axes,
        node.real("epsilon", 1e-5),
        centred=node.op_type == "LayerNormalization",
        gain=gain,
        shift=shift,
    )
    return node.layer(LayerKind.NORMALIZATION, attributes)


def recognise_instance_norm(node: NodeReader) -> Layer:
    """InstanceNormalization with constant gain and shift."""
    _check_statements(node, node.inputs[:1])
    shape = node.float_shape(node.feature(0))
    if len(shape) <= _BATCH_AND_CHANNELS:
        raise RefusedError("its input has no places")
    gain, shift = _parameters(node, shape[1])
    axes = tuple(range(2, len(shape)))
    attributes = NormalizationAttributes(
        axes, node.real("epsilon", 1e-5), gain=gain, shift=shift, is_per_channel=True
    )
    return node.layer(LayerKind.NORMALIZATION, attributes)
