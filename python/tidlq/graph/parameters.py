"""Parameters of a layer in the form that the engine multiplies by, still in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import (
    BatchNormAttributes,
    ConvolutionAttributes,
    InnerProductAttributes,
    Layer,
    LayerKind,
    ProductAttributes,
)
from tidlq.graph.model import Graph

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False)
class LayerParameters:
    """Float parameters, output channels first.

    Attributes:
        weight: float32 or float64 [C_out, ...]. Convolution of either kind (C_out, C_in / groups,
            *kernel), inner product (N, K), batch-norm (C,), PReLU's slope (its elements,). Weights
            that are used as they stand are the model's own array.
        bias: float64 [C_out], or None where the layer has none.
    """

    weight: NDArray[np.floating]
    bias: NDArray[np.float64] | None


def _constant(graph: Graph, name: str) -> NDArray[np.float64]:
    array = graph.constant(name)
    assert array is not None, name
    return np.asarray(array, np.float64)


def _float_constant(graph: Graph, name: str) -> NDArray[np.floating]:
    array = graph.constant(name)
    assert array is not None, name
    if np.issubdtype(array.dtype, np.floating):
        return np.asarray(array)
    return np.asarray(array, np.float64)


def exchanged_channels(weight: NDArray[Number], groups: int) -> NDArray[Number]:
    """The weight of a transposed convolution between its two forms, either way.

    Args:
        weight: (C_in, C_out / groups, *kernel) or (C_out, C_in / groups, *kernel).
        groups: of the convolution.

    Returns:
        The other form.
    """
    first, second = weight.shape[:2]
    parts = weight.reshape(groups, first // groups, second, *weight.shape[2:])
    return parts.swapaxes(1, 2).reshape(second * groups, first // groups, *weight.shape[2:])


def layer_parameters(graph: Graph, layer: Layer) -> LayerParameters:
    """Reads and, for Gemm and batch-norm, folds a layer's constants.

    Raises:
        ValueError: The layer has no weight.
    """
    if layer.weight is None:
        raise ValueError(f"layer {layer.name!r} has no weight")
    weight: NDArray[np.floating] = _float_constant(graph, layer.weight)
    bias = None if layer.bias is None else _constant(graph, layer.bias).reshape(-1)
    match layer.attributes:
        case InnerProductAttributes(transposed, alpha, beta):
            weight = weight if transposed else weight.T
            if alpha != 1.0:
                weight = np.float64(alpha) * weight.astype(np.float64)
            if bias is not None:
                bias = np.broadcast_to(beta * bias, weight.shape[:1])
        case BatchNormAttributes() as norm:
            gain = weight.astype(np.float64) / np.sqrt(
                _constant(graph, norm.variance) + norm.epsilon
            )
            assert bias is not None
            return LayerParameters(gain, bias - _constant(graph, norm.mean) * gain)
        case ConvolutionAttributes() if layer.kind is LayerKind.TRANSPOSED_CONVOLUTION:
            weight = exchanged_channels(weight, layer.attributes.groups)
        case _ if layer.kind is LayerKind.PRELU:
            weight = weight.reshape(-1)
    return LayerParameters(weight, bias)


_WITH_OPERAND = (
    LayerKind.SUM,
    LayerKind.PRODUCT,
    LayerKind.DIVISION,
    LayerKind.SCATTERED_PRODUCT,
)


def operand_index(graph: Graph, layer: Layer) -> int | None:
    """Which input of a sum, product of any kind or quotient is constant, if any."""
    if layer.kind not in _WITH_OPERAND:
        return None
    for index, name in enumerate(layer.inputs):
        if graph.constant(name) is not None:
            return index
    return None


def operand_values(graph: Graph, layer: Layer) -> NDArray[np.float64] | None:
    """The constant operand; the divisor of a product with a reciprocal is inverted."""
    index = operand_index(graph, layer)
    if index is None:
        return None
    values = _constant(graph, layer.inputs[index])
    if isinstance(layer.attributes, ProductAttributes) and layer.attributes.reciprocal:
        return np.asarray(1.0 / values, np.float64)
    return values
