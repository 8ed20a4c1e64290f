"""Operators that put tensors together or take them apart along an axis."""

from __future__ import annotations

import onnx_ir as ir

from tidlq.importers.tflite.layout import IMAGE_RANKS, Layout, axis_in
from tidlq.importers.tflite.operators.activations import write_activated
from tidlq.importers.tflite.rewrite import Rewrite


def rewrite_concatenation(rewrite: Rewrite) -> None:
    """CONCATENATION as Concat."""
    positions = range(rewrite.input_count)
    rank = rewrite.rank(0)
    layout = rewrite.follow(*positions)
    values = [rewrite.read(position, layout) for position in positions]
    axis = axis_in(rewrite.axis(rewrite.integer("Axis"), rank), rank, layout)
    write_activated(rewrite, rewrite.emit("Concat", *values, axis=axis), layout)


def rewrite_pack(rewrite: Rewrite) -> None:
    """PACK: each tensor gets the new axis, then they are put together along it."""
    axis = rewrite.axis(rewrite.integer("Axis"), rewrite.rank(0) + 1)
    axes = rewrite.integers_constant((axis,), "axis")
    values = [
        rewrite.emit("Unsqueeze", rewrite.read(position), axes, role=f"part{position}")
        for position in range(rewrite.input_count)
    ]
    rewrite.write(rewrite.emit("Concat", *values, axis=axis))


def rewrite_unpack(rewrite: Rewrite) -> None:
    """UNPACK: parts of size 1, then without their axis."""
    shape = rewrite.shape(0)
    axis = rewrite.axis(rewrite.integer("Axis"), len(shape))
    count = rewrite.output_count
    if shape[axis] != count:
        raise rewrite.fault(f"makes {count} parts of axis {axis}, which has size {shape[axis]}.")
    sizes = rewrite.integers_constant((1,) * count, "sizes")
    parts = rewrite.emit_many("Split", rewrite.read(0), sizes, count=count, axis=axis)
    axes = rewrite.integers_constant((axis,), "axis")
    for position, part in enumerate(parts):
        rewrite.write(
            rewrite.emit("Squeeze", part, axes, role=f"part{position}"), position=position
        )


def rewrite_split(rewrite: Rewrite) -> None:
    """SPLIT into equal parts."""
    axis = _split_axis(rewrite, 0, 1)
    count = rewrite.output_count
    size = rewrite.shape(1)[axis]
    if size % count:
        raise rewrite.fault(f"makes {count} equal parts of axis {axis}, which has size {size}.")
    _write_parts(rewrite, 1, axis, (size // count,) * count)


def rewrite_split_v(rewrite: Rewrite) -> None:
    """SPLIT_V into parts of listed sizes, one of which may be -1."""
    sizes = rewrite.listed(1, "a list of sizes")
    axis = _split_axis(rewrite, 2, 0)
    whole = rewrite.shape(0)[axis]
    if -1 in sizes:
        rest = whole - sum(size for size in sizes if size != -1)
        sizes = tuple(rest if size == -1 else size for size in sizes)
    if sum(sizes) != whole or min(sizes) < 0 or len(sizes) != rewrite.output_count:
        raise rewrite.fault(
            f"makes parts of {list(sizes)} for {rewrite.output_count} outputs of axis {axis}, "
            f"which has size {whole}."
        )
    _write_parts(rewrite, 0, axis, sizes)


def _split_axis(rewrite: Rewrite, position: int, data: int) -> int:
    listed = rewrite.listed(position, "an axis")
    if len(listed) != 1:
        raise rewrite.fault(f"names {len(listed)} axes; it splits one.")
    return rewrite.axis(listed[0], rewrite.rank(data))


def _write_parts(rewrite: Rewrite, data: int, axis: int, sizes: tuple[int, ...]) -> None:
    layout = rewrite.follow(data) if rewrite.rank(data) in IMAGE_RANKS else Layout.OWN
    there = axis_in(axis, rewrite.rank(data), layout)
    value = rewrite.read(data, layout)
    parts: tuple[ir.Value, ...] = (value,)
    if len(sizes) > 1:
        listed = rewrite.integers_constant(sizes, "sizes")
        parts = rewrite.emit_many("Split", value, listed, count=len(sizes), axis=there)
    else:
        parts = (rewrite.emit("Identity", value),)
    for position, part in enumerate(parts):
        rewrite.write(part, layout, position)
