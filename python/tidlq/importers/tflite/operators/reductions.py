"""Operators that reduce axes: means, sums, extremes, places of extremes, running sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout, axis_in
from tidlq.importers.tflite.rewrite import Rewrite

_REDUCTIONS: Mapping[str, str] = MappingProxyType(
    {
        "MEAN": "ReduceMean",
        "REDUCE_ALL": "ReduceMin",
        "REDUCE_ANY": "ReduceMax",
        "REDUCE_MAX": "ReduceMax",
        "REDUCE_MIN": "ReduceMin",
        "REDUCE_PROD": "ReduceProd",
        "SUM": "ReduceSum",
    }
)


def _layout(rewrite: Rewrite, axes: Sequence[int], *, keeps: bool) -> Layout:
    """That of the input, unless what is left would then stand in another order."""
    layout, rank = rewrite.follow(0), rewrite.rank(0)
    left = [axis for axis in range(rank) if axis not in axes]
    # Without the channels, or without all between them and the batch, both orders are the same.
    is_ordered = len(left) < 2 or left[-1] != rank - 1 or left == [0, rank - 1]
    return layout if keeps or is_ordered else Layout.OWN


def rewrite_reduction(rewrite: Rewrite) -> None:
    """MEAN, SUM and REDUCE_* over the listed axes."""
    rank, keeps = rewrite.rank(0), rewrite.flag("KeepDims")
    axes = sorted({rewrite.axis(axis, rank) for axis in rewrite.listed(1, "a list of axes")})
    layout = _layout(rewrite, axes, keeps=keeps)
    value = rewrite.read(0, layout)
    if not axes:
        rewrite.write(rewrite.emit("Identity", value), layout)
        return
    if value.dtype is ir.DataType.BOOL:
        # Of truth values: the largest, or the smallest; the result is cast back.
        value = rewrite.emit("Cast", value, role="numbers", to=int(ir.DataType.INT32))
    there = sorted(axis_in(axis, rank, layout) for axis in axes)
    listed = rewrite.integers_constant(there, "axes")
    op_type = _REDUCTIONS[rewrite.operator.code]
    value = rewrite.emit(op_type, value, listed, keepdims=int(keeps))
    rewrite.write(value, layout if keeps else Layout.OWN)


def rewrite_arg_extreme(rewrite: Rewrite) -> None:
    """ARG_MAX and ARG_MIN: the first place of the extreme along one axis."""
    rank = rewrite.rank(0)
    listed = rewrite.listed(1, "an axis")
    if len(listed) != 1:
        raise rewrite.fault(f"names {len(listed)} axes; it reduces one.")
    axis = rewrite.axis(listed[0], rank)
    layout = _layout(rewrite, [axis], keeps=False)
    op_type = "ArgMax" if rewrite.operator.code == "ARG_MAX" else "ArgMin"
    there = axis_in(axis, rank, layout)
    rewrite.write(rewrite.emit(op_type, rewrite.read(0, layout), axis=there, keepdims=0))


def rewrite_cumsum(rewrite: Rewrite) -> None:
    """CUMSUM as CumSum."""
    axis = rewrite.constant(np.array(rewrite.listed(1, "an axis")[0], np.int64), "axis")
    value = rewrite.emit(
        "CumSum",
        rewrite.read(0),
        axis,
        exclusive=int(rewrite.flag("Exclusive")),
        reverse=int(rewrite.flag("Reverse")),
    )
    rewrite.write(value)
