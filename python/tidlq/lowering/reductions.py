"""Lowering of reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tidlq.graph.layers import Layer, Reduction, ReductionAttributes
from tidlq.lowering import network_pb2 as pb
from tidlq.lowering.builder import Layout, NetworkBuilder, permuted
from tidlq.lowering.requantize import by_ratio
from tidlq.lowering.twice_rounded import by_double
from tidlq.spec import FeatureQuant, Requantization

_KINDS: Mapping[Reduction, pb.Reduce.Kind.ValueType] = MappingProxyType(
    {
        Reduction.SUM: pb.Reduce.KIND_SUM,
        Reduction.MEAN: pb.Reduce.KIND_SUM,
        Reduction.SUM_OF_MAGNITUDES: pb.Reduce.KIND_MAGNITUDES,
        Reduction.SUM_OF_SQUARES: pb.Reduce.KIND_SQUARES,
        Reduction.ROOT_OF_SQUARES: pb.Reduce.KIND_ROOT_OF_SQUARES,
        Reduction.GREATEST: pb.Reduce.KIND_GREATEST,
        Reduction.LEAST: pb.Reduce.KIND_LEAST,
    }
)


def _reduced_layout(shape: tuple[int, ...], axes: tuple[int, ...], written: Layout) -> Layout:
    """The input's own layout if its reduced axes are neighbours, else one with them last."""
    order = [axis for axis in written if shape[axis] > 1]
    places = [place for place, axis in enumerate(order) if axis in axes]
    if not places or places[-1] - places[0] + 1 == len(places):
        return written
    return (*(axis for axis in written if axis not in axes), *axes)


def _requantize(
    reduction: Reduction,
    count: int,
    mode: Requantization,
    source: FeatureQuant,
    target: FeatureQuant,
) -> pb.Requantize:
    if reduction is Reduction.ROOT_OF_SQUARES:
        return by_double(np.array([source.scale / target.scale]), target)
    factors: tuple[float, ...] = (source.scale,)
    if reduction is Reduction.SUM_OF_SQUARES:
        factors = (source.scale, source.scale)
    if reduction is Reduction.MEAN:
        factors = (source.scale / count,)
    return by_ratio(mode, [factors], target)


def lower_reduction(builder: NetworkBuilder, layer: Layer) -> None:
    """Any reduction, as one over the middle axis of three."""
    assert isinstance(layer.attributes, ReductionAttributes)
    axes, reduction = layer.attributes.axes, layer.attributes.reduction
    source, target = builder.feature(layer.inputs[0]), builder.feature(layer.output)
    shape, out = builder.shape(layer.inputs[0]), builder.shape(layer.output)
    layout = _reduced_layout(shape, axes, builder.any_layout(layer.inputs[0]))
    places = [place for place, axis in enumerate(layout) if axis in axes and shape[axis] > 1]
    first = places[0] if places else 0
    count = math.prod(shape[axis] for axis in axes)
    sizes = permuted(shape, layout)
    outer = math.prod(sizes[:first])
    inner = math.prod(sizes) // outer // count
    x = builder.integer(layer.inputs[0], layout)
    x = builder.reshape(f"{layer.name}/rows", x, (outer, count, inner), source)
    reduced = builder.add_tensor(f"{layer.name}/reduced", (outer, inner), target)
    op = builder.add_layer(layer.name, [x], reduced).reduce
    op.kind = _KINDS[reduction]
    if not reduction.selects:
        mode = builder.plan.layers[layer.name].requantization
        op.requantize.CopyFrom(_requantize(reduction, count, mode, source, target))
    after = layout
    if len(out) != len(shape):
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        after = tuple(kept.index(axis) for axis in layout if axis not in axes)
    index = builder.reshape(layer.output, reduced, permuted(out, after), target)
    builder.place_integer(layer.output, index, after)
