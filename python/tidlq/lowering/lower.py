"""QuantPlan to Network: one function per kind of layer, in execution order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage
from tidlq.lowering import (
    deformable,
    elementwise,
    gathers,
    movement,
    order,
    powers,
    reductions,
    rows,
    sampling,
    scatters,
    spatial,
    weighted,
)
from tidlq.lowering.builder import NetworkBuilder, identity
from tidlq.lowering.forms import float_joins
from tidlq.lowering.network_pb2 import Network
from tidlq.spec import QuantPlan

_LOWERINGS: Mapping[LayerKind, Callable[[NetworkBuilder, Layer], None]] = MappingProxyType(
    {
        LayerKind.CONVOLUTION: weighted.lower_convolution,
        LayerKind.TRANSPOSED_CONVOLUTION: weighted.lower_transposed_convolution,
        LayerKind.DEFORMABLE_CONVOLUTION: deformable.lower_deformable_convolution,
        LayerKind.INNER_PRODUCT: weighted.lower_inner_product,
        LayerKind.BATCH_NORM: weighted.lower_batch_norm,
        LayerKind.PRELU: weighted.lower_prelu,
        LayerKind.CLAMP: elementwise.lower_clamp,
        LayerKind.FUNCTION: elementwise.lower_function,
        LayerKind.SUM: elementwise.lower_sum,
        LayerKind.PRODUCT: elementwise.lower_product,
        LayerKind.DIVISION: elementwise.lower_division,
        LayerKind.POWER: powers.lower_power,
        LayerKind.EXTREMUM: elementwise.lower_extremum,
        LayerKind.SOFTMAX: elementwise.lower_softmax,
        LayerKind.MATRIX_PRODUCT: rows.lower_matrix_product,
        LayerKind.NORMALIZATION: rows.lower_normalization,
        LayerKind.MAX_POOL: spatial.lower_pool,
        LayerKind.AVERAGE_POOL: spatial.lower_pool,
        LayerKind.RESIZE: spatial.lower_resize,
        LayerKind.WINDOWED_RESIZE: spatial.lower_windowed_resize,
        LayerKind.GRID_SAMPLE: sampling.lower_grid_sample,
        LayerKind.CONCAT: movement.lower_concat,
        LayerKind.RESHAPE: movement.lower_reshape,
        LayerKind.TRANSPOSE: movement.lower_transpose,
        LayerKind.PAD: movement.lower_pad,
        LayerKind.SLICE: movement.lower_slice,
        LayerKind.GATHER: gathers.lower_gather,
        LayerKind.SCATTER: scatters.lower_scatter,
        LayerKind.SCATTERED_PRODUCT: scatters.lower_scattered_product,
        LayerKind.REARRANGEMENT: gathers.lower_rearrangement,
        LayerKind.REDUCTION: reductions.lower_reduction,
        LayerKind.TOP_K: order.lower_top_k,
        LayerKind.POSITIONS: order.lower_positions,
    }
)


def lower_stage(graph: Graph, stage: Stage, plan: QuantPlan, name: str) -> Network:
    """The integer program of one fixed stage.

    Its inputs and outputs are float32 in ONNX's layout, in the stage's order, but for positions,
    which are integers; quantization and dequantization are layers of the program. Integer tensors
    keep their Graph names, float32 forms end in `/float`. A concat that leaves the stage, at once
    or after layers that only move elements, joins float32 forms: boxes and scores of a detector
    need not share a scale. A plan
    that the model states has it as the model does.

    Args:
        graph: the canonical Graph.
        stage: a fixed stage of its partition.
        plan: the decisions for its tensors and layers.
        name: the Network's name.
    """
    return build_stage(graph, stage, plan, name).network


def build_stage(graph: Graph, stage: Stage, plan: QuantPlan, name: str) -> NetworkBuilder:
    """The same, with the record of where each tensor of the Graph lives in the Network."""
    builder = open_stage(graph, stage, plan, name)
    for layer in stage.layers:
        lower_layer(builder, layer)
    close_stage(builder, stage)
    return builder


def open_stage(graph: Graph, stage: Stage, plan: QuantPlan, name: str) -> NetworkBuilder:
    """A stage's inputs, before any layer."""
    builder = NetworkBuilder(graph, plan, name, float_joins(graph, stage, plan))
    for tensor in stage.inputs:
        shape = builder.shape(tensor)
        index = builder.add_tensor(f"{tensor}/float", shape, None)
        builder.place_float(tensor, index, identity(len(shape)))
        builder.network.inputs.append(index)
    return builder


def lower_layer(builder: NetworkBuilder, layer: Layer) -> None:
    """Emits one layer; its inputs are there already."""
    _LOWERINGS[layer.kind](builder, layer)


def close_stage(builder: NetworkBuilder, stage: Stage) -> None:
    """A stage's outputs, after all layers."""
    for tensor in stage.outputs:
        rank = len(builder.shape(tensor))
        builder.network.outputs.append(builder.floating(tensor, identity(rank)))
