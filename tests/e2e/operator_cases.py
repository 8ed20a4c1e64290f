"""Small ONNX models, one operator each, for tests that compare the engine with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FEATURES = (1, 6, 9, 10)


@dataclass(frozen=True, eq=False)
class OperatorCase:
    """An operator with its attributes, constant inputs and input shapes.

    Attributes:
        name: for the test's id.
        operator: ONNX operator.
        shapes: shapes of the variable inputs.
        constants: constant inputs after (or, by name order `order`, between) the variable ones.
        attributes: the node's attributes.
        order: inputs in the node's order, x0, x1 ... or c0, c1 ... ("" for none given).
        outputs: number of outputs.
        types: their element types, where not all are float.
        opset: operator set version.
    """

    name: str
    operator: str
    shapes: Sequence[tuple[int, ...]] = (FEATURES,)
    constants: Sequence[NDArray[np.generic]] = ()
    attributes: dict[str, object] = field(default_factory=dict)
    order: Sequence[str] = ()
    outputs: int = 1
    types: Sequence[int] = ()
    opset: int = 18

    @property
    def has_parameters(self) -> bool:
        """The operator multiplies by, or adds, a constant."""
        return self.operator in _PARAMETRIC and bool(self.constants)

    def _type(self, output: int) -> int:
        return self.types[output] if self.types else TensorProto.FLOAT

    def with_fine_weights(self) -> OperatorCase:
        """The same case with weights on the 16-bit grid."""
        return replace(self, constants=[_refined(constant) for constant in self.constants])

    def model(self) -> onnx.ModelProto:
        """Inputs pass a maximum first (exact), so that moved elements are in fixed point."""
        nodes, inputs = [], []
        for index, shape in enumerate(self.shapes):
            inputs.append(helper.make_tensor_value_info(f"in{index}", TensorProto.FLOAT, shape))
            nodes += _exact_passage(f"in{index}", f"x{index}", shape)
        constants = [
            numpy_helper.from_array(np.ascontiguousarray(value), f"c{index}")
            for index, value in enumerate(self.constants)
        ]
        default = [f"x{i}" for i in range(len(self.shapes))] + [c.name for c in constants]
        outputs = [f"y{i}" for i in range(self.outputs)]
        nodes.append(
            helper.make_node(
                self.operator, list(self.order or default), outputs, name="op", **self.attributes
            )
        )
        graph = helper.make_graph(
            nodes,
            self.name,
            inputs,
            [
                helper.make_tensor_value_info(y, self._type(index), None)
                for index, y in enumerate(outputs)
            ],
            constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
        return onnx.shape_inference.infer_shapes(model)


_PARAMETRIC = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "DeformConv",
        "Gemm",
        "MatMul",
        "BatchNormalization",
        "PRelu",
        "Mul",
        "Div",
        "Add",
        "Sub",
    }
)


def _refined(constant: NDArray[np.generic]) -> NDArray[np.generic]:
    """A weight of the 8-bit grid on the grid of step 2^-16, its largest values at +-32767."""
    if constant.dtype != np.float32 or constant.ndim < 2 or np.abs(constant).max() != 127 / 256:
        return constant
    q = constant * 256
    fine = q * 258 + np.arange(q.size).reshape(q.shape) % 255 - 127
    ends = np.sign(q) * 32767
    return (np.where(np.abs(q) == 127, ends, fine) * 2.0**-16).astype(np.float32)


def _exact_passage(source: str, target: str, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    if len(shape) in (3, 4):
        axes = len(shape) - 2
        return [
            helper.make_node(
                "MaxPool",
                [source],
                [target],
                name=target,
                kernel_shape=[3] * axes,
                pads=[1] * (2 * axes),
            )
        ]
    return [helper.make_node("Max", [source, source], [target], name=target)]


def grid(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Weights on the 8-bit grid of step 2^-8, each output channel reaching +-127."""
    random = np.random.default_rng(seed)
    q = random.integers(-127, 128, shape)
    q.reshape(shape[0], -1)[:, 0] = 127
    return (q * 2.0**-8).astype(np.float32)


def bias(channels: int) -> NDArray[np.float32]:
    """A bias of moderate size."""
    return np.linspace(-0.5, 0.5, channels, dtype=np.float32)


def i64(*values: int) -> NDArray[np.int64]:
    """A constant list of integers."""
    return np.array(values, np.int64)


def f32(*values: float) -> NDArray[np.float32]:
    """A constant list of reals."""
    return np.array(values, np.float32)


def scalar(value: float) -> NDArray[np.float32]:
    """A constant scalar."""
    return np.array(value, np.float32)


def _batch_norm(channels: int) -> tuple[NDArray[np.float32], ...]:
    gain = np.linspace(-1.5, 2.0, channels, dtype=np.float32)
    variance = np.linspace(0.5, 2.0, channels, dtype=np.float32)
    return gain, bias(channels), bias(channels)[::-1].copy(), variance


WEIGHTED = [
    OperatorCase(
        "conv_3x3",
        "Conv",
        constants=[grid((8, 6, 3, 3)), bias(8)],
        attributes={"pads": [1, 1, 1, 1]},
    ),
    OperatorCase(
        "conv_no_bias_stride",
        "Conv",
        constants=[grid((8, 6, 3, 2))],
        attributes={"strides": [2, 1]},
    ),
    OperatorCase(
        "conv_asymmetric_pads",
        "Conv",
        constants=[grid((4, 6, 3, 3)), bias(4)],
        attributes={"pads": [0, 1, 2, 0], "strides": [2, 2]},
    ),
    OperatorCase(
        "conv_same_upper",
        "Conv",
        constants=[grid((4, 6, 3, 3)), bias(4)],
        attributes={"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ),
    OperatorCase(
        "conv_same_lower",
        "Conv",
        constants=[grid((4, 6, 2, 2)), bias(4)],
        attributes={"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    ),
    OperatorCase(
        "conv_valid",
        "Conv",
        constants=[grid((4, 6, 3, 3)), bias(4)],
        attributes={"auto_pad": "VALID"},
    ),
    OperatorCase(
        "conv_dilated",
        "Conv",
        constants=[grid((4, 6, 3, 3)), bias(4)],
        attributes={"dilations": [2, 3], "pads": [2, 3, 2, 3]},
    ),
    OperatorCase(
        "conv_grouped", "Conv", constants=[grid((4, 3, 3, 3)), bias(4)], attributes={"group": 2}
    ),
    OperatorCase(
        "conv_depthwise",
        "Conv",
        constants=[grid((6, 1, 3, 3)), bias(6)],
        attributes={"group": 6, "pads": [1, 1, 1, 1], "strides": [2, 2]},
    ),
    OperatorCase(
        "conv_depthwise_multiplier",
        "Conv",
        constants=[grid((12, 1, 5, 5)), bias(12)],
        attributes={"group": 6, "pads": [2, 2, 2, 2]},
    ),
    OperatorCase(
        "conv_1d",
        "Conv",
        [(1, 5, 17)],
        [grid((7, 5, 4)), bias(7)],
        {"pads": [2, 1], "strides": [2], "dilations": [2]},
    ),
    OperatorCase(
        "transposed",
        "ConvTranspose",
        constants=[grid((6, 5, 3, 4)), bias(5)],
        attributes={"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 0]},
    ),
    OperatorCase(
        "transposed_grouped_dilated",
        "ConvTranspose",
        constants=[grid((6, 2, 3, 2)), bias(4)],
        attributes={"group": 2, "dilations": [2, 3], "strides": [2, 2]},
    ),
    OperatorCase(
        "transposed_depthwise",
        "ConvTranspose",
        constants=[grid((6, 1, 4, 4))],
        attributes={"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    OperatorCase(
        "transposed_same_upper",
        "ConvTranspose",
        constants=[grid((6, 3, 3, 4)), bias(3)],
        attributes={"auto_pad": "SAME_UPPER", "strides": [2, 3]},
    ),
    OperatorCase(
        "transposed_same_lower",
        "ConvTranspose",
        constants=[grid((6, 3, 4, 4)), bias(3)],
        attributes={"auto_pad": "SAME_LOWER", "strides": [3, 3]},
    ),
    OperatorCase(
        "transposed_to_a_shape",
        "ConvTranspose",
        constants=[grid((6, 3, 3, 4)), bias(3)],
        attributes={"output_shape": [17, 20], "strides": [2, 2]},
    ),
    OperatorCase(
        "transposed_apart",
        "ConvTranspose",
        constants=[grid((6, 3, 2, 1)), bias(3)],
        attributes={"strides": [4, 3]},
    ),
    OperatorCase(
        "transposed_1d",
        "ConvTranspose",
        [(2, 6, 11)],
        [grid((6, 4, 3)), bias(4)],
        attributes={"strides": [2], "pads": [1, 1]},
    ),
    OperatorCase("conv_1x1_batch_3", "Conv", [(3, 6, 4, 5)], [grid((9, 6, 1, 1)), bias(9)]),
    OperatorCase("gemm", "Gemm", [(1, 20)], [grid((7, 20)).T.copy(), bias(7)]),
    OperatorCase(
        "gemm_transposed_scaled",
        "Gemm",
        [(4, 20)],
        [grid((7, 20)), bias(7)],
        {"transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    OperatorCase(
        "gemm_of_columns",
        "Gemm",
        [(20, 2)],
        [grid((7, 20)), bias(7)],
        {"transA": 1, "transB": 1},
    ),
    OperatorCase("gemm_scalar_c", "Gemm", [(2, 20)], [grid((7, 20)), scalar(0.25)], {"transB": 1}),
    OperatorCase("gemm_without_c", "Gemm", [(2, 20)], [grid((7, 20))], {"transB": 1}),
    OperatorCase("matmul", "MatMul", [(2, 20)], [grid((7, 20)).T.copy()]),
    OperatorCase("matmul_rank_3", "MatMul", [(1, 5, 20)], [grid((7, 20)).T.copy()]),
    OperatorCase("matmul_rank_4", "MatMul", [(1, 3, 5, 20)], [grid((7, 20)).T.copy()]),
]
"""Weights on the grid, so that only the output is rounded."""

POOLS = [
    OperatorCase("max_pool", "MaxPool", attributes={"kernel_shape": [3, 3], "strides": [2, 2]}),
    OperatorCase(
        "max_pool_padded_ceil",
        "MaxPool",
        attributes={
            "kernel_shape": [3, 2],
            "strides": [2, 2],
            "pads": [1, 0, 1, 0],
            "ceil_mode": 1,
        },
    ),
    OperatorCase(
        "max_pool_dilated", "MaxPool", attributes={"kernel_shape": [2, 2], "dilations": [3, 2]}
    ),
    OperatorCase("max_pool_1d", "MaxPool", [(1, 4, 11)], attributes={"kernel_shape": [3]}),
    OperatorCase("global_max_pool", "GlobalMaxPool"),
    OperatorCase(
        "average_pool",
        "AveragePool",
        attributes={"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    OperatorCase(
        "average_pool_include_pad",
        "AveragePool",
        attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    OperatorCase(
        "average_pool_ceil",
        "AveragePool",
        opset=19,
        attributes={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    ),
    OperatorCase(
        "average_pool_ceil_include_pad",
        "AveragePool",
        opset=19,
        attributes={
            "kernel_shape": [3, 3],
            "strides": [2, 2],
            "pads": [1, 1, 1, 1],
            "ceil_mode": 1,
            "count_include_pad": 1,
        },
    ),
    OperatorCase(
        "average_pool_1d",
        "AveragePool",
        [(1, 4, 11)],
        attributes={"kernel_shape": [4], "strides": [3], "pads": [1, 2]},
    ),
    OperatorCase("global_average_pool", "GlobalAveragePool"),
    OperatorCase("reduce_mean_keep", "ReduceMean", constants=[i64(2, 3)]),
    OperatorCase(
        "reduce_mean_drop", "ReduceMean", constants=[i64(-1, -2)], attributes={"keepdims": 0}
    ),
    OperatorCase(
        "reduce_mean_channels_last", "ReduceMean", constants=[i64(1, 2)], attributes={"keepdims": 0}
    ),
    OperatorCase("reduce_max_keep", "ReduceMax", constants=[i64(2, 3)]),
    OperatorCase(
        "reduce_max_channels_last", "ReduceMax", constants=[i64(1, 2)], attributes={"keepdims": 0}
    ),
    OperatorCase("reduce_mean_rank_3", "ReduceMean", [(1, 4, 11)], [i64(2)], {"keepdims": 0}),
]

ELEMENTWISE = [
    OperatorCase("batch_norm_rank_4", "BatchNormalization", constants=_batch_norm(6)),
    OperatorCase("batch_norm_rank_3", "BatchNormalization", [(2, 5, 7)], _batch_norm(5)),
    OperatorCase("batch_norm_rank_2", "BatchNormalization", [(3, 5)], _batch_norm(5)),
    OperatorCase("relu", "Relu"),
    OperatorCase("clip", "Clip", constants=[scalar(-0.5), scalar(0.75)]),
    OperatorCase("clip_below", "Clip", constants=[scalar(-0.5)]),
    OperatorCase("clip_above", "Clip", constants=[scalar(0.5)], order=["x0", "", "c0"]),
    OperatorCase("leaky_relu", "LeakyRelu", attributes={"alpha": 0.2}),
    OperatorCase(
        "prelu_channels",
        "PRelu",
        constants=[np.array([-127, 64, 32, 127, 1, 0], np.float32).reshape(6, 1, 1) / 128],
    ),
    OperatorCase("prelu_single", "PRelu", constants=[f32(0.25)]),
    OperatorCase("sigmoid", "Sigmoid"),
    OperatorCase("tanh", "Tanh"),
    OperatorCase("hard_sigmoid", "HardSigmoid", attributes={"alpha": 0.3, "beta": 0.4}),
    OperatorCase("hard_swish", "HardSwish"),
    OperatorCase("add", "Add", [FEATURES, FEATURES]),
    OperatorCase("sub", "Sub", [FEATURES, FEATURES]),
    OperatorCase("mul", "Mul", [FEATURES, FEATURES]),
    OperatorCase("add_broadcast_channels", "Add", [FEATURES, (1, 6, 1, 1)]),
    OperatorCase("mul_broadcast_first", "Mul", [(1, 6, 1, 1), FEATURES]),
    OperatorCase("sub_lower_rank", "Sub", [FEATURES, (6, 9, 10)]),
    OperatorCase("max", "Max", [FEATURES, FEATURES]),
    OperatorCase("min_of_three", "Min", [FEATURES, (1, 6, 1, 1), (9, 10)]),
    OperatorCase("add_itself", "Add", order=["x0", "x0"]),
    OperatorCase("add_scalar", "Add", constants=[scalar(0.7)]),
    OperatorCase("sub_from_scalar", "Sub", constants=[scalar(0.7)], order=["c0", "x0"]),
    OperatorCase("mul_scalar", "Mul", constants=[scalar(-0.3)]),
    OperatorCase("div_scalar", "Div", constants=[scalar(4.0)]),
    OperatorCase(
        "mul_channels",
        "Mul",
        constants=[np.array([-127, 64, 32, 127, 1, 2], np.float32).reshape(6, 1, 1) / 128],
    ),
    OperatorCase("softmax", "Softmax", [(1, 2, 7)]),
    OperatorCase("softmax_axis_1", "Softmax", attributes={"axis": 1}),
]

MOVES = [
    OperatorCase("concat_channels", "Concat", [FEATURES, (1, 3, 9, 10)], attributes={"axis": 1}),
    OperatorCase("concat_width", "Concat", [FEATURES, FEATURES], attributes={"axis": -1}),
    OperatorCase("flatten", "Flatten"),
    OperatorCase("flatten_axis_2", "Flatten", attributes={"axis": 2}),
    OperatorCase("reshape", "Reshape", constants=[i64(0, 9, -1)]),
    OperatorCase("squeeze", "Squeeze", constants=[i64(0)]),
    OperatorCase("unsqueeze", "Unsqueeze", constants=[i64(2)]),
    OperatorCase("transpose", "Transpose", attributes={"perm": [0, 2, 3, 1]}),
    OperatorCase("transpose_reverse", "Transpose"),
    OperatorCase("pad_constant", "Pad", constants=[i64(0, 1, 2, 0, 0, 0, 1, 3), scalar(0.5)]),
    OperatorCase(
        "pad_reflect",
        "Pad",
        constants=[i64(0, 0, 2, 1, 0, 0, 1, 3)],
        attributes={"mode": "reflect"},
    ),
    OperatorCase(
        "pad_edge", "Pad", constants=[i64(0, 0, 2, 1, 0, 0, 1, 3)], attributes={"mode": "edge"}
    ),
    OperatorCase("pad_axes", "Pad", constants=[i64(1, 2), i64(-1)], order=["x0", "c0", "", "c1"]),
    OperatorCase("slice", "Slice", constants=[i64(1, 2), i64(5, 9), i64(1, 3), i64(1, 3)]),
    OperatorCase(
        "slice_backwards", "Slice", constants=[i64(-1, 100), i64(-100, 1), i64(2, 3), i64(-1, -2)]
    ),
    OperatorCase("split", "Split", attributes={"axis": 1, "num_outputs": 3}, outputs=3),
    OperatorCase("split_sizes", "Split", constants=[i64(1, 5)], attributes={"axis": 1}, outputs=2),
]

RESIZES = [
    OperatorCase(
        f"resize_{mode}_{coordinates}_{rounding}_{height}x{width}",
        "Resize",
        constants=[i64(1, 6, height, width)],
        order=["x0", "", "", "c0"],
        attributes={
            "mode": mode,
            "coordinate_transformation_mode": coordinates,
            "nearest_mode": rounding,
        },
    )
    for mode, coordinates, rounding, height, width in [
        ("nearest", "asymmetric", "floor", 18, 20),
        ("nearest", "half_pixel", "round_prefer_floor", 18, 20),
        ("nearest", "align_corners", "round_prefer_ceil", 13, 5),
        ("nearest", "asymmetric", "ceil", 4, 7),
        ("linear", "half_pixel", "floor", 18, 20),
        ("linear", "align_corners", "floor", 17, 19),
        ("linear", "asymmetric", "floor", 5, 6),
        ("linear", "pytorch_half_pixel", "floor", 1, 25),
        ("linear", "half_pixel_symmetric", "floor", 12, 13),
    ]
]

ALL_CASES = [*WEIGHTED, *POOLS, *ELEMENTWISE, *MOVES, *RESIZES]
