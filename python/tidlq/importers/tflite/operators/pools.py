"""Pools."""

from __future__ import annotations

from tidlq.importers.tflite.layout import Layout
from tidlq.importers.tflite.operators.activations import write_activated
from tidlq.importers.tflite.operators.windows import explicit_pads
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.passes.stated import state_feature

_NCHW = Layout.CHANNELS_FIRST


def rewrite_pool(rewrite: Rewrite) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D; an average leaves padding out of its count."""
    kernel, strides, pads = _window(rewrite)
    is_maximum = rewrite.operator.code == "MAX_POOL_2D"
    op_type = "MaxPool" if is_maximum else "AveragePool"
    value = rewrite.emit(
        op_type, rewrite.read(0, _NCHW), kernel_shape=kernel, strides=strides, pads=pads
    )
    if is_maximum:
        # It only selects, so integers stay what they are before an activation as well.
        state_feature(value, rewrite.quant(0))
    write_activated(rewrite, value, _NCHW)


def rewrite_l2_pool(rewrite: Rewrite) -> None:
    """L2_POOL_2D: the square root of the mean square."""
    kernel, strides, pads = _window(rewrite)
    value = rewrite.read(0, _NCHW)
    squares = rewrite.emit("Mul", value, value, role="squares")
    mean = rewrite.emit(
        "AveragePool", squares, role="mean", kernel_shape=kernel, strides=strides, pads=pads
    )
    write_activated(rewrite, rewrite.emit("Sqrt", mean), _NCHW)


def _window(rewrite: Rewrite) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, strides and pads, height before width."""
    shape = rewrite.shape(0)
    if len(shape) != 4:
        raise rewrite.fault(f"pools a tensor with {len(shape)} axes; 4 are needed.")
    kernel = (rewrite.integer("FilterHeight"), rewrite.integer("FilterWidth"))
    strides = (rewrite.integer("StrideH"), rewrite.integer("StrideW"))
    return kernel, strides, explicit_pads(rewrite, shape[1:3], kernel, strides, (1, 1))
