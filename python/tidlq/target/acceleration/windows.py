"""Limits of operations that slide a window: convolutions and pools."""

from __future__ import annotations

import math

from tidlq.target.acceleration.operation import Operation, by
from tidlq.target.devices import Device

_SMALL_MATRIX_UNIT = frozenset({Device.AM62A, Device.AM67A})
_DEPTHWISE = frozenset(
    {((1, 3), 1)} | {((size, size), stride) for size in (3, 5, 7) for stride in (1, 2)}
)
"""Kernel and stride."""
_TRANSPOSED_KERNELS = ((4, 4), (3, 3), (2, 2))
_POOLS = frozenset({((size, size), stride) for size in (1, 2, 3) for stride in (1, 2)}) - {
    ((2, 2), 1)
}
_LARGEST_GLOBAL_PLANE = 1024
_LARGEST_STRIDED_KERNEL = 7


def _kernel(operation: Operation) -> tuple[int, ...]:
    weight = operation.input(1)
    if weight is not None and weight.shape is not None:
        return weight.shape[2:]
    return operation.listed("kernel_shape") or ()


def _in_two_axes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """A window over one axis as one row."""
    return (1, *sizes) if len(sizes) == 1 else sizes


def _pads(operation: Operation, spatial: int) -> tuple[int, ...]:
    return operation.listed("pads") or (0,) * (2 * spatial)


def has_constant_weight(operation: Operation, _device: Device) -> str | None:
    """A convolution has one computed input."""
    weight = operation.input(1)
    if weight is None or weight.is_constant:
        return None
    return "its weight is computed, and only one input may be"


def has_one_stride(operation: Operation, _device: Device) -> str | None:
    """The same stride along both axes."""
    strides = operation.listed("strides") or (1,)
    return f"its strides {by(strides)} differ" if len(set(strides)) > 1 else None


def has_fitting_stride(operation: Operation, device: Device) -> str | None:
    """Strides that a kernel goes with; a kernel as large as its stride cuts the plane in patches.

    Patches become a transpose and a matrix product (TI's notes on vision transformers).
    """
    kernel, stride = _in_two_axes(_kernel(operation)), (operation.listed("strides") or (1,))[0]
    if stride == 3 and kernel == (3, 3) and device in _SMALL_MATRIX_UNIT:
        return "a 3x3 kernel with stride 3"
    if stride == 2 and max(kernel, default=0) > _LARGEST_STRIDED_KERNEL:
        return f"a {by(kernel)} kernel with stride 2, which goes up to {_LARGEST_STRIDED_KERNEL}"
    if stride == 4 and kernel not in ((4, 4), (11, 11)):
        return f"a {by(kernel)} kernel with stride 4, which goes with 11x11"
    return None


def is_known_depthwise(operation: Operation, _device: Device) -> str | None:
    """Windows of convolutions with a group per channel."""
    channels = operation.shape[1] if len(operation.shape) > 1 else 0
    if channels <= 1 or operation.attributes.get("group", 1) != channels:
        return None
    kernel, stride = _in_two_axes(_kernel(operation)), (operation.listed("strides") or (1,))[0]
    if (kernel, stride) in _DEPTHWISE:
        return None
    return (
        f"a depthwise {by(kernel)} kernel with stride {stride}; 3x3, 5x5 and 7x7 with stride 1 or "
        "2 and 1x3 with stride 1 are accelerated"
    )


def has_small_pads(operation: Operation, device: Device) -> str | None:
    """AM62A and AM67A: pads no wider than the input."""
    if device not in _SMALL_MATRIX_UNIT or len(operation.shape) < 3:
        return None
    spatial = len(operation.shape) - 2
    pads, width = _pads(operation, spatial), operation.shape[-1]
    widest = max(pads[spatial - 1], pads[-1])
    return f"pads of {widest} on a width of {width}" if widest > width else None


def is_known_transposed(operation: Operation, _device: Device) -> str | None:
    """Windows of transposed convolutions."""
    kernel = _kernel(operation)
    stride = operation.listed("strides") or (1,) * len(kernel)
    if kernel in _TRANSPOSED_KERNELS and stride == (2, 2):
        return None
    return (
        f"a {by(kernel)} kernel with stride {by(stride)}; 2x2, 3x3 and 4x4 with stride 2x2 are "
        "accelerated"
    )


def is_not_dilated(operation: Operation, _device: Device) -> str | None:
    """The window has no holes."""
    dilations = operation.listed("dilations") or (1,)
    return f"dilations {by(dilations)}" if set(dilations) != {1} else None


def has_small_plane(operation: Operation, _device: Device) -> str | None:
    """A global average; TI's page does not take more than 1024 elements of a plane."""
    plane = operation.shape[2:]
    if len(plane) > 2:
        return f"its plane has {len(plane)} axes"
    if math.prod(plane) > _LARGEST_GLOBAL_PLANE:
        return f"a plane of {by(plane)}; averages go up to {_LARGEST_GLOBAL_PLANE} elements"
    return None


def _is_global(operation: Operation) -> bool:
    plane, kernel = operation.shape[2:], operation.listed("kernel_shape") or ()
    return kernel == plane and not any(_pads(operation, len(plane)))


def is_small_global_pool(operation: Operation, device: Device) -> str | None:
    """An average over the whole plane, written as a pool."""
    if operation.op_type == "AveragePool" and _is_global(operation):
        return has_small_plane(operation, device)
    return None


def is_validated_pool(operation: Operation, _device: Device) -> str | None:
    """Windows that TI tests its pools with."""
    kernel = operation.listed("kernel_shape") or ()
    strides = operation.listed("strides") or (1,) * len(kernel)
    if _is_global(operation) or all(
        (_in_two_axes(kernel), stride) in _POOLS for stride in set(strides)
    ):
        return None
    return (
        f"a {by(kernel)} window with stride {by(strides)}; TI validates 1x1, 2x2 and 3x3 "
        "with stride 1 or 2, save 2x2 with stride 1"
    )
