"""Limits of operations that move, join, cut or reduce along axes."""

from __future__ import annotations

import math

from tidlq.target.acceleration.operation import Limit, Operation, by
from tidlq.target.devices import Device

_NAMES = {-1: "width", -2: "height", -3: "channels"}


def most_axes_in_use(most: int) -> Limit:
    """At most so many axes of a size other than 1, in every input that is not constant."""

    def limit(operation: Operation, _device: Device) -> str | None:
        counts = [item.axes_in_use for item in operation.features]
        if max(counts, default=0) <= most:
            return None
        return f"an input has {max(counts)} axes longer than 1, at most {most} are accelerated"

    return limit


def along(default: int, *allowed: int) -> Limit:
    """The attribute `axis` is one of those given, counted from the end."""

    def limit(operation: Operation, _device: Device) -> str | None:
        if operation.is_tflite or not operation.shape:
            return None
        axis = operation.axis_from_end(int(operation.attributes.get("axis", default)))
        if axis in allowed:
            return None
        names = " and ".join(_NAMES[item] for item in allowed)
        return f"axis {axis + len(operation.shape)}; it is accelerated along {names}"

    return limit


def keeps_axes(operation: Operation, _device: Device) -> str | None:
    """TFLite's form has no choice, and is accelerated."""
    if operation.is_tflite or operation.attributes.get("keepdims", 1):
        return None
    return "keepdims 0; only 1 is accelerated"


def takes_first_index(operation: Operation, _device: Device) -> str | None:
    """Of equal elements the first wins."""
    return "select_last_index 1" if operation.attributes.get("select_last_index", 0) else None


def joins_features(operation: Operation, _device: Device) -> str | None:
    """A concat along channels, height or width, not the batch."""
    rank = len(operation.shape)
    axis = operation.axis_from_end(int(operation.attributes.get("axis", 1)))
    if not rank or (axis >= -3 and not (axis == -rank and rank > 3)):
        return None
    return f"axis {axis + rank}; it is accelerated along the last three axes"


def reduces_height(operation: Operation, _device: Device) -> str | None:
    """ReduceMin and ReduceMax over height."""
    axes = operation.listed("axes", 1)
    if axes is None:
        return "it reduces every axis; it is accelerated along height"
    found = {operation.axis_from_end(axis) for axis in axes}
    return None if found == {-2} else "it is accelerated along height only"


def cuts_images(operation: Operation, _device: Device) -> str | None:
    """Four axes, one frame, no steps, the batch left whole."""
    rank = len(operation.shape)
    if rank != 4 or (operation.output is not None and len(operation.output) != 4):
        return f"its input has {rank} axes; it is accelerated with four"
    if operation.shape[0] != 1:
        return f"a batch of {operation.shape[0]}; it is accelerated with 1"
    steps = operation.listed("steps", 4) if operation.op_type == "Slice" else None
    if steps is not None and set(steps) != {1}:
        return f"steps {by(steps)}; slices with steps are accelerated only as patch merging"
    return None


def pads_planes(operation: Operation, _device: Device) -> str | None:
    """Zeros around height and width."""
    if operation.attributes.get("mode", "constant") != "constant":
        return f"mode {operation.attributes['mode']!r}; constant zeros are accelerated"
    value = operation.input(2)
    if value is not None and value.values is not None and any(value.values):
        return f"it writes {value.values[0]:g}; constant zeros are accelerated"
    pads, rank = operation.listed("pads", 1) or (), len(operation.shape)
    axes = operation.listed("axes", 3) or tuple(range(rank))
    padded = {
        operation.axis_from_end(axis)
        for index, axis in enumerate(axes)
        if len(pads) == 2 * len(axes) and (pads[index] or pads[index + len(axes)])
    }
    # A TFLite network's features may still have their channels last.
    allowed = {-1, -2, -3} if operation.is_tflite else {-1, -2}
    return None if padded <= allowed else "it pads other axes than height and width"


def keeps_zero_sizes(operation: Operation, _device: Device) -> str | None:
    """A size of 0 means the input's."""
    return "allowzero 1" if operation.attributes.get("allowzero", 0) else None


def has_constant(index: int, what: str) -> Limit:
    """An input that must be a constant."""

    def limit(operation: Operation, _device: Device) -> str | None:
        operand = operation.input(index)
        return None if operand is None or operand.is_constant else f"its {what} is computed"

    return limit


def moves_width_late(operation: Operation, _device: Device) -> str | None:
    """With more than four axes, the width does not become one of the first two."""
    rank = len(operation.shape)
    perm = operation.listed("perm") or tuple(reversed(range(rank)))
    if rank > 4 and rank - 1 in perm[:2]:
        return f"it moves the width of {rank} axes to position {perm.index(rank - 1)}"
    return None


def gathers_rows(operation: Operation, _device: Device) -> str | None:
    """Rows of a feature map, by a vector of indices."""
    data, indices = operation.input(0), operation.input(1)
    if data is not None and data.is_constant:
        return "it looks up a constant; features are accelerated"
    if len(operation.shape) < 2:
        return f"its input has {len(operation.shape)} axes, at least 2 are needed"
    if indices is not None and indices.shape is not None and len(indices.shape) != 1:
        return f"its indices have {len(indices.shape)} axes; one is accelerated"
    axis = int(operation.attributes.get("axis", 0)) % len(operation.shape)
    if math.prod(operation.shape[:axis]) != 1:
        return f"axis {axis}, before which others are longer than 1"
    return None


def has_four_axes(operation: Operation, _device: Device) -> str | None:
    """Blocks are moved between channels and planes."""
    rank = len(operation.shape)
    return None if rank in (0, 4) else f"its input has {rank} axes; four are needed"


def sorts_constant_count(operation: Operation, _device: Device) -> str | None:
    """TopK gives a fixed number of elements in order."""
    if not operation.attributes.get("sorted", 1):
        return "sorted 0"
    count = operation.input(1)
    return "its K is computed" if count is not None and not count.is_constant else None


def scatters_into_zeros(operation: Operation, _device: Device) -> str | None:
    """The updates are written over a constant of zeros."""
    reduction = operation.attributes.get("reduction", "none")
    refused = reduction == "mul" or (operation.op_type == "ScatterElements" and reduction != "none")
    if refused:
        return f"reduction {reduction!r}"
    data = operation.input(0)
    if data is not None and not data.is_constant:
        return "it changes a computed tensor; constant zeros are accelerated"
    if data is not None and data.values is not None and any(data.values):
        return "it changes a constant other than zeros"
    return None


def is_terminal(operation: Operation, _device: Device) -> str | None:
    """A Cast of an input or output of the network."""
    return None if operation.is_terminal else "it stands inside; it is accelerated at the ends"
