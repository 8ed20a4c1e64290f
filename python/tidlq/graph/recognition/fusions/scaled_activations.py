"""An activation with numbers behind it that multiply and add.

What: a function of one tensor and the scalar products, quotients and sums behind it become one
    layer, run by a single table.
When: a network learns a gain and a shift behind its activations, or an activation is scaled.
Before -> After: `Add(Mul(HardSwish(x), 1.3), -0.2)` -> one FUNCTION layer, under the last node's
    name, with gain 1.3 and shift -0.2.
Numerics: one rounding, of the result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from tidlq.graph.element_functions import (
    Float64,
    hard_sigmoid,
    leaky_relu,
    relu,
    sigmoid,
)
from tidlq.graph.layers import FunctionAttributes, Layer
from tidlq.graph.recognition.fusions.activations import KNOWN_FUNCTIONS
from tidlq.graph.recognition.fusions.regions import (
    PROBES,
    Region,
    is_close,
    regions_ending_at,
)
from tidlq.graph.recognition.reading import NodeReader
from tidlq.spec import Fusion


def fuse_scaled_activation(node: NodeReader, left_out: Collection[Fusion]) -> Layer | None:
    """The scaled activation that ends at a node, if there is one.

    Args:
        node: the last of its nodes.
        left_out: fusions that are switched off.
    """
    if Fusion.SCALED_ACTIVATION in left_out:
        return None
    for region in regions_ending_at(node):
        values = region.probe() if len(region.nodes) > 1 else None
        if values is None or not np.isfinite(values).all():
            continue
        for attributes, function in _functions(region, left_out):
            scaled = _scaled(attributes, values, function)
            if scaled is not None:
                return region.layer(scaled)
    return None


def _functions(
    region: Region, left_out: Collection[Fusion]
) -> Iterator[tuple[FunctionAttributes, Float64]]:
    """Functions that a region may scale, with their values at the probes."""
    for item in KNOWN_FUNCTIONS:
        if item.fusion not in left_out:
            yield item.attributes, item.function(PROBES)
    first = region.nodes[0]
    match first.op_type:
        case "Relu":
            yield FunctionAttributes("Relu"), relu(PROBES)
        case "Sigmoid":
            yield FunctionAttributes("Sigmoid"), sigmoid(PROBES)
        case "Tanh":
            yield FunctionAttributes("Tanh"), np.tanh(PROBES)
        case "HardSigmoid":
            alpha, beta = first.real("alpha", 0.2), first.real("beta", 0.5)
            parameters = (("alpha", alpha), ("beta", beta))
            yield FunctionAttributes("HardSigmoid", parameters), hard_sigmoid(PROBES, alpha, beta)
        case "LeakyRelu":
            alpha = first.real("alpha", 0.01)
            yield FunctionAttributes("LeakyRelu", (("alpha", alpha),)), leaky_relu(PROBES, alpha)
        case _:
            return


def _scaled(
    attributes: FunctionAttributes, values: Float64, function: Float64
) -> FunctionAttributes | None:
    """The gain and the shift with which a function gives the values; None where none does."""
    low, high = int(np.argmin(function)), int(np.argmax(function))
    gain = float((values[high] - values[low]) / (function[high] - function[low]))
    shift = float(values[low] - gain * function[low])
    if gain == 0 or not is_close(values, gain * function + shift):
        return None
    return replace(attributes, gain=gain, shift=shift)
