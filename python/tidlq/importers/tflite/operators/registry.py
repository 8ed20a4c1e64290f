"""Which of TFLite's operators are imported, and how."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tidlq.importers.tflite.operators import (
    activations,
    blocks,
    convolutions,
    cuts,
    elementwise,
    indexing,
    inner_products,
    joins,
    pools,
    reductions,
    resizing,
    shapes,
    types,
)
from tidlq.importers.tflite.rewrite import Rewrite


class LayoutUse(enum.Enum):
    """In which order of axes an operator is written."""

    CHANNELS_FIRST = "channels first"
    FOLLOWS = "that of its inputs"
    OWN = "TFLite's own"


@dataclass(frozen=True)
class Importer:
    """How an operator is imported.

    Attributes:
        rewrite: adds the nodes that stand for it.
        onnx: the ONNX operators that it becomes, as the documentation lists them.
        layout: of what it writes.
        options: its options table; empty where it has no options that matter.
    """

    rewrite: Callable[[Rewrite], None]
    onnx: str
    layout: LayoutUse = LayoutUse.FOLLOWS
    options: str = ""


_FIRST, _OWN = LayoutUse.CHANNELS_FIRST, LayoutUse.OWN
_REDUCERS = {
    "MEAN": "ReduceMean",
    "REDUCE_ALL": "ReduceMin",
    "REDUCE_ANY": "ReduceMax",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd",
    "SUM": "ReduceSum",
}
_BINARY_OPTIONS = {
    "ADD": "AddOptions",
    "DIV": "DivOptions",
    "MUL": "MulOptions",
    "SUB": "SubOptions",
}

_LAYERS = {
    "AVERAGE_POOL_2D": Importer(pools.rewrite_pool, "AveragePool", _FIRST, "Pool2DOptions"),
    "BATCH_MATMUL": Importer(
        inner_products.rewrite_batch_matmul, "MatMul", _OWN, "BatchMatMulOptions"
    ),
    "CONV_2D": Importer(convolutions.rewrite_convolution, "Conv", _FIRST, "Conv2DOptions"),
    "CONV_3D": Importer(convolutions.rewrite_volume_convolution, "Conv", _FIRST, "Conv3DOptions"),
    "DEPTHWISE_CONV_2D": Importer(
        convolutions.rewrite_depthwise, "Conv", _FIRST, "DepthwiseConv2DOptions"
    ),
    "FULLY_CONNECTED": Importer(
        inner_products.rewrite_fully_connected, "Gemm", _OWN, "FullyConnectedOptions"
    ),
    "L2_POOL_2D": Importer(
        pools.rewrite_l2_pool, "Mul, AveragePool, Sqrt", _FIRST, "Pool2DOptions"
    ),
    "MAX_POOL_2D": Importer(pools.rewrite_pool, "MaxPool", _FIRST, "Pool2DOptions"),
    "TRANSPOSE_CONV": Importer(
        convolutions.rewrite_transposed, "ConvTranspose", _FIRST, "TransposeConvOptions"
    ),
}
_ACTIVATIONS = {
    "GELU": Importer(activations.rewrite_gelu, "Gelu", options="GeluOptions"),
    "L2_NORMALIZATION": Importer(
        activations.rewrite_l2_normalization, "LpNormalization", options="L2NormOptions"
    ),
    "LEAKY_RELU": Importer(activations.rewrite_leaky_relu, "LeakyRelu", options="LeakyReluOptions"),
    "LOCAL_RESPONSE_NORMALIZATION": Importer(
        activations.rewrite_local_response_normalization,
        "LRN",
        _FIRST,
        "LocalResponseNormalizationOptions",
    ),
    "LOG_SOFTMAX": Importer(activations.rewrite_softmax, "LogSoftmax"),
    "PRELU": Importer(activations.rewrite_prelu, "PRelu"),
    "RELU6": Importer(activations.rewrite_bounded, "Clip"),
    "RELU_0_TO_1": Importer(activations.rewrite_bounded, "Clip"),
    "RELU_N1_TO_1": Importer(activations.rewrite_bounded, "Clip"),
    "SOFTMAX": Importer(activations.rewrite_softmax, "Softmax", options="SoftmaxOptions"),
}
_ELEMENTWISE = {
    **{code: Importer(elementwise.rewrite_unary, op) for code, op in elementwise.UNARY.items()},
    **{
        code: Importer(elementwise.rewrite_binary, op, options=_BINARY_OPTIONS.get(code, ""))
        for code, op in elementwise.BINARY.items()
    },
    "ADD_N": Importer(elementwise.rewrite_add_n, "Sum"),
    "FLOOR_DIV": Importer(elementwise.rewrite_floor_div, "Div, Floor; of integers Mod, Sub, Div"),
    "FLOOR_MOD": Importer(elementwise.rewrite_floor_mod, "Mod; of floats corrected by Where"),
    "NOT_EQUAL": Importer(elementwise.rewrite_not_equal, "Equal, Not"),
    "RSQRT": Importer(elementwise.rewrite_rsqrt, "Sqrt, Reciprocal"),
    "SELECT": Importer(elementwise.rewrite_select, "Where"),
    "SELECT_V2": Importer(elementwise.rewrite_select, "Where"),
    "SQUARE": Importer(elementwise.rewrite_square, "Mul"),
    "SQUARED_DIFFERENCE": Importer(elementwise.rewrite_squared_difference, "Sub, Mul"),
}
_REDUCTIONS = {
    "ARG_MAX": Importer(reductions.rewrite_arg_extreme, "ArgMax", _OWN),
    "ARG_MIN": Importer(reductions.rewrite_arg_extreme, "ArgMin", _OWN),
    "CUMSUM": Importer(reductions.rewrite_cumsum, "CumSum", _OWN, "CumsumOptions"),
    **{
        code: Importer(reductions.rewrite_reduction, op, options="ReducerOptions")
        for code, op in _REDUCERS.items()
    },
}
_MOVING = {
    "BATCH_TO_SPACE_ND": Importer(
        blocks.rewrite_batch_to_space, "Reshape, Transpose, Reshape, Slice", _OWN
    ),
    "BROADCAST_TO": Importer(shapes.rewrite_broadcast_to, "Expand", _OWN),
    "CONCATENATION": Importer(
        joins.rewrite_concatenation, "Concat", options="ConcatenationOptions"
    ),
    "DEPTH_TO_SPACE": Importer(
        blocks.rewrite_depth_to_space, "DepthToSpace", _FIRST, "DepthToSpaceOptions"
    ),
    "EXPAND_DIMS": Importer(shapes.rewrite_expand_dims, "Reshape", _OWN),
    "FILL": Importer(shapes.rewrite_fill, "Expand", _OWN),
    "MIRROR_PAD": Importer(
        cuts.rewrite_mirror_pad, "Pad; Gather where the edge repeats", options="MirrorPadOptions"
    ),
    "PACK": Importer(joins.rewrite_pack, "Unsqueeze, Concat", _OWN, "PackOptions"),
    "PAD": Importer(cuts.rewrite_pad, "Pad"),
    "PADV2": Importer(cuts.rewrite_pad, "Pad"),
    "RANGE": Importer(shapes.rewrite_range, "a constant", _OWN),
    "RANK": Importer(shapes.rewrite_shape, "a constant", _OWN),
    "RESHAPE": Importer(shapes.rewrite_reshape, "Reshape", _OWN, "ReshapeOptions"),
    "RESIZE_BILINEAR": Importer(
        resizing.rewrite_bilinear, "Resize", _FIRST, "ResizeBilinearOptions"
    ),
    "RESIZE_NEAREST_NEIGHBOR": Importer(
        resizing.rewrite_nearest,
        "Resize; Gather where float32 scales round differently",
        _FIRST,
        "ResizeNearestNeighborOptions",
    ),
    "REVERSE_SEQUENCE": Importer(
        cuts.rewrite_reverse_sequence, "ReverseSequence", _OWN, "ReverseSequenceOptions"
    ),
    "REVERSE_V2": Importer(cuts.rewrite_reverse, "Slice"),
    "SHAPE": Importer(shapes.rewrite_shape, "a constant", _OWN),
    "SLICE": Importer(cuts.rewrite_slice, "Slice"),
    "SPACE_TO_BATCH_ND": Importer(
        blocks.rewrite_space_to_batch, "Pad, Reshape, Transpose, Reshape", _OWN
    ),
    "SPACE_TO_DEPTH": Importer(
        blocks.rewrite_space_to_depth, "SpaceToDepth", _FIRST, "SpaceToDepthOptions"
    ),
    "SPLIT": Importer(joins.rewrite_split, "Split"),
    "SPLIT_V": Importer(joins.rewrite_split_v, "Split"),
    "SQUEEZE": Importer(shapes.rewrite_squeeze, "Reshape", _OWN, "SqueezeOptions"),
    "STRIDED_SLICE": Importer(
        cuts.rewrite_strided_slice, "Slice, Reshape", options="StridedSliceOptions"
    ),
    "TILE": Importer(cuts.rewrite_tile, "Tile"),
    "TRANSPOSE": Importer(shapes.rewrite_transpose, "Transpose", _OWN),
    "UNPACK": Importer(joins.rewrite_unpack, "Split, Squeeze", _OWN, "UnpackOptions"),
    "ZEROS_LIKE": Importer(shapes.rewrite_zeros_like, "Expand", _OWN),
}
_INDEXING = {
    "EMBEDDING_LOOKUP": Importer(indexing.rewrite_embedding_lookup, "Gather", _OWN),
    "GATHER": Importer(
        indexing.rewrite_gather, "Gather; GatherND with batches", _OWN, "GatherOptions"
    ),
    "GATHER_ND": Importer(indexing.rewrite_gather_nd, "GatherND", _OWN),
    "ONE_HOT": Importer(indexing.rewrite_one_hot, "OneHot", _OWN, "OneHotOptions"),
    "SCATTER_ND": Importer(indexing.rewrite_scatter_nd, "ScatterND", _OWN),
    "TOPK_V2": Importer(indexing.rewrite_top_k, "TopK", _OWN),
}
_TYPES = {
    "CAST": Importer(types.rewrite_cast, "Cast"),
    "DENSIFY": Importer(types.rewrite_densify, "a constant", _OWN),
    "DEQUANTIZE": Importer(types.rewrite_dequantize, "nothing: the same values"),
    "QUANTIZE": Importer(types.rewrite_quantize, "a statement; Identity between two of them"),
}

IMPORTERS: Mapping[str, Importer] = MappingProxyType(
    dict(
        sorted(
            {
                **_LAYERS,
                **_ACTIVATIONS,
                **_ELEMENTWISE,
                **_REDUCTIONS,
                **_MOVING,
                **_INDEXING,
                **_TYPES,
            }.items()
        )
    )
)
"""TFLite's operators by name."""

CUSTOM_IMPORTERS: Mapping[str, Importer] = MappingProxyType(
    {
        "Convolution2DTransposeBias": Importer(
            convolutions.rewrite_custom_transposed, "ConvTranspose", _FIRST
        ),
    }
)
"""Custom operators by their code."""

REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("IF", "WHILE", "CALL", "CALL_ONCE"), "runs another subgraph"),
        **dict.fromkeys(
            ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"), "keeps a state between runs"
        ),
        **dict.fromkeys(
            (
                "BIDIRECTIONAL_SEQUENCE_LSTM",
                "BIDIRECTIONAL_SEQUENCE_RNN",
                "LSTM",
                "RNN",
                "SVDF",
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
                "UNIDIRECTIONAL_SEQUENCE_RNN",
            ),
            "is recurrent",
        ),
        **dict.fromkeys(
            ("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "UNIQUE", "WHERE"),
            "has an output whose size depends on data",
        ),
        "TFLite_Detection_PostProcess": "decodes and sorts boxes; cut the network off before it "
        "and decode its outputs outside",
    }
)
"""Operators that are refused, with the reason."""
