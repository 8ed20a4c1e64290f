"""Operators that cut out or add elements: slices, pads, repetitions, reversals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout, axis_in, sizes_in
from tidlq.importers.tflite.rewrite import Rewrite

_REFLECT = 0
_SYMMETRIC = 1
_FAR = (1 << 31) - 1
_NEW_AXIS = -1
_LARGEST_MIRRORED = 1 << 20


def _emit_slice(
    rewrite: Rewrite,
    value: ir.Value,
    layout: Layout,
    bounds: Sequence[tuple[int, int, int]],
    role: str = "",
) -> ir.Value:
    """A Slice by (start, stop, step) of every axis in TFLite's order, as Python counts."""
    ordered = [
        # Counted from the front, -1 would be the last element.
        (start, stop if stop >= 0 else -_FAR, step)
        for start, stop, step in (bounds[axis] for axis in sizes_in(range(len(bounds)), layout))
    ]
    rows = zip(*ordered, strict=True)
    starts, stops, steps = (
        rewrite.integers_constant(row, name)
        for row, name in zip(rows, ("starts", "stops", "steps"), strict=True)
    )
    axes = rewrite.integers_constant(range(len(bounds)), "axes")
    return rewrite.emit("Slice", value, starts, stops, axes, steps, role=role)


def rewrite_slice(rewrite: Rewrite) -> None:
    """SLICE: where it begins and how far it goes; -1 goes to the end."""
    if rewrite.array(1) is None or rewrite.array(2) is None:
        _rewrite_open_slice(rewrite)
        return
    shape = rewrite.shape(0)
    begin, size = rewrite.listed(1, "a list of starts"), rewrite.listed(2, "a list of sizes")
    if not len(begin) == len(size) == len(shape):
        raise rewrite.fault(
            f"lists {len(begin)} starts and {len(size)} sizes for {len(shape)} axes."
        )
    bounds = []
    for axis, (first, count, whole) in enumerate(zip(begin, size, shape, strict=True)):
        stop = whole if count == -1 else first + count
        if not 0 <= first <= stop <= whole:
            raise rewrite.fault(
                f"cuts {count} elements from {first} on out of axis {axis}, which has {whole}."
            )
        bounds.append((first, stop, 1))
    if not bounds:
        rewrite.write(rewrite.emit("Identity", rewrite.read(0)))
        return
    layout = rewrite.follow(0)
    rewrite.write(_emit_slice(rewrite, rewrite.read(0, layout), layout, bounds), layout)


def _rewrite_open_slice(rewrite: Rewrite) -> None:
    """SLICE by starts and sizes that depend on data."""
    wide = int(ir.DataType.INT64)
    begin = rewrite.emit("Cast", rewrite.read(1), role="begin", to=wide)
    size = rewrite.emit("Cast", rewrite.read(2), role="size", to=wide)
    end = rewrite.emit("Add", begin, size, role="end")
    below = rewrite.emit("Less", size, rewrite.integers_constant((0,), "zero"), role="below")
    far = rewrite.integers_constant((_FAR,), "far")
    stop = rewrite.emit("Where", below, far, end, role="stop")
    rewrite.write(rewrite.emit("Slice", rewrite.read(0), begin, stop))


def rewrite_strided_slice(rewrite: Rewrite) -> None:
    """STRIDED_SLICE with its masks; the axes that it adds or removes make a Reshape."""
    shape = rewrite.shape(0)
    begin, end, steps = (
        rewrite.listed(position, what)
        for position, what in ((1, "a list of starts"), (2, "a list of ends"), (3, "strides"))
    )
    if not len(begin) == len(end) == len(steps) or 0 in steps:
        raise rewrite.fault(
            f"lists {len(begin)} starts, {len(end)} ends and the strides {list(steps)}."
        )
    entries = _entries(rewrite, len(shape), len(begin))
    bounds: list[tuple[int, int, int]] = []
    target: list[int] = []
    for entry in entries:
        if entry == _NEW_AXIS:
            target.append(1)
            continue
        size = shape[len(bounds)]
        if entry is None:
            bounds.append((0, size, 1))
        else:
            bounds.append(_bounds(rewrite, size, entry, (begin[entry], end[entry], steps[entry])))
        if entry is None or not rewrite.integer("ShrinkAxisMask") >> entry & 1:
            target.append(len(range(*bounds[-1])))
    layout = rewrite.follow(0) if len(target) == len(shape) == len(entries) else Layout.OWN
    if not bounds:
        value = rewrite.emit("Identity", rewrite.read(0), role="copy")
    else:
        value = _emit_slice(rewrite, rewrite.read(0, layout), layout, bounds)
    if len(entries) != len(shape) or len(target) != len(shape):
        value = rewrite.emit(
            "Reshape", value, rewrite.integers_constant(target, "shape"), role="fitted"
        )
    rewrite.write(value, layout)


def _entries(rewrite: Rewrite, rank: int, count: int) -> list[int | None]:
    """What happens axis by axis: a cut by the entry of this number, none (None), or a new axis."""
    ellipsis, new = rewrite.integer("EllipsisMask"), rewrite.integer("NewAxisMask")
    kinds: list[int | None] = []
    gap: int | None = None
    for entry in range(count):
        if ellipsis >> entry & 1:
            if gap is not None:
                raise rewrite.fault("has two ellipses.")
            gap = len(kinds)
        else:
            kinds.append(_NEW_AXIS if new >> entry & 1 else entry)
    left = rank - sum(1 for kind in kinds if kind != _NEW_AXIS)
    if left < 0:
        raise rewrite.fault(f"cuts {rank - left} axes of {rank}.")
    place = len(kinds) if gap is None else gap
    kinds[place:place] = [None] * left
    return kinds


def _bounds(
    rewrite: Rewrite, size: int, entry: int, given: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Start, stop and step along an axis of this size, within it; the stop may be -1."""
    begin, end, step = given
    if rewrite.flag("Offset"):
        end += begin
    if rewrite.integer("ShrinkAxisMask") >> entry & 1:
        start = begin + size if begin < 0 else begin
        if not 0 <= start < size:
            raise rewrite.fault(f"takes element {begin} of an axis of size {size}.")
        return start, start + 1, 1
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(begin + size if begin < 0 else begin, low), high)
    stop = min(max(end + size if end < 0 else end, low), high)
    if rewrite.integer("BeginMask") >> entry & 1:
        start = 0 if step > 0 else size - 1
    if rewrite.integer("EndMask") >> entry & 1:
        stop = size if step > 0 else -1
    return start, stop, step


def rewrite_pad(rewrite: Rewrite) -> None:
    """PAD and PADV2 as Pad with a constant; zero where none is given."""
    pads = _pads(rewrite)
    layout = rewrite.follow(0)
    value = rewrite.read(0, layout)
    if rewrite.has_input(2):
        constant = rewrite.needed_array(2, "a pad value").reshape(-1)
        if constant.size != 1:
            raise rewrite.fault(f"has {constant.size} pad values; it takes one.")
        filling = rewrite.constant(constant.reshape(()), "pad_value")
    else:
        assert value.dtype is not None
        filling = rewrite.constant(np.array(0, value.dtype.numpy()), "pad_value")
    listed = rewrite.integers_constant(_in_order(pads, layout), "pads")
    rewrite.write(rewrite.emit("Pad", value, listed, filling, mode="constant"), layout)


def _pads(rewrite: Rewrite) -> list[tuple[int, int]]:
    array = rewrite.needed_array(1, "a table of pads")
    rank = rewrite.rank(0)
    if array.shape != (rank, 2) or array.dtype.kind not in "iu" or array.min(initial=0) < 0:
        raise rewrite.fault(f"has a table of pads of shape {list(array.shape)} for {rank} axes.")
    return [(int(before), int(after)) for before, after in array]


def _in_order(pads: Sequence[tuple[int, int]], layout: Layout) -> list[int]:
    """Pads as ONNX lists them: all in front, then all behind."""
    order = sizes_in(range(len(pads)), layout)
    return [pads[axis][side] for side in (0, 1) for axis in order]


def rewrite_mirror_pad(rewrite: Rewrite) -> None:
    """MIRROR_PAD: a reflecting Pad, or a Gather per axis where the edge is repeated."""
    pads = _pads(rewrite)
    layout = rewrite.follow(0)
    value = rewrite.read(0, layout)
    if rewrite.integer("Mode") == _REFLECT:
        listed = rewrite.integers_constant(_in_order(pads, layout), "pads")
        rewrite.write(rewrite.emit("Pad", value, listed, mode="reflect"), layout)
        return
    if rewrite.integer("Mode") != _SYMMETRIC:
        raise rewrite.fault(f"has the mode {rewrite.integer('Mode')}; 0 and 1 are known.")
    shape = rewrite.shape(0)
    for axis, ((before, after), size) in enumerate(zip(pads, shape, strict=True)):
        if max(before, after) > size:
            raise rewrite.fault(f"mirrors {max(before, after)} of the {size} along axis {axis}.")
        if (before or after) and size > _LARGEST_MIRRORED:
            raise rewrite.fault(f"mirrors an axis of size {size}; at most {_LARGEST_MIRRORED} is.")
        if before or after:
            mirrored = [
                *reversed(range(before)),
                *range(size),
                *reversed(range(size - after, size)),
            ]
            places = rewrite.integers_constant(mirrored, f"places{axis}")
            there = axis_in(axis, len(shape), layout)
            value = rewrite.emit("Gather", value, places, role=f"axis{axis}", axis=there)
    if not any(map(any, pads)):
        value = rewrite.emit("Identity", value)
    rewrite.write(value, layout)


def rewrite_tile(rewrite: Rewrite) -> None:
    """TILE as Tile."""
    repeats = rewrite.listed(1, "a list of repeats")
    if len(repeats) != rewrite.rank(0) or min(repeats, default=1) < 0:
        raise rewrite.fault(f"repeats {list(repeats)} times for {rewrite.rank(0)} axes.")
    layout = rewrite.follow(0)
    listed = rewrite.integers_constant(sizes_in(repeats, layout), "repeats")
    rewrite.write(rewrite.emit("Tile", rewrite.read(0, layout), listed), layout)


def rewrite_reverse(rewrite: Rewrite) -> None:
    """REVERSE_V2 as a Slice that steps back."""
    shape = rewrite.shape(0)
    axes = {rewrite.axis(axis, len(shape)) for axis in rewrite.listed(1, "a list of axes")}
    if not axes:
        rewrite.write(rewrite.emit("Identity", rewrite.read(0)))
        return
    bounds = [
        (size - 1, -1, -1) if axis in axes else (0, size, 1) for axis, size in enumerate(shape)
    ]
    layout = rewrite.follow(0)
    rewrite.write(_emit_slice(rewrite, rewrite.read(0, layout), layout, bounds), layout)


def rewrite_reverse_sequence(rewrite: Rewrite) -> None:
    """REVERSE_SEQUENCE as ReverseSequence, whose batch and time are the first two axes."""
    time, batch = rewrite.integer("SeqDim"), rewrite.integer("BatchDim")
    if {time, batch} != {0, 1}:
        raise rewrite.fault(f"reverses axis {time} for each of axis {batch}; both must be 0 or 1.")
    wide = rewrite.emit("Cast", rewrite.read(1), role="lengths", to=int(ir.DataType.INT64))
    value = rewrite.read(0)
    rewrite.write(rewrite.emit("ReverseSequence", value, wide, time_axis=time, batch_axis=batch))
