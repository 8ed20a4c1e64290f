"""Reductions over any axes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tidlq.graph.layers import Layer, LayerKind, Reduction, ReductionAttributes
from tidlq.graph.recognition import pools
from tidlq.graph.recognition.functions import refuse_stated
from tidlq.graph.recognition.reading import NodeReader, RefusedError

REDUCTIONS: Mapping[str, Reduction] = MappingProxyType(
    {
        "ReduceMean": Reduction.MEAN,
        "ReduceSum": Reduction.SUM,
        "ReduceMax": Reduction.GREATEST,
        "ReduceMin": Reduction.LEAST,
        "ReduceL1": Reduction.SUM_OF_MAGNITUDES,
        "ReduceL2": Reduction.ROOT_OF_SQUARES,
        "ReduceSumSquare": Reduction.SUM_OF_SQUARES,
    }
)
"""What the engine reduces by."""

_POOLED = (Reduction.MEAN, Reduction.GREATEST)
_MOST = 2**28


def recognise_reduction(node: NodeReader) -> Layer:
    """A reduction over any constant axes, or over none."""
    # Means and maxima over the spatial axes of a feature map are pools.
    shape = node.float_shape(node.feature(0))
    listed = node.listed(1, "axes", "axes")
    every = () if node.integer("noop_with_empty_axes", 0) else range(len(shape))
    axes = tuple(sorted({node.axis(a, len(shape)) for a in listed or every}))
    reduction = REDUCTIONS[node.op_type]
    is_spatial = len(axes) + 2 == len(shape) and 1 <= len(axes) <= 2 and 0 not in axes
    if is_spatial and reduction in _POOLED:
        return pools.recognise_reduction(node)
    refuse_stated(node)
    count = 1
    for axis in axes:
        count *= shape[axis]
    if count > _MOST:
        raise RefusedError(f"it reduces {count} elements to one, the engine takes up to {_MOST}")
    return node.layer(LayerKind.REDUCTION, ReductionAttributes(axes, reduction))
