"""Limits of element-wise operations, matrix products, normalizations and interpolation."""

from __future__ import annotations

import math

from tidlq.target.acceleration.operation import Operation, by
from tidlq.target.devices import Device


def has_two_operands(operation: Operation, _device: Device) -> str | None:
    """Sums of three and more are made of several."""
    count = len(operation.inputs)
    return None if count == 2 else f"{count} operands; two are accelerated"


def broadcasts_vectors(operation: Operation, _device: Device) -> str | None:
    """An operand with a single longer axis must lie along channels or width."""
    if operation.is_tflite or operation.output is None:
        return None
    for operand in operation.inputs:
        shape = None if operand is None else operand.shape
        if shape is None or shape == operation.output or math.prod(shape) == 1:
            continue
        longer = [index - len(shape) for index, size in enumerate(shape) if size != 1]
        if len(longer) == 1 and longer[0] not in (-1, -3):
            return (
                f"it repeats a vector of shape {by(shape)}, which must lie along channels or width"
            )
    return None


def is_plain_product(operation: Operation, _device: Device) -> str | None:
    """Gemm: one computed input, nothing transposed or scaled, a bias per column."""
    if len(operation.features) > 1:
        return "it has several computed inputs; one is accelerated"
    if operation.attributes.get("transA", 0):
        return "transA 1"
    for name in ("alpha", "beta"):
        value = operation.attributes.get(name, 1.0)
        if value != 1.0:
            return f"{name} {value:g}; only 1 is accelerated"
    bias, columns = operation.input(2), (operation.output or (0,))[-1]
    if bias is not None and bias.shape is not None and math.prod(bias.shape) != columns:
        return (
            f"a bias of shape {by(bias.shape)}; one number for each of {columns} columns is needed"
        )
    return None


def has_matrix(operation: Operation, _device: Device) -> str | None:
    """The second operand of a product is a matrix, or several."""
    second = operation.input(1)
    if second is None or second.shape is None or len(second.shape) >= 2:
        return None
    return f"its second operand has {len(second.shape)} axes, at least 2 are needed"


def has_scalar_exponent(operation: Operation, _device: Device) -> str | None:
    """A power is one constant number for all elements."""
    exponent = operation.input(1)
    if exponent is not None and exponent.is_constant and math.prod(exponent.shape or ()) == 1:
        return None
    return "its exponent is not one constant number"


def clamps_around_zero(operation: Operation, _device: Device) -> str | None:
    """The bounds leave zero where it is."""
    bounds: list[float | None] = []
    for index, name in ((1, "min"), (2, "max")):
        operand = operation.input(index)
        if operand is not None and operand.values is not None:
            bounds.append(operand.values[0])
        else:
            bounds.append(operation.attributes.get(name))
    low, high = bounds
    if (low is None or low <= 0) and (high is None or high > 0):
        return None
    return (
        "bounds that leave out zero; a minimum of at most 0 and a maximum above 0 are accelerated"
    )


def is_inference(operation: Operation, _device: Device) -> str | None:
    """A batch-norm with fixed statistics."""
    return "training_mode 1" if operation.attributes.get("training_mode", 0) else None


def belongs_to_gelu(operation: Operation, _device: Device) -> str | None:
    """Erf alone is not accelerated."""
    return None if operation.in_gelu else "it is accelerated only as a part of Gelu"


def samples_images(operation: Operation, _device: Device) -> str | None:
    """GridSample over height and width."""
    if len(operation.shape) != 4:
        return f"its input has {len(operation.shape)} axes; four are accelerated"
    mode = operation.attributes.get("mode", "bilinear")
    if mode not in ("nearest", "bilinear", "linear"):
        return f"mode {mode!r}; nearest and bilinear are accelerated"
    padding = operation.attributes.get("padding_mode", "zeros")
    return None if padding == "zeros" else f"padding_mode {padding!r}; zeros are accelerated"


def deforms_3x3(operation: Operation, _device: Device) -> str | None:
    """The only window of a deformable convolution."""
    weight, stride = operation.input(1), operation.listed("strides") or (1, 1)
    kernel = weight.shape[2:] if weight is not None and weight.shape is not None else ()
    if kernel == (3, 3) and set(stride) == {1}:
        return None
    return f"a {by(kernel)} kernel with stride {by(stride)}; 3x3 with stride 1 is accelerated"


def enlarges_planes(operation: Operation, _device: Device) -> str | None:
    """Height and width alone, by the same power of two."""
    shape, output = operation.shape, operation.output
    if operation.is_tflite or output is None or len(shape) != len(output) or len(shape) < 3:
        return None
    if shape[:-2] != output[:-2]:
        return "it changes the size of other axes than height and width"
    ratios = [new / old for old, new in zip(shape[-2:], output[-2:], strict=True)]
    change = f"from {by(shape[-2:])} to {by(output[-2:])}"
    if min(ratios) < 1:
        return f"it shrinks, {change}"
    if ratios[0] != ratios[1]:
        return f"it stretches, {change}"
    if not math.log2(ratios[0]).is_integer():
        return f"it enlarges {change}; powers of two are accelerated"
    return None


def has_known_coordinates(operation: Operation, _device: Device) -> str | None:
    """Modes and coordinates; Upsample has one of its own."""
    if operation.is_tflite or operation.op_type == "Upsample":
        return None
    if operation.shape == operation.output:
        return None
    read = operation.attributes.get
    mode = read("mode", "nearest")
    if mode not in ("nearest", "linear"):
        return f"mode {mode!r}; nearest and linear are accelerated"
    for name, only in (("antialias", 0), ("exclude_outside", 0)):
        if read(name, only) != only:
            return f"{name} {read(name)}"
    if read("keep_aspect_ratio_policy", "stretch") != "stretch":
        return f"keep_aspect_ratio_policy {read('keep_aspect_ratio_policy')!r}"
    place = read(
        "coordinate_transformation_mode", "half_pixel" if operation.opset >= 11 else "asymmetric"
    )
    allowed = {"half_pixel": "round_prefer_ceil", "pytorch_half_pixel": "round_prefer_ceil"}
    if mode == "nearest":
        allowed["asymmetric"] = "floor"
    if place not in allowed:
        return f"mode {mode!r} with coordinates {place!r}; {', '.join(allowed)} are accelerated"
    rounding = read("nearest_mode", "round_prefer_floor" if operation.opset >= 11 else "floor")
    if mode == "nearest" and rounding != allowed[place]:
        return f"nearest_mode {rounding!r} with {place!r}, which goes with {allowed[place]!r}"
    return None
