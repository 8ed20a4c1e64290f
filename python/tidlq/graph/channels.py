"""How the weight of a layer meets the channels of its input, all kinds seen as convolutions."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import ConvolutionAttributes, Layer, LayerKind

Number = TypeVar("Number", bound=np.number)


def input_axis(layer: Layer) -> int:
    """The axis of a layer's input along which its weight's input channels lie."""
    return -1 if layer.kind is LayerKind.INNER_PRODUCT else 1


def group_count(layer: Layer, weight: NDArray[np.number]) -> int:
    """Groups of a layer with a weight; a batch-norm has one per channel."""
    if layer.kind is LayerKind.BATCH_NORM:
        return len(weight)
    return layer.attributes.groups if isinstance(layer.attributes, ConvolutionAttributes) else 1


def in_taps(weight: NDArray[Number]) -> NDArray[Number]:
    """A weight as [C_out, C_in / groups, taps]; that of a batch-norm is [C, 1, 1]."""
    return weight.reshape(len(weight), *(weight.shape[1:2] or (1,)), -1)
