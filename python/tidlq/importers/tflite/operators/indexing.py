"""Operators that look elements up by index, and those that find the largest ones."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.rewrite import Rewrite


def rewrite_gather(rewrite: Rewrite) -> None:
    """GATHER along an axis; with batches, as GatherND."""
    axis = rewrite.axis(rewrite.integer("Axis"), rewrite.rank(0))
    batches = rewrite.axis(rewrite.integer("BatchDims"), rewrite.rank(1) + 1)
    if not batches:
        rewrite.write(rewrite.emit("Gather", rewrite.read(0), rewrite.read(1), axis=axis))
        return
    if batches != axis:
        raise rewrite.fault(
            f"gathers along axis {axis} with {batches} batch axes; both must agree."
        )
    last = rewrite.integers_constant((-1,), "axis")
    wide = rewrite.emit("Cast", rewrite.read(1), role="indices", to=int(ir.DataType.INT64))
    pointers = rewrite.emit("Unsqueeze", wide, last, role="pointers")
    rewrite.write(rewrite.emit("GatherND", rewrite.read(0), pointers, batch_dims=batches))


def rewrite_gather_nd(rewrite: Rewrite) -> None:
    """GATHER_ND as GatherND."""
    wide = rewrite.emit("Cast", rewrite.read(1), role="indices", to=int(ir.DataType.INT64))
    rewrite.write(rewrite.emit("GatherND", rewrite.read(0), wide))


def rewrite_embedding_lookup(rewrite: Rewrite) -> None:
    """EMBEDDING_LOOKUP as Gather of rows."""
    rewrite.write(rewrite.emit("Gather", rewrite.read(1), rewrite.read(0), axis=0))


def rewrite_scatter_nd(rewrite: Rewrite) -> None:
    """SCATTER_ND: updates that meet at one place add up."""
    sizes = rewrite.integers_constant(rewrite.listed(2, "a shape"), "shape")
    updates = rewrite.read(1)
    assert updates.dtype is not None
    zero = rewrite.constant(np.array(0, updates.dtype.numpy()), "zero")
    zeros = rewrite.emit("Expand", zero, sizes, role="zeros")
    wide = rewrite.emit("Cast", rewrite.read(0), role="indices", to=int(ir.DataType.INT64))
    rewrite.write(rewrite.emit("ScatterND", zeros, wide, updates, reduction="add"))


def rewrite_one_hot(rewrite: Rewrite) -> None:
    """ONE_HOT as OneHot."""
    depth = rewrite.integers_constant(rewrite.listed(1, "a depth"), "depth")
    ends = [rewrite.needed_array(position, "a value").reshape(-1) for position in (3, 2)]
    values = rewrite.constant(np.concatenate(ends), "values")
    # ONNX Runtime has no kernel for int32 indices with an int64 depth.
    wide = rewrite.emit("Cast", rewrite.read(0), role="indices", to=int(ir.DataType.INT64))
    rewrite.write(rewrite.emit("OneHot", wide, depth, values, axis=rewrite.integer("Axis")))


def rewrite_top_k(rewrite: Rewrite) -> None:
    """TOPK_V2: the largest elements along the last axis, in order, and their places."""
    listed = rewrite.listed(1, "a number of elements")
    count = rewrite.integers_constant(listed, "k")
    found = rewrite.emit_many("TopK", rewrite.read(0), count, count=2, axis=-1, largest=1, sorted=1)
    for position, value in enumerate(found[: rewrite.output_count]):
        rewrite.write(value, position=position)
