"""Between a network's layers and a quantization proto: what is written, what is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters, operand_values
from tidlq.graph.partition import Partition, StageKind
from tidlq.quantproto.matching import ExpectedLayer, ExpectedTensor
from tidlq.quantproto.model import Provenance, SavedLayer, SavedRanges, SavedTensor, tidl_scale
from tidlq.spec import (
    FeatureQuant,
    LayerQuant,
    ParameterQuant,
    ParameterRole,
    QuantPlan,
    Range,
    RangeOrigin,
    Ranges,
    parameter_name,
)
from tidlq.target import TidlLayerType

_TYPES: Mapping[LayerKind, TidlLayerType] = MappingProxyType(
    {
        LayerKind.CONVOLUTION: TidlLayerType.CONVOLUTION,
        LayerKind.TRANSPOSED_CONVOLUTION: TidlLayerType.DECONVOLUTION,
        LayerKind.DEFORMABLE_CONVOLUTION: TidlLayerType.DEFORMABLE_CONVOLUTION,
        LayerKind.INNER_PRODUCT: TidlLayerType.INNER_PRODUCT,
        LayerKind.BATCH_NORM: TidlLayerType.BATCH_NORM,
        LayerKind.PRELU: TidlLayerType.PRELU,
        LayerKind.SUM: TidlLayerType.ELTWISE,
        LayerKind.PRODUCT: TidlLayerType.ELTWISE,
        LayerKind.DIVISION: TidlLayerType.ELTWISE,
        LayerKind.EXTREMUM: TidlLayerType.ELTWISE,
        LayerKind.REDUCTION: TidlLayerType.REDUCE,
        LayerKind.MAX_POOL: TidlLayerType.POOLING,
        LayerKind.AVERAGE_POOL: TidlLayerType.POOLING,
        LayerKind.CONCAT: TidlLayerType.CONCAT,
        LayerKind.TRANSPOSE: TidlLayerType.TRANSPOSE,
        LayerKind.PAD: TidlLayerType.PAD,
        LayerKind.SLICE: TidlLayerType.SLICE,
        LayerKind.GATHER: TidlLayerType.GATHER,
        LayerKind.SCATTER: TidlLayerType.SCATTER_ELEMENTS,
        LayerKind.SCATTERED_PRODUCT: TidlLayerType.SCATTER_ELEMENTS,
        LayerKind.REARRANGEMENT: TidlLayerType.RESHAPE,
        LayerKind.RESIZE: TidlLayerType.RESIZE,
        LayerKind.WINDOWED_RESIZE: TidlLayerType.RESIZE,
        LayerKind.GRID_SAMPLE: TidlLayerType.GRID_SAMPLE,
        LayerKind.SOFTMAX: TidlLayerType.SOFTMAX,
        LayerKind.TOP_K: TidlLayerType.TOP_K,
        LayerKind.POSITIONS: TidlLayerType.ARG_MAX,
        LayerKind.MATRIX_PRODUCT: TidlLayerType.INNER_PRODUCT,
        LayerKind.NORMALIZATION: TidlLayerType.LAYER_NORM,
    }
)
_NAMED_ALIKE = (
    *("Floor", "Pow", "Sin", "Sinh", "Asin", "Asinh", "Cos", "Cosh", "Acos", "Tan", "Atan"),
)
_TYPES_BY_OPERATOR: Mapping[str, TidlLayerType] = MappingProxyType(
    {
        "Relu": TidlLayerType.RELU,
        "Clip": TidlLayerType.CLIP,
        "Identity": TidlLayerType.IDENTITY,
        "Sigmoid": TidlLayerType.SIGMOID,
        "Tanh": TidlLayerType.TANH,
        "HardSigmoid": TidlLayerType.HARD_SIGMOID,
        "HardSwish": TidlLayerType.HARD_SWISH,
        "LeakyRelu": TidlLayerType.LEAKY_RELU,
        "Abs": TidlLayerType.ABS,
        "Elu": TidlLayerType.ELU,
        "Exp": TidlLayerType.EXP,
        "Gelu": TidlLayerType.GELU,
        "InstanceNormalization": TidlLayerType.INSTANCE_NORM,
        "Mish": TidlLayerType.MISH,
        # TIDL runs a sigmoid and a product, whose output this is.
        "Swish": TidlLayerType.ELTWISE,
        "Log": TidlLayerType.LOG,
        "Neg": TidlLayerType.NEG,
        "Sqrt": TidlLayerType.SQRT,
        **{name: TidlLayerType[name.upper()] for name in _NAMED_ALIKE},
        "Flatten": TidlLayerType.FLATTEN,
        "Reshape": TidlLayerType.RESHAPE,
        "Squeeze": TidlLayerType.SQUEEZE,
        "Unsqueeze": TidlLayerType.UNSQUEEZE,
        "ReduceMean": TidlLayerType.REDUCE_MEAN,
        "DepthToSpace": TidlLayerType.DEPTH_TO_SPACE,
        "SpaceToDepth": TidlLayerType.SPACE_TO_DEPTH,
        "Pad": TidlLayerType.PAD,
        "Resize": TidlLayerType.RESIZE,
        "Upsample": TidlLayerType.RESIZE,
        "ScatterElements": TidlLayerType.SCATTER_ELEMENTS,
        "ScatterND": TidlLayerType.SCATTER_ELEMENTS,
        "GridSample": TidlLayerType.GRID_SAMPLE,
        "TopK": TidlLayerType.TOP_K,
    }
)


def tidl_type(layer: Layer) -> TidlLayerType:
    """TIDL's type of a layer."""
    named = _TYPES_BY_OPERATOR.get(layer.op_type) or _TYPES.get(layer.kind)
    # TIDL names no type for what is left of the functions; its own tables are batch-norms.
    return named or TidlLayerType.BATCH_NORM


def data_layers(partition: Partition) -> Iterator[tuple[str, str]]:
    """(layer name, tensor) of every tensor that enters a fixed stage from outside."""
    taken = {layer.name for layer in partition.layers}
    written = {layer.output for layer in partition.layers}
    seen: set[str] = set()
    for stage in partition.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        for tensor in stage.inputs:
            if tensor not in seen and tensor not in written:
                seen.add(tensor)
                yield (f"{tensor}:data" if tensor in taken else tensor), tensor


def _feature_tensor(
    graph: Graph, name: str, known: Range | None, quant: FeatureQuant | None
) -> SavedTensor:
    """A feature map; one that stays float32 has neither a range nor a scale."""
    shape = graph.shape(name) or ()
    if quant is None:
        return SavedTensor(name, None, int(np.prod(shape, dtype=np.int64)), is_float=True)
    return SavedTensor(
        name=name,
        range=known,
        size=int(np.prod(shape, dtype=np.int64)),
        type=quant.type,
        scales=(tidl_scale(quant.scale),),
        zero_points=(quant.zero_point,),
    )


def feature_ranges(partition: Partition, ranges: Ranges) -> dict[str, Range]:
    """Ranges of all features; a layer that only moves or selects values has its input's."""
    known = dict(ranges.features)
    for layer in partition.layers:
        if layer.keeps_quantization and layer.inputs[0] in known:
            known[layer.output] = known[layer.inputs[0]]
    return known


def to_saved(
    graph: Graph,
    partition: Partition,
    ranges: Ranges,
    plan: QuantPlan,
    provenance: Provenance | None,
    digests: Mapping[str, str] | None = None,
) -> SavedRanges:
    """Everything that a later compilation of the same graph needs instead of data.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        ranges: what data decided.
        plan: the decisions.
        provenance: where the ranges come from.
        digests: of the parameters as the model has them, by layer.
    """
    known = feature_ranges(partition, ranges)
    layers = [
        SavedLayer(
            name=name,
            layer_type=TidlLayerType.DATA.value,
            outputs=(_feature_tensor(graph, tensor, known[tensor], plan.features[tensor]),),
            bit_depth=plan.features[tensor].type.bits,
        )
        for name, tensor in data_layers(partition)
    ]
    layers += [_saved_layer(graph, layer, ranges, known, plan) for layer in partition.layers]
    found = digests or {}
    return SavedRanges(
        layers=tuple(replace(x, parameter_digest=found.get(x.name, "")) for x in layers),
        symmetric=not plan.scheme.asymmetric_features,
        per_channel=plan.scheme.channel_wise,
        provenance=provenance,
    )


def _saved_layer(
    graph: Graph,
    layer: Layer,
    ranges: Ranges,
    known: Mapping[str, Range],
    plan: QuantPlan,
) -> SavedLayer:
    quant = plan.layers[layer.name]
    weights: tuple[SavedTensor, ...] = ()
    bias: tuple[SavedTensor, ...] = ()
    slope: tuple[SavedTensor, ...] = ()
    if layer.weight is not None and quant.weight is not None:
        parameters = layer_parameters(graph, layer)
        role = ParameterRole.SLOPE if layer.kind is LayerKind.PRELU else ParameterRole.WEIGHT
        tensor = _parameter(layer, role, parameters.weight.size, ranges, quant.weight)
        weights, slope = ((), (tensor,)) if role is ParameterRole.SLOPE else ((tensor,), ())
        if quant.bias:
            scales = quant.weight.scales
            has_step = len(scales) == 1 and layer.kind.has_weight
            step = plan.features[layer.inputs[0]].scale * scales[0] if has_step else None
            bias = (_bias(layer, quant.bias, ranges, step),)
    elif quant.operand is not None:
        name = parameter_name(layer.name, ParameterRole.WEIGHT)
        constant = operand_values(graph, layer)
        assert constant is not None
        weights = (
            SavedTensor(
                name=name,
                range=ranges.parameters[name],
                size=constant.size,
                type=quant.operand.type,
                scales=(tidl_scale(quant.operand.scale),),
                zero_points=(0,),
            ),
        )
    parameter_bits = _parameter_bits(quant)
    feature = plan.features.get(layer.output)
    bits = parameter_bits or 8 if feature is None else feature.type.bits
    return SavedLayer(
        name=layer.name,
        layer_type=tidl_type(layer).value,
        outputs=(_feature_tensor(graph, layer.output, known.get(layer.output), feature),),
        weights=weights,
        bias=bias,
        slope=slope,
        bit_depth=bits,
        parameter_bit_depth=None if parameter_bits in (None, bits) else parameter_bits,
        equalization=ranges.equalization.factors.get(layer.name, ()),
        equalization_bound=ranges.equalization.bounds.get(layer.name),
    )


def _parameter_bits(quant: LayerQuant) -> int | None:
    parameter = quant.weight or quant.operand
    return None if parameter is None else parameter.type.bits


def _parameter(
    layer: Layer, role: ParameterRole, size: int, ranges: Ranges, quant: ParameterQuant
) -> SavedTensor:
    name = parameter_name(layer.name, role)
    channels = tuple(ranges.channels.get(name, ()))
    # What the weights say themselves need not be saved.
    decided = any(channel.origin is not RangeOrigin.PARAMETER for channel in channels)
    return SavedTensor(
        name=name,
        range=ranges.parameters[name],
        size=size,
        channels=channels if decided and len(quant.scales) > 1 else (),
        type=quant.type,
        scales=tuple(map(tidl_scale, quant.scales)),
        zero_points=(0,),
    )


def _bias(
    layer: Layer, values: tuple[float, ...], ranges: Ranges, step: float | None
) -> SavedTensor:
    name = parameter_name(layer.name, ParameterRole.BIAS)
    return SavedTensor(
        name=name,
        range=_range_of_bias(values, ranges.parameters.get(name)),
        size=len(values),
        values=values,
        scales=() if step is None else (tidl_scale(step),),
        zero_points=() if step is None else (0,),
    )


def _range_of_bias(values: tuple[float, ...], known: Range | None) -> Range:
    """The range of a bias; a calibrated one is not the model's own."""
    own = Range(min(values), max(values), RangeOrigin.MEASURED)
    return known if known is not None and (known.min, known.max) == (own.min, own.max) else own


def expected_layers(
    partition: Partition, parameters: Ranges, unquantized: Collection[str] = ()
) -> tuple[ExpectedLayer, ...]:
    """What a proto must state to replace calibration.

    Args:
        partition: the stages of a Graph.
        parameters: parameter ranges as the graph itself has them; they tell which exist.
        unquantized: outputs of layers that need no range; one that is stated quantizes them.
    """
    expected = [
        ExpectedLayer(name, (ExpectedTensor(tensor),)) for name, tensor in data_layers(partition)
    ]
    for layer in partition.layers:

        def tensors(role: ParameterRole, layer: Layer = layer) -> tuple[ExpectedTensor, ...]:
            name = parameter_name(layer.name, role)
            if name not in parameters.parameters:
                return ()
            channels = len(parameters.channels.get(name, ()))
            return (ExpectedTensor(name, channels=channels),)

        expected.append(
            ExpectedLayer(
                layer.name,
                (ExpectedTensor(layer.output, is_optional=layer.output in unquantized),),
                weights=tensors(ParameterRole.WEIGHT),
                bias=_expected_bias(layer, parameters),
                slope=tensors(ParameterRole.SLOPE),
            )
        )
    return tuple(expected)


def _expected_bias(layer: Layer, parameters: Ranges) -> tuple[ExpectedTensor, ...]:
    """The bias of a layer, which calibration can also give to one that has none of its own."""
    if not layer.kind.has_output_channels:
        return ()
    name = parameter_name(layer.name, ParameterRole.BIAS)
    channels = parameters.channels[parameter_name(layer.name, ParameterRole.WEIGHT)]
    # A real bias has no part in scales; one that is not stated is the model's own.
    is_optional = name not in parameters.parameters or not layer.kind.has_weight
    return (ExpectedTensor(name, len(channels), is_optional=is_optional),)
