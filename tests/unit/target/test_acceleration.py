"""Limits of TI's engine, one operation at a time."""

from __future__ import annotations

import pytest

from tidlq.target import Device
from tidlq.target.acceleration import Operand, Operation, ShortcomingKind, find_shortcoming

IMAGE = (1, 16, 32, 32)


def constant(*shape: int, values: tuple[float, ...] | None = None) -> Operand:
    return Operand(shape, is_constant=True, values=values)


def convolution(
    kernel: tuple[int, ...], stride: int = 1, group: int = 1, **attributes: object
) -> Operation:
    weight = constant(16, 16 // group, *kernel)
    strides = (stride,) * len(kernel)
    merged = {"strides": strides, "group": group, **attributes}
    return Operation("Conv", (Operand(IMAGE), weight), IMAGE, merged)


def transposed(kernel: int, stride: int, dilation: int = 1) -> Operation:
    weight = constant(16, 16, kernel, kernel)
    attributes = {"strides": (stride, stride), "dilations": (dilation, dilation)}
    return Operation("ConvTranspose", (Operand(IMAGE), weight), None, attributes)


def pool(op_type: str, kernel: int, stride: int, size: int = 32, **more: object) -> Operation:
    attributes = {"kernel_shape": (kernel, kernel), "strides": (stride, stride), **more}
    return Operation(op_type, (Operand((1, 16, size, size)),), None, attributes)


def resize(
    old: tuple[int, int], new: tuple[int, int], *, tflite: bool = False, **more: object
) -> Operation:
    inputs = (Operand((1, 8, *old)),)
    return Operation("Resize", inputs, (1, 8, *new), more, is_tflite=tflite)


def simple(op_type: str, *shapes: tuple[int, ...], **attributes: object) -> Operation:
    return Operation(op_type, tuple(map(Operand, shapes)), shapes[0], attributes)


ACCELERATED = [
    convolution((3, 3)),
    convolution((1, 1), 2),
    convolution((7, 7), 2),
    convolution((11, 11), 4),
    convolution((4, 4), 4),
    convolution((16, 16), 16),
    convolution((9, 9)),
    convolution((3, 3), 2, group=16),
    convolution((7, 7), 1, group=16),
    convolution((3,), 1, group=16),
    convolution((3, 3), 3),
    transposed(2, 2),
    transposed(4, 2),
    pool("MaxPool", 3, 2),
    pool("AveragePool", 8, 1, size=8),
    simple("GlobalAveragePool", (1, 16, 32, 32)),
    simple("Softmax", (1, 1000), axis=1),
    simple("Softmax", (1, 8, 64, 64), axis=3),
    simple("Concat", IMAGE, IMAGE, axis=1),
    simple("ArgMax", IMAGE, axis=1),
    Operation("ArgMax", (Operand((1, 32, 32, 16)),), None, {"keepdims": 0}, is_tflite=True),
    resize((8, 8), (16, 16), coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    resize((8, 8), (16, 16), mode="linear"),
    resize((33, 33), (65, 65), tflite=True),
    simple("Add", IMAGE, (1, 16, 1, 1)),
    simple("Mul", IMAGE, (32,)),
    Operation("Clip", (Operand(IMAGE), constant(values=(0.0,)), constant(values=(6.0,))), IMAGE),
    Operation("Erf", (Operand(IMAGE),), IMAGE, in_gelu=True),
    Operation("Cast", (Operand(IMAGE),), IMAGE, is_terminal=True),
    simple("Transpose", (1, 2, 3, 4), perm=(3, 0, 1, 2)),
    simple("ReduceMax", IMAGE, axes=(2,)),
]

REFUSED = [
    (convolution((3, 3), strides=(2, 1)), "strides 2x1 differ"),
    (convolution((9, 9), 2), "9x9 kernel with stride 2"),
    (convolution((3, 3), 4), "stride 4"),
    (convolution((1, 1), 1, group=16), "depthwise 1x1 kernel with stride 1"),
    (convolution((5, 5), 3, group=16), "depthwise 5x5 kernel with stride 3"),
    (Operation("Conv", (Operand(IMAGE), Operand((16, 16, 3, 3))), IMAGE), "weight is computed"),
    (simple("Conv", (2, 4, 8, 8, 8), (4, 4, 3, 3, 3)), "weight is computed"),
    (transposed(2, 1), "2x2 kernel with stride 1x1"),
    (transposed(3, 2, dilation=2), "dilations 2x2"),
    (pool("MaxPool", 3, 1, dilations=(2, 2)), "dilations 2x2"),
    (pool("AveragePool", 33, 1, size=33), "plane of 33x33"),
    (simple("GlobalAveragePool", (1, 16, 33, 32)), "plane of 33x32"),
    (simple("Softmax", IMAGE, axis=1), "axis 1; it is accelerated along width and height"),
    (simple("Concat", IMAGE, IMAGE, axis=0), "axis 0"),
    (simple("ArgMax", IMAGE, axis=1, keepdims=0), "keepdims 0"),
    (simple("ArgMax", IMAGE, axis=1, select_last_index=1), "select_last_index"),
    (simple("ArgMax", IMAGE, axis=3), "axis 3"),
    (resize((8, 8), (4, 4)), "shrinks, from 8x8 to 4x4"),
    (resize((8, 8), (16, 32)), "stretches"),
    (resize((8, 8), (24, 24)), "powers of two"),
    (resize((8, 8), (16, 16), mode="cubic"), "mode 'cubic'"),
    (resize((8, 8), (16, 16), nearest_mode="ceil"), "nearest_mode 'ceil'"),
    (
        resize((8, 8), (16, 16), mode="linear", coordinate_transformation_mode="asymmetric"),
        "'asymmetric'",
    ),
    (simple("Sum", IMAGE, IMAGE, IMAGE), "3 operands"),
    (simple("Add", IMAGE, (32, 1)), "vector of shape 32x1"),
    (simple("Slice", (1, 8, 16)), "has 3 axes"),
    (
        Operation(
            "Slice", (Operand(IMAGE), *[None] * 3, constant(1, values=(2.0,))), (1, 16, 16, 32)
        ),
        "steps 2",
    ),
    (simple("Slice", (4, 16, 8, 8)), "batch of 4"),
    (simple("Pad", IMAGE, mode="reflect"), "mode 'reflect'"),
    (simple("Pad", IMAGE, pads=(0, 1, 0, 0, 0, 0, 0, 0)), "other axes than height and width"),
    (simple("Gather", (4, 8), (3,), axis=1), "axis 1, before which"),
    (simple("Transpose", (2, 3, 4, 5, 6), perm=(4, 0, 1, 2, 3)), "position 0"),
    (simple("ReduceMax", IMAGE, axes=(3,)), "height only"),
    (simple("LayerNormalization", (1, 8, 16), axis=1), "along width"),
    (simple("TopK", (1, 8), sorted=0), "sorted 0"),
    (simple("Erf", IMAGE), "part of Gelu"),
    (simple("Cast", IMAGE), "stands inside"),
    (simple("Relu", (2, 2, 2, 2, 2, 2, 2)), "7 axes"),
    (simple("NonMaxSuppression", IMAGE), "not among the accelerated"),
    (
        Operation(
            "Clip", (Operand(IMAGE), constant(values=(1.0,)), constant(values=(6.0,))), IMAGE
        ),
        "leave out zero",
    ),
    (
        Operation("Gemm", (Operand((1, 8)), constant(8, 4)), (1, 4), {"alpha": 0.5}),
        "alpha 0.5",
    ),
    (
        Operation("Gemm", (Operand((4, 8)), constant(8, 4), constant(4, 4)), (4, 4)),
        "bias of shape 4x4",
    ),
    (Operation("Pow", (Operand(IMAGE), Operand((1,))), IMAGE), "not one constant"),
]


@pytest.mark.parametrize("operation", ACCELERATED, ids=lambda item: item.op_type)
def test_an_operation_within_the_limits_is_accelerated(operation: Operation) -> None:
    assert find_shortcoming(operation, Device.AM68A) is None


@pytest.mark.parametrize(
    ("operation", "reason"), REFUSED, ids=lambda item: item if isinstance(item, str) else ""
)
def test_an_operation_beyond_a_limit_is_not_accelerated(operation: Operation, reason: str) -> None:
    found = find_shortcoming(operation, Device.AM68A)
    assert found is not None
    assert found.kind is ShortcomingKind.NOT_ACCELERATED
    assert reason in found.reason


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (2, 1), (13, 2), (3, 3)])
def test_a_pool_that_is_not_tested_is_told_apart(kernel: int, stride: int) -> None:
    found = find_shortcoming(pool("MaxPool", kernel, stride), Device.AM68A)
    assert found is not None
    assert found.kind is ShortcomingKind.NOT_VALIDATED


@pytest.mark.parametrize("device", [Device.AM62A, Device.AM67A])
def test_small_matrix_units_have_limits_of_their_own(device: Device) -> None:
    patches = find_shortcoming(convolution((3, 3), 3), device)
    assert patches is not None
    assert "3x3 kernel with stride 3" in patches.reason
    padded = find_shortcoming(convolution((3, 3), pads=(0, 40, 0, 40)), device)
    assert padded is not None
    assert "pads of 40 on a width of 32" in padded.reason
    assert find_shortcoming(convolution((3, 3), pads=(0, 40, 0, 40)), Device.TDA4VM) is None
