"""Operators that give the same elements another shape, and those that speak of shapes."""

from __future__ import annotations

import numpy as np

from tidlq.importers.tflite.layout import IMAGE_RANKS, Layout, permutation
from tidlq.importers.tflite.operators.inner_products import read_in_order
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.importers.tflite.tensors import graph_type
from tidlq.passes.node_reading import sizes_product


def rewrite_reshape(rewrite: Rewrite) -> None:
    """RESHAPE; the shape is an input or an option, one size of it may be -1."""
    is_option = not rewrite.has_input(1)
    target = rewrite.integers("NewShape") if is_option else rewrite.listed(1, "a shape")
    shape = rewrite.shape(0)
    count = sizes_product(shape)
    known = sizes_product([size for size in target if size != -1])
    if target.count(-1) > 1 or min(target, default=0) < -1 or (-1 in target and not known):
        raise rewrite.fault(f"has the target shape {list(target)}.")
    if -1 in target:
        target = tuple(count // known if size == -1 else size for size in target)
    if sizes_product(target) != count:
        raise rewrite.fault(
            f"gives {list(shape)} the shape {list(target)}, which has another size."
        )
    write_reshaped(rewrite, target)


def write_reshaped(rewrite: Rewrite, target: tuple[int, ...]) -> None:
    """Writes the first input in another shape."""
    layout = Layout.OWN
    is_pixel = len(target) in IMAGE_RANKS and sizes_product(target[1:-1]) == 1
    if is_pixel and rewrite.operator.outputs[0] in rewrite.tensors.wanted:
        layout = Layout.CHANNELS_FIRST
        target = tuple(target[axis] for axis in permutation(len(target), layout))
    sizes = rewrite.integers_constant(target, "shape")
    value = rewrite.emit("Reshape", read_in_order(rewrite, 0), sizes, allowzero=int(0 in target))
    rewrite.write(value, layout)


def rewrite_squeeze(rewrite: Rewrite) -> None:
    """SQUEEZE: all axes of size 1, or the listed ones."""
    shape = rewrite.shape(0)
    rank = len(shape)
    listed = {rewrite.axis(axis, rank) for axis in rewrite.integers("SqueezeDims")}
    removed = listed or {axis for axis, size in enumerate(shape) if size == 1}
    if any(shape[axis] != 1 for axis in removed):
        raise rewrite.fault(f"removes the axes {sorted(removed)} of the shape {list(shape)}.")
    write_reshaped(rewrite, tuple(n for axis, n in enumerate(shape) if axis not in removed))


def rewrite_expand_dims(rewrite: Rewrite) -> None:
    """EXPAND_DIMS: a new axis of size 1."""
    shape = rewrite.shape(0)
    listed = rewrite.listed(1, "an axis")
    if len(listed) != 1:
        raise rewrite.fault(f"names {len(listed)} axes; it adds one.")
    axis = rewrite.axis(listed[0], len(shape) + 1)
    write_reshaped(rewrite, (*shape[:axis], 1, *shape[axis:]))


def rewrite_transpose(rewrite: Rewrite) -> None:
    """TRANSPOSE, from whichever layout is there."""
    rank = rewrite.rank(0)
    perm = tuple(rewrite.axis(axis, rank) for axis in rewrite.listed(1, "a permutation"))
    if sorted(perm) != list(range(rank)):
        raise rewrite.fault(f"has the permutation {list(perm)} for {rank} axes.")
    index = rewrite.index(0)
    layout = Layout.OWN
    if not rewrite.tensors.has(index, Layout.OWN) and rank in IMAGE_RANKS:
        layout = rewrite.follow(0)
    if layout is Layout.CHANNELS_FIRST:
        there = permutation(rank, layout)
        perm = tuple(there.index(axis) for axis in perm)
    rewrite.write(rewrite.emit("Transpose", rewrite.read(0, layout), perm=perm))


def rewrite_shape(rewrite: Rewrite) -> None:
    """SHAPE and RANK: constants, since shapes are static."""
    if rewrite.operator.code == "RANK":
        sizes = np.array(rewrite.rank(0))
    else:
        sizes = np.array(rewrite.shape(0))
    rewrite.write_array(sizes.astype(graph_type(rewrite.stored_output())))


def rewrite_zeros_like(rewrite: Rewrite) -> None:
    """ZEROS_LIKE as Expand of a zero."""
    zero = rewrite.constant(np.zeros((), graph_type(rewrite.stored_output())), "zero")
    sizes = rewrite.integers_constant(rewrite.shape(0), "shape")
    rewrite.write(rewrite.emit("Expand", zero, sizes))


def rewrite_fill(rewrite: Rewrite) -> None:
    """FILL as Expand."""
    sizes = rewrite.integers_constant(rewrite.listed(0, "a shape"), "shape")
    rewrite.write(rewrite.emit("Expand", rewrite.read(1), sizes))


def rewrite_broadcast_to(rewrite: Rewrite) -> None:
    """BROADCAST_TO as Expand."""
    sizes = rewrite.integers_constant(rewrite.listed(1, "a shape"), "shape")
    rewrite.write(rewrite.emit("Expand", rewrite.read(0), sizes))


def rewrite_range(rewrite: Rewrite) -> None:
    """RANGE of constants: a constant."""
    bounds = [rewrite.needed_array(position, "a bound") for position in range(3)]
    start, limit, delta = (bound.reshape(-1)[0].item() for bound in bounds)
    if not delta:
        raise rewrite.fault("steps by 0.")
    if (limit - start) / delta > 1 << 24:
        raise rewrite.fault(
            f"counts from {start} to {limit} in steps of {delta}, which is too far."
        )
    counted = np.arange(start, limit, delta)
    rewrite.write_array(counted.astype(graph_type(rewrite.stored_output())))
