"""Every operator of the TFLite importer, at least once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from oracle.tflite.single_operators import Array, Case, Fed

_DRAW = np.random.default_rng(7)
_SAME, _VALID = 0, 1
_RELU, _RELU_N1_TO_1, _RELU6, _TANH = 1, 2, 3, 4
IMAGE = (1, 5, 7, 4)
_INT32, _INT64 = 2, 4


def real(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    """float32 uniform values."""
    return _DRAW.uniform(low, high, shape).astype(np.float32)


def whole(*values: Any) -> Array:
    """int32 values."""
    return np.array(values, np.int32)


def _window(**options: object) -> Mapping[str, object]:
    return {"strideW": 1, "strideH": 1, **options}


def _weighted() -> list[Case]:
    image = Fed(real(*IMAGE))
    weight, depth, bias = real(6, 3, 3, 4), real(1, 3, 3, 8), real(6)
    group = real(6, 3, 3, 2)
    pool = {"filterWidth": 3, "filterHeight": 2}
    rows, matrix = Fed(real(3, 8)), real(5, 8)
    stack = Fed(real(2, 3, 8))
    back, back_bias = real(6, 3, 3, 4), real(6)
    conv = "CONV_2D"
    return [
        Case("conv", conv, (image, weight, bias), options=_window(padding=_SAME)),
        Case("conv valid", conv, (image, weight, bias), options=_window(padding=_VALID)),
        Case(
            "conv strided",
            conv,
            (image, weight, bias),
            options={"strideW": 2, "strideH": 3, "fusedActivationFunction": _RELU6},
        ),
        Case(
            "conv dilated",
            conv,
            (image, weight, bias),
            options=_window(dilationWFactor=2, dilationHFactor=2, fusedActivationFunction=_RELU),
        ),
        Case("conv in groups", conv, (image, group, bias), options=_window()),
        Case(
            "conv clipped", conv, (image, weight, bias), options=_window(fusedActivationFunction=2)
        ),
        Case("conv computed", conv, (image, Fed(weight), Fed(bias)), options=_window()),
        Case(
            "depthwise",
            "DEPTHWISE_CONV_2D",
            (image, depth, real(8)),
            options=_window(depthMultiplier=2, fusedActivationFunction=_RELU),
        ),
        Case(
            "depthwise strided",
            "DEPTHWISE_CONV_2D",
            (image, real(1, 3, 3, 4), real(4)),
            options={"strideW": 2, "strideH": 2, "padding": _VALID, "depthMultiplier": 1},
        ),
        Case(
            "conv 3d",
            "CONV_3D",
            (Fed(real(1, 4, 5, 6, 3)), real(2, 3, 2, 3, 4), real(4)),
            options={"strideW": 1, "strideH": 2, "strideD": 1, "padding": _SAME},
        ),
        *(
            Case(
                f"transposed {padding} {out}",
                "TRANSPOSE_CONV",
                (whole(1, *out, 6), back, Fed(real(1, 4, 5, 4)), back_bias),
                options={"strideW": 2, "strideH": 2, "padding": padding},
                version=3,
            )
            for padding, out in (
                (_SAME, (8, 10)),
                (_SAME, (7, 9)),
                (_VALID, (9, 11)),
                (_VALID, (10, 12)),
            )
        ),
        Case("average pool", "AVERAGE_POOL_2D", (image,), options=_window(**pool)),
        Case("max pool", "MAX_POOL_2D", (image,), options={**pool, "strideW": 2, "strideH": 2}),
        Case("l2 pool", "L2_POOL_2D", (image,), options=_window(padding=_VALID, **pool)),
        Case("fc", "FULLY_CONNECTED", (rows, matrix, real(5))),
        Case(
            "fc relu",
            "FULLY_CONNECTED",
            (rows, matrix, None),
            options={"fusedActivationFunction": 1},
        ),
        Case("fc flattens", "FULLY_CONNECTED", (Fed(real(2, 2, 2, 2)), matrix, real(5))),
        Case("fc of a pixel", "FULLY_CONNECTED", (Fed(real(1, 1, 1, 8)), matrix, real(5))),
        Case(
            "fc keeps", "FULLY_CONNECTED", (stack, matrix, real(5)), options={"keepNumDims": True}
        ),
        Case("fc computed", "FULLY_CONNECTED", (rows, Fed(matrix), Fed(real(5)))),
        Case("matmul", "BATCH_MATMUL", (stack, real(2, 8, 4))),
        Case("matmul one", "BATCH_MATMUL", (stack, real(1, 4, 8)), options={"adjY": True}),
        Case(
            "matmul two",
            "BATCH_MATMUL",
            (Fed(real(2, 8, 3)), Fed(real(2, 8, 4))),
            options={"adjX": True},
        ),
    ]


def _activations() -> list[Case]:
    image = Fed(real(*IMAGE, low=-8, high=8))
    alone = (
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RELU_0_TO_1",
        "TANH",
        "LOGISTIC",
        "HARD_SWISH",
    )
    return [
        *(Case(op.lower(), op, (image,)) for op in alone),
        Case("elu", "ELU", (image,), is_optimized=True),
        Case("leaky relu", "LEAKY_RELU", (image,), options={"alpha": 0.125}),
        Case("prelu", "PRELU", (image, real(1, 1, 4))),
        Case("prelu everywhere", "PRELU", (image, real(5, 7, 4))),
        Case("gelu", "GELU", (image,)),
        Case("gelu by tanh", "GELU", (image,), options={"approximate": True}),
        Case("softmax", "SOFTMAX", (image,), options={"beta": 1.0}),
        Case("softmax sharper", "SOFTMAX", (Fed(real(3, 9)),), options={"beta": 2.5}),
        Case("log softmax", "LOG_SOFTMAX", (image,)),
        Case("l2 normalization", "L2_NORMALIZATION", (image,)),
        Case(
            "local response",
            "LOCAL_RESPONSE_NORMALIZATION",
            (Fed(real(1, 3, 3, 9)),),
            options={"radius": 2, "bias": 1.5, "alpha": 0.25, "beta": 0.75},
            # The reference kernel's window lacks its last channel.
            is_optimized=True,
        ),
    ]


def _arithmetic() -> list[Case]:
    image, other = Fed(real(*IMAGE)), Fed(real(*IMAGE, low=0.5))
    positive = Fed(real(*IMAGE, low=0.1))
    row, pixel = real(4, low=0.5), real(5, 7, 1, low=0.5)
    binary = (
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "MAXIMUM",
        "MINIMUM",
        "SQUARED_DIFFERENCE",
        "FLOOR_DIV",
        "FLOOR_MOD",
    )
    compared = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
    few = Fed(np.round(real(*IMAGE)))
    again = Fed(np.round(real(*IMAGE)))
    yes, no = Fed(_DRAW.random(IMAGE) > 0.5), Fed(_DRAW.random(IMAGE) > 0.5)
    left, right = Fed(_DRAW.integers(-9, 9, (3, 5)).astype(np.int32)), Fed(whole(3, -2, 5, -7, 1))
    return [
        *(Case(op.lower(), op, (image, other)) for op in binary),
        *(Case(f"{op.lower()} row", op, (image, row)) for op in binary),
        *(Case(f"{op.lower()} pixel", op, (pixel, image)) for op in ("ADD", "SUB", "MUL")),
        Case("add scalar", "ADD", (image, real()), options={"fusedActivationFunction": _RELU6}),
        Case("add computed row", "ADD", (image, Fed(row))),
        Case("add of ranks", "ADD", (Fed(real(7, 4)), image)),
        Case("pow", "POW", (positive, row)),
        Case("add n", "ADD_N", (image, other, positive)),
        *(Case(op.lower(), op, (few, again), (np.bool_,)) for op in compared),
        Case("and", "LOGICAL_AND", (yes, no), (np.bool_,)),
        Case("or", "LOGICAL_OR", (yes, no), (np.bool_,)),
        Case("not", "LOGICAL_NOT", (yes,), (np.bool_,)),
        *(
            Case(op.lower(), op, (image,))
            for op in (
                "ABS",
                "COS",
                "EXP",
                "FLOOR",
                "NEG",
                "SIN",
                "SQUARE",
                "SIGN",
            )
        ),
        *(Case(op.lower(), op, (image,), is_optimized=True) for op in ("CEIL", "ROUND")),
        *(Case(op.lower(), op, (positive,)) for op in ("LOG", "SQRT", "RSQRT")),
        *(
            Case(f"{op.lower()} of integers", op, (left, right), (np.int32,))
            for op in ("ADD", "SUB", "MUL", "DIV", "FLOOR_DIV", "FLOOR_MOD", "MAXIMUM")
        ),
        Case("select", "SELECT", (yes, image, other)),
        Case(
            "select rows",
            "SELECT",
            (Fed(np.array([True, False])), Fed(real(2, 3)), Fed(real(2, 3))),
        ),
        Case("select v2", "SELECT_V2", (yes, image, row)),
    ]


def _reductions() -> list[Case]:
    image = Fed(real(*IMAGE))
    reducers = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
    axes = {
        "plane": (1, 2),
        "channels": (3,),
        "row": (1,),
        "last two": (2, -1),
        "all": (0, 1, 2, 3),
    }
    truths = Fed(_DRAW.random((2, 3, 4)) > 0.5)
    return [
        *(
            Case(
                f"{op.lower()} {name} {keeps}",
                op,
                (image, whole(*listed)),
                options={"keepDims": keeps},
            )
            for op in reducers
            for name, listed in axes.items()
            for keeps in (False, True)
        ),
        Case("any", "REDUCE_ANY", (truths, whole(1)), (np.bool_,)),
        Case("all", "REDUCE_ALL", (truths, whole(1)), (np.bool_,)),
        *(
            Case(
                f"{op.lower()} {axis}",
                op,
                (image, whole(axis)),
                (np.int32,),
                {"outputType": _INT32},
            )
            for op in ("ARG_MAX", "ARG_MIN")
            for axis in (1, -1)
        ),
        Case("arg max wide", "ARG_MAX", (image, whole(3)), (np.int64,), {"outputType": _INT64}),
        Case("cumsum", "CUMSUM", (image, np.array(1, np.int32)), options={"exclusive": True}),
        Case("top k", "TOPK_V2", (Fed(real(3, 9)), np.array(4, np.int32)), (np.float32, np.int32)),
    ]


def _shapes() -> list[Case]:
    image = Fed(real(*IMAGE))
    return [
        Case("reshape", "RESHAPE", (image, whole(7, -1)), options={"newShape": [7, -1]}),
        Case("reshape by option", "RESHAPE", (image,), options={"newShape": [5, 28]}),
        Case("reshape pixel", "RESHAPE", (Fed(real(1, 1, 1, 8)), whole(2, 4))),
        Case("to a pixel", "RESHAPE", (Fed(real(2, 4)), whole(1, 1, 1, 8))),
        Case("squeeze", "SQUEEZE", (Fed(real(1, 5, 1, 4)),), options={"squeezeDims": [2]}),
        Case("squeeze all", "SQUEEZE", (Fed(real(1, 5, 1, 4)),)),
        Case("expand dims", "EXPAND_DIMS", (Fed(real(5, 4)), np.array(-1, np.int32))),
        Case("transpose", "TRANSPOSE", (image, whole(0, 3, 1, 2))),
        Case("transpose plane", "TRANSPOSE", (image, whole(0, 2, 1, 3))),
        Case("shape", "SHAPE", (image,), (np.int32,), {"outType": _INT32}),
        Case("rank", "RANK", (image,), (np.int32,)),
        Case("zeros like", "ZEROS_LIKE", (image,)),
        Case("fill", "FILL", (whole(2, 3), Fed(real()))),
        Case("broadcast", "BROADCAST_TO", (Fed(real(1, 3)), whole(2, 4, 3)), version=2),
        Case("range", "RANGE", (*(np.array(v, np.int32) for v in (3, 11, 2)),), (np.int32,)),
        Case("concat", "CONCATENATION", (image, Fed(real(*IMAGE))), options={"axis": 3}),
        Case(
            "concat of constants",
            "CONCATENATION",
            (image, real(1, 2, 7, 4)),
            options={"axis": 1},
        ),
        Case(
            "pack",
            "PACK",
            (Fed(real(3, 4)), Fed(real(3, 4))),
            options={"valuesCount": 2, "axis": 1},
        ),
        Case("unpack", "UNPACK", (image,), (np.float32,) * 5, {"num": 5, "axis": 1}),
        Case("split", "SPLIT", (np.array(3, np.int32), image), (np.float32,) * 2, {"numSplits": 2}),
        Case(
            "split whole", "SPLIT", (np.array(3, np.int32), image), (np.float32,), {"numSplits": 1}
        ),
        Case(
            "split v",
            "SPLIT_V",
            (image, whole(2, -1), np.array(2, np.int32)),
            (np.float32,) * 2,
            {"numSplits": 2},
        ),
    ]


def _cuts() -> list[Case]:
    image = Fed(real(*IMAGE))
    pads = np.array([[0, 0], [1, 2], [3, 0], [0, 1]], np.int32)

    def strided(name: str, *bounds: tuple[int, ...], **masks: int) -> Case:
        inputs = (image, *(whole(*b) for b in bounds))
        return Case(f"strided {name}", "STRIDED_SLICE", inputs, options=masks)

    zeros, ones = (0, 0, 0, 0), (1, 1, 1, 1)
    return [
        Case("slice", "SLICE", (image, whole(0, 1, 2, 0), whole(1, 3, -1, 2))),
        strided("plain", (0, 1, 2, 0), (1, 4, 7, 4), (1, 2, 3, 1)),
        strided("backward", (0, -1, 6, 3), (1, -6, 0, 1), (1, -1, -2, -1)),
        strided("masked", (0, 1, 2, 1), (1, 4, 5, 3), (1, 1, 2, -1), beginMask=10, endMask=12),
        strided("shrunk", (0, 2, -1, 0), (1, 3, 0, 4), ones, shrinkAxisMask=6),
        strided("short", (0, 1), (1, 4), (1, 2)),
        strided("ellipsis", (0, 0, 1), (1, 0, 3), (1, 1, 1), ellipsisMask=2),
        strided("new axis", (0, 0, 1), (1, 0, 3), (1, 1, 1), newAxisMask=2),
        strided("relative", (0, 1, 2, 0), (1, 3, 4, 2), ones, offset=1),
        strided("beyond", zeros, (1, 99, 99, 99), (1, 1, 2, 1)),
        Case("pad", "PAD", (image, pads)),
        Case("pad wide", "PAD", (image, pads.astype(np.int64))),
        Case("pad v2", "PADV2", (image, pads, np.array([1.5], np.float32))),
        Case("mirror", "MIRROR_PAD", (image, pads), options={"mode": 0}),
        Case("mirror edge", "MIRROR_PAD", (image, pads), options={"mode": 1}),
        Case("tile", "TILE", (image, whole(1, 2, 1, 3))),
        Case("reverse", "REVERSE_V2", (image, whole(1))),
        Case("reverse two", "REVERSE_V2", (image, whole(1, 2))),
        Case(
            "reverse sequence",
            "REVERSE_SEQUENCE",
            (Fed(real(2, 5, 3)), whole(3, 4)),
            options={"seqDim": 1, "batchDim": 0},
        ),
        Case("depth to space", "DEPTH_TO_SPACE", (image,), options={"blockSize": 2}),
        Case(
            "space to depth", "SPACE_TO_DEPTH", (Fed(real(1, 4, 6, 3)),), options={"blockSize": 2}
        ),
        Case("space to batch", "SPACE_TO_BATCH_ND", (image, whole(2, 3), whole([0, 1], [1, 1]))),
        Case(
            "batch to space",
            "BATCH_TO_SPACE_ND",
            (Fed(real(6, 2, 3, 4)), whole(2, 3), whole([0, 1], [1, 1])),
        ),
    ]


def _resizing() -> list[Case]:
    image = Fed(real(*IMAGE))
    modes = {
        "": {},
        " aligned": {"alignCorners": True},
        " of centres": {"halfPixelCenters": True},
    }
    return [
        Case(f"{name}{mode} {size}", op, (image, whole(*size)), options=options, version=3)
        for name, op in (("bilinear", "RESIZE_BILINEAR"), ("nearest", "RESIZE_NEAREST_NEIGHBOR"))
        for mode, options in modes.items()
        for size in ((10, 14), (3, 11), (1, 1), (5, 7), (13, 2))
    ]


def _indexing() -> list[Case]:
    image = Fed(real(*IMAGE))
    return [
        Case("gather", "GATHER", (image, whole(2, 0, 2)), options={"axis": 2}),
        Case(
            "gather of batches",
            "GATHER",
            (Fed(real(2, 5, 3)), Fed(whole([1, 4], [0, 0]))),
            options={"axis": 1, "batchDims": 1},
        ),
        Case("gather nd", "GATHER_ND", (Fed(real(3, 4)), whole([0, 1], [2, 3]))),
        Case("embedding", "EMBEDDING_LOOKUP", (Fed(whole(2, 0, 1)), real(4, 3))),
        Case("scatter", "SCATTER_ND", (whole([1], [3]), Fed(real(2, 3)), whole(5, 3))),
        Case(
            "one hot",
            "ONE_HOT",
            (Fed(whole(1, 0, 3)), np.array(4, np.int32), real(), real()),
            options={"axis": -1},
        ),
    ]


def _types() -> list[Case]:
    image = Fed(real(*IMAGE))
    half = real(6, 3, 3, 4).astype(np.float16)
    return [
        Case("cast", "CAST", (image,), (np.int32,), {"inDataType": 0, "outDataType": _INT32}),
        Case(
            "cast truth",
            "CAST",
            (Fed(_DRAW.random((2, 3)) > 0.5),),
            (np.float32,),
            {"inDataType": 6},
        ),
        Case(
            "cast bytes",
            "CAST",
            (Fed(_DRAW.integers(0, 255, (2, 3)).astype(np.uint8)),),
            options={"inDataType": 3},
        ),
        Case("dequantize halves", "DEQUANTIZE", (half,), version=3),
    ]


CASES: tuple[Case, ...] = (
    *_weighted(),
    *_activations(),
    *_arithmetic(),
    *_reductions(),
    *_shapes(),
    *_cuts(),
    *_resizing(),
    *_indexing(),
    *_types(),
)
"""Small float networks of one operator."""

ELSEWHERE: Mapping[str, str] = {
    "QUANTIZE": "writes integers: test_tflite_statements",
    "DENSIFY": "needs a sparse constant: test_sparse",
}
"""Operators without a case here, and where they are tested."""
