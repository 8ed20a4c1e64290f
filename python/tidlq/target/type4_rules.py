"""Which layers a device runs with asymmetric features under quantization_scale_type 4."""

from __future__ import annotations

from tidlq.target.devices import Device
from tidlq.target.tidl_layers import TidlLayerType

_ASYMMETRIC_LAYERS = frozenset(
    {
        TidlLayerType.CONVOLUTION,
        TidlLayerType.INNER_PRODUCT,
        TidlLayerType.SOFTMAX,
        TidlLayerType.CONCAT,
        TidlLayerType.FLATTEN,
        TidlLayerType.RESHAPE,
        TidlLayerType.TRANSPOSE,
        TidlLayerType.ELTWISE,
        TidlLayerType.LAYER_NORM,
    }
)


def is_asymmetric(
    layer_type: TidlLayerType, device: Device | None, *, constant_weights: bool = True
) -> bool:
    """Says whether the outputs of a layer may have a zero point other than 0.

    The network's inputs are the outputs of `TidlLayerType.DATA`.

    Args:
        layer_type: the layer's type.
        device: the device that the plan is for; None puts no restriction on any layer.
        constant_weights: an inner product's second operand is a constant, not a feature.

    Returns:
        True when the layer's outputs may be asymmetric, False when they stay symmetric per tensor.
    """
    if device is None:
        return True
    if not device.facts.asymmetric:
        return False
    if layer_type is TidlLayerType.INNER_PRODUCT and not constant_weights:
        return False
    return layer_type in _ASYMMETRIC_LAYERS
