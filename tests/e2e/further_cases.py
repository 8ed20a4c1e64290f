"""More small ONNX models of one operator: functions, quotients, reductions, gathers, resizes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from e2e.operator_cases import FEATURES, OperatorCase, bias, f32, grid, i64, scalar

FUNCTIONS = [
    *(
        OperatorCase(name.lower(), name, opset=20)
        for name in (
            *("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Exp", "Erf"),
            *("Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh", "Softplus", "Softsign"),
            *("Elu", "Celu", "Selu", "ThresholdedRelu", "Shrink"),
        )
    ),
    OperatorCase("elu_steep", "Elu", attributes={"alpha": 2.5}),
    OperatorCase("celu_narrow", "Celu", attributes={"alpha": 0.25}),
    OperatorCase("pow_square", "Pow", constants=[scalar(2.0)]),
    OperatorCase("pow_cube_of_integer", "Pow", constants=[np.array([3], np.int64)]),
    OperatorCase("pow_of_exponents", "Pow", constants=[f32(0, 1, 2, 3, 4, -1).reshape(6, 1, 1)]),
    OperatorCase(
        "pow_of_integers", "Pow", constants=[np.array([[2], [3], [1]], np.int32)], shapes=[(3, 5)]
    ),
    OperatorCase("pow_widened", "Pow", [(4, 1)], [np.full((4, 3), 2, np.float32)]),
    OperatorCase(
        "pow_of_bases",
        "Pow",
        constants=[f32(0.5, 1, 2, 3, 0.7, 0).reshape(6, 1, 1)],
        order=["c0", "x0"],
    ),
    OperatorCase("pow_of_base", "Pow", constants=[scalar(1.7)], order=["c0", "x0"]),
]

COMBINATIONS = [
    OperatorCase("sum_of_three", "Sum", [FEATURES, (1, 6, 1, 1), (9, 10)]),
    OperatorCase("mean_of_three", "Mean", [FEATURES, FEATURES, (1, 6, 1, 1)]),
    OperatorCase("mean_of_two", "Mean", [FEATURES, FEATURES]),
    OperatorCase("max_scalar", "Max", constants=[scalar(0.3)]),
    OperatorCase("min_scalar_first", "Min", constants=[scalar(0.3)], order=["c0", "x0"]),
    OperatorCase("max_channels", "Max", constants=[f32(0, 1, -1, 0.5, 0.25, 2).reshape(6, 1, 1)]),
]

REDUCTIONS = [
    OperatorCase(f"{name}_{label}", name, [shape], [i64(*axes)], {"keepdims": keep})
    for name in (
        *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"),
        *("ReduceL1", "ReduceL2", "ReduceSumSquare"),
    )
    for label, shape, axes, keep in (
        ("channels", FEATURES, (1,), 1),
        ("spatial", FEATURES, (2, 3), 0),
        ("apart", (2, 6, 5, 4), (1, 3), 0),
        ("last", (3, 5, 7), (-1,), 1),
        ("whole", FEATURES, (0, 1, 2, 3), 0),
    )
]

_COORDINATES = "coordinate_transformation_mode"
COMBINATIONS += [
    OperatorCase("gemm_of_two", "Gemm", [(3, 8), (5, 8)], attributes={"transB": 1}),
    OperatorCase("clip_crossed", "Clip", constants=[scalar(2.0), scalar(1.0)]),
]

REDUCTIONS += [
    OperatorCase(f"{name}_none", name, constants=[i64()], attributes={"noop_with_empty_axes": 1})
    for name in ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMax")
]

SLOPES = [
    OperatorCase("prelu_width", "PRelu", constants=[np.linspace(-0.5, 0.9, 10, dtype=np.float32)]),
    OperatorCase(
        "prelu_apart",
        "PRelu",
        [(2, 3, 5, 4)],
        [np.linspace(-0.9, 0.9, 12, dtype=np.float32).reshape(3, 1, 4)],
    ),
    OperatorCase(
        "prelu_whole",
        "PRelu",
        [(3, 4)],
        [np.linspace(-0.9, 0.9, 12, dtype=np.float32).reshape(3, 4)],
    ),
]

_PICKED = np.array([[3, -1], [0, 2]], np.int64)

GATHERS = [
    OperatorCase("gather_channels", "Gather", constants=[i64(5, 0, 0, 2)], attributes={"axis": 1}),
    OperatorCase("gather_scalar", "Gather", constants=[np.array(2)], attributes={"axis": 2}),
    OperatorCase("gather_matrix", "Gather", constants=[_PICKED], attributes={"axis": -1}),
    OperatorCase(
        "gather_elements",
        "GatherElements",
        [(2, 3, 4)],
        [np.array([[[0, 1, -1, 2]], [[2, 0, 0, 1]]], np.int64)],
        {"axis": 1},
    ),
    OperatorCase("gather_nd", "GatherND", [(4, 5, 3)], [np.array([[0, 4], [3, -2]], np.int64)]),
    OperatorCase(
        "gather_nd_batched",
        "GatherND",
        [(2, 5, 3)],
        [np.array([[[4]], [[1]]], np.int64)],
        {"batch_dims": 1},
    ),
    OperatorCase("tile", "Tile", constants=[i64(1, 2, 1, 3)]),
    OperatorCase("expand", "Expand", [(1, 6, 1, 1)], [i64(2, 6, 3, 4)]),
    OperatorCase("expand_rank", "Expand", [(6, 1, 4)], [i64(2, 6, 3, 4)]),
    OperatorCase(
        "pad_wrap",
        "Pad",
        constants=[i64(0, 0, 2, 1, 0, 0, 11, 3)],
        attributes={"mode": "wrap"},
        opset=19,
    ),
    OperatorCase("pad_shorten", "Pad", constants=[i64(0, -1, -2, 0, 0, 0, -1, -3)]),
    OperatorCase("depth_to_space", "DepthToSpace", [(1, 12, 3, 4)], attributes={"blocksize": 2}),
    OperatorCase(
        "depth_to_space_crd",
        "DepthToSpace",
        [(2, 18, 3, 4)],
        attributes={"blocksize": 3, "mode": "CRD"},
    ),
    OperatorCase("space_to_depth", "SpaceToDepth", [(1, 3, 6, 4)], attributes={"blocksize": 2}),
    OperatorCase("transpose_rank_6", "Transpose", [(2, 3, 1, 4, 2, 3)]),
]

SCATTERS = [
    OperatorCase(
        "scatter_nd",
        "ScatterND",
        [(4, 5, 3), (2, 3)],
        [np.array([[0, 4], [3, -2]], np.int64)],
        order=["x0", "c0", "x1"],
    ),
    OperatorCase(
        "scatter_elements",
        "ScatterElements",
        [(3, 4, 2), (3, 1, 2)],
        [np.array([[[0, 3]], [[2, 2]], [[-1, 0]]], np.int64)],
        {"axis": 1},
        order=["x0", "c0", "x1"],
    ),
    OperatorCase(
        "scatter_into_constant",
        "ScatterND",
        [(2, 3)],
        [np.zeros((4, 3), np.float32), np.array([[2], [0]], np.int64)],
        order=["c0", "c1", "x0"],
    ),
]

SCATTERS += [
    OperatorCase(
        "scatter_mul_of_constant",
        "ScatterND",
        [(4, 3)],
        [np.array([[1], [0], [1]], np.int64), f32(*[0.5, -0.5, 0] * 3).reshape(3, 3)],
        {"reduction": "mul"},
        order=["x0", "c0", "c1"],
    ),
    OperatorCase(
        "scatter_mul_into_constant",
        "ScatterND",
        [(3, 3)],
        [np.ones((4, 3), np.float32), np.array([[1], [0], [1]], np.int64)],
        {"reduction": "mul"},
        order=["c0", "c1", "x0"],
    ),
]

RESIZES = [
    OperatorCase(
        f"resize_{mode}_{'x'.join(map(str, sizes))}",
        "Resize",
        [shape],
        [i64(*sizes)],
        {"mode": mode, "nearest_mode": "floor", **more},
        order=["x0", "", "", "c0"],
        opset=19,
    )
    for mode, shape, sizes, more in (
        ("nearest", (2, 6, 5, 4), (4, 3, 5, 8), {"coordinate_transformation_mode": "asymmetric"}),
        ("nearest", (1, 2, 3, 4, 5), (1, 2, 6, 8, 10), {}),
        ("linear", (5, 6), (10, 9), {}),
        ("linear", (2, 6, 5, 4), (2, 12, 5, 4), {}),
        ("linear", (1, 2, 3, 4, 5), (1, 2, 6, 4, 10), {}),
    )
] + [
    OperatorCase(
        "resize_crop",
        "Resize",
        constants=[f32(0, 0, 0.25, 0.1, 1, 1, 0.75, 0.9), i64(1, 6, 7, 8)],
        order=["x0", "c0", "", "c1"],
        attributes={"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
    ),
    OperatorCase(
        "resize_not_larger",
        "Resize",
        constants=[i64(18, 30)],
        order=["x0", "", "", "c0"],
        attributes={
            "mode": "nearest",
            "axes": [2, 3],
            "keep_aspect_ratio_policy": "not_larger",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        opset=19,
    ),
]

RESIZES += [
    OperatorCase(
        f"resize_crop_beyond_{mode}",
        "Resize",
        constants=[f32(0, 0, -0.25, 0.1, 1, 1, 0.75, 1.4), i64(1, 6, 7, 8)],
        order=["x0", "c0", "", "c1"],
        attributes={"mode": mode, _COORDINATES: "tf_crop_and_resize"},
    )
    for mode in ("linear", "cubic")
]

SCATTERS += [
    OperatorCase(
        f"scatter_{name}_{reduction}",
        operator,
        shapes,
        [indices],
        {"reduction": reduction, **more},
        order=["x0", "c0", "x1"],
    )
    for reduction in ("add", "max", "min", "mul")
    for name, operator, shapes, indices, more in (
        (
            "elements",
            "ScatterElements",
            [(3, 4, 2), (3, 2, 2)],
            np.array([[[0, 3], [0, 1]], [[2, 2], [1, 2]], [[-1, 0], [3, 0]]], np.int64),
            {"axis": 1},
        ),
        (
            "nd",
            "ScatterND",
            [(4, 5, 3), (3, 3)],
            np.array([[0, 4], [3, -2], [0, 4]], np.int64),
            {},
        ),
    )
]

WINDOWED = [
    OperatorCase(
        f"resize_{label}",
        "Resize",
        [shape],
        [i64(*sizes)],
        {"mode": mode, **more},
        order=["x0", "", "", "c0"],
        opset=19,
    )
    for label, mode, shape, sizes, more in (
        ("cubic", "cubic", FEATURES, (1, 6, 13, 25), {}),
        ("cubic_smaller", "cubic", FEATURES, (1, 6, 4, 7), {"cubic_coeff_a": -0.5}),
        ("cubic_one_axis", "cubic", FEATURES, (1, 6, 9, 23), {}),
        ("cubic_excluding", "cubic", (2, 3, 5, 4), (2, 3, 10, 6), {"exclude_outside": 1}),
        *(
            (f"cubic_{mode}", "cubic", FEATURES, (1, 6, 12, 7), {_COORDINATES: mode})
            for mode in ("align_corners", "asymmetric", "pytorch_half_pixel")
        ),
        ("cubic_matrix", "cubic", (7, 8), (14, 5), {}),
        ("linear_filtered", "linear", FEATURES, (1, 6, 4, 3), {"antialias": 1}),
        ("linear_filtered_one", "linear", FEATURES, (1, 6, 12, 3), {"antialias": 1}),
        ("cubic_filtered", "cubic", FEATURES, (1, 6, 4, 6), {"antialias": 1}),
        (
            "cubic_filtered_excluding",
            "cubic",
            (2, 3, 11, 12),
            (2, 3, 5, 4),
            {"antialias": 1, "exclude_outside": 1, _COORDINATES: "align_corners"},
        ),
    )
]

_POSITIONS = (TensorProto.INT64,)

ORDERS = [
    *(
        OperatorCase(f"{name.lower()}_{label}", name, attributes=attributes, types=_POSITIONS)
        for name in ("ArgMax", "ArgMin")
        for label, attributes in (
            ("channels", {"axis": 1}),
            ("channels_dropped", {"axis": 1, "keepdims": 0}),
            ("height", {"axis": 2}),
            ("last_of_equal", {"axis": -1, "select_last_index": 1}),
            ("batch", {"axis": 0}),
        )
    ),
    *(
        OperatorCase(
            f"top_k_{label}",
            "TopK",
            [shape],
            [i64(count)],
            attributes,
            outputs=2,
            types=(TensorProto.FLOAT, TensorProto.INT64),
        )
        for label, shape, count, attributes in (
            ("last", (3, 20), 5, {}),
            ("channels", FEATURES, 3, {"axis": 1}),
            ("least", FEATURES, 4, {"axis": 2, "largest": 0}),
            ("whole", (2, 1, 9), 9, {"axis": -1}),
        )
    ),
]

SAMPLES = [
    OperatorCase(
        f"grid_sample_{mode}_{padding}_{align}",
        "GridSample",
        [FEATURES, (1, 5, 7, 2)],
        attributes={"mode": mode, "padding_mode": padding, "align_corners": align},
        opset=16,
    )
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (0, 1)
]

_SMALL = (1, 6, 5, 4)
_DEFORMED = ("x0", "c0", "x1", "c1")

DEFORMED = [
    OperatorCase(
        "deform_conv",
        "DeformConv",
        [FEATURES, (1, 18, 9, 10)],
        [grid((4, 6, 3, 3)), bias(4)],
        {"pads": [1, 1, 1, 1]},
        order=_DEFORMED,
        opset=19,
    ),
    OperatorCase(
        "deform_conv_mask",
        "DeformConv",
        [FEATURES, (1, 18, 9, 10), (1, 9, 9, 10)],
        [grid((4, 6, 3, 3)), bias(4)],
        {"pads": [1, 1, 1, 1]},
        order=(*_DEFORMED, "x2"),
        opset=22,
    ),
    OperatorCase(
        "deform_conv_without_bias",
        "DeformConv",
        [_SMALL, (1, 8, 4, 3), (1, 4, 4, 3)],
        [grid((9, 6, 2, 2))],
        order=("x0", "c0", "x1", "", "x2"),
        opset=19,
    ),
    OperatorCase(
        "deform_conv_groups",
        "DeformConv",
        [(2, 6, 7, 8), (2, 36, 3, 3), (2, 18, 3, 3)],
        [grid((8, 3, 3, 2)), bias(8)],
        {
            "group": 2,
            "offset_group": 3,
            "strides": [3, 2],
            "dilations": [1, 3],
            "pads": [2, 0, 0, 1],
        },
        order=(*_DEFORMED, "x2"),
        opset=19,
    ),
    OperatorCase(
        "deform_conv_depthwise",
        "DeformConv",
        [_SMALL, (1, 2, 5, 4)],
        [grid((6, 1, 1, 1)), bias(6)],
        {"group": 6},
        order=_DEFORMED,
        opset=19,
    ),
]

FURTHER_CASES = [
    *(
        *FUNCTIONS,
        *COMBINATIONS,
        *REDUCTIONS,
        *GATHERS,
        *SCATTERS,
        *RESIZES,
        *WINDOWED,
        *ORDERS,
        *SLOPES,
    ),
    *(*SAMPLES, *DEFORMED),
]
