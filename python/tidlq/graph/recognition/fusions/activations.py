"""Activations that exporters spell out: SiLU, hard swish, Mish, GELU.

What: nodes that compute a known function of one tensor become one layer, run by a single table.
When: an exporter writes `x * sigmoid(x)`, `x * clip(x + 3, 0, 6) / 6`, `x * tanh(softplus(x))`,
    `x / 2 * (1 + erf(x / sqrt(2)))` or GELU's approximation by tanh, in whatever order.
Before -> After: `Mul(x, Sigmoid(x))` -> one FUNCTION layer `Swish`, under the last node's name.
Numerics: the function is rounded once; the gate and the product have no rounding of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from tidlq.graph.element_functions import Float64, gelu, hard_swish, mish, swish
from tidlq.graph.layers import FunctionAttributes, Layer
from tidlq.graph.recognition.fusions.regions import PROBES, is_close, regions_ending_at
from tidlq.graph.recognition.reading import NodeReader
from tidlq.spec import Fusion

QUICK_GELU = 1.7020000219345093  # float32(1.702)


@dataclass(frozen=True)
class KnownFunction:
    """A function that nodes may spell out.

    Attributes:
        fusion: switches it.
        attributes: as a layer says it.
        function: of float64 [n].
    """

    fusion: Fusion
    attributes: FunctionAttributes
    function: Callable[[Float64], Float64]


KNOWN_FUNCTIONS = (
    KnownFunction(Fusion.SILU, FunctionAttributes("Swish", (("alpha", 1.0),)), swish),
    KnownFunction(
        Fusion.SILU,
        FunctionAttributes("Swish", (("alpha", QUICK_GELU),)),
        partial(swish, alpha=QUICK_GELU),
    ),
    KnownFunction(Fusion.HARD_SWISH, FunctionAttributes("HardSwish"), hard_swish),
    KnownFunction(Fusion.MISH, FunctionAttributes("Mish"), mish),
    KnownFunction(Fusion.GELU, FunctionAttributes("Gelu", (("by_tanh", 0.0),)), gelu),
    KnownFunction(
        Fusion.GELU, FunctionAttributes("Gelu", (("by_tanh", 1.0),)), partial(gelu, by_tanh=1.0)
    ),
)


def fuse_activation(node: NodeReader, left_out: Collection[Fusion]) -> Layer | None:
    """The activation that ends at a node, if there is one.

    Args:
        node: the last of its nodes.
        left_out: fusions that are switched off.
    """
    known = [item for item in KNOWN_FUNCTIONS if item.fusion not in left_out]
    for region in regions_ending_at(node):
        values = region.probe()
        for item in known:
            if values is not None and is_close(values, item.function(PROBES)):
                return region.layer(item.attributes)
    return None
