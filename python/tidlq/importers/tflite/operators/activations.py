"""Activations: operators of their own, and those fused into others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout
from tidlq.importers.tflite.rewrite import Rewrite

_NONE, _RELU, _RELU_N1_TO_1, _RELU6, _TANH = range(5)
_FUSED_BOUNDS: Mapping[int, tuple[float, float]] = MappingProxyType(
    {_RELU_N1_TO_1: (-1.0, 1.0), _RELU6: (0.0, 6.0)}
)
_BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
)


def activated(rewrite: Rewrite, value: ir.Value) -> ir.Value:
    """A value behind the activation that is fused into the operator, if there is one."""
    kind = rewrite.integer("FusedActivationFunction")
    if kind == _RELU:
        return rewrite.emit("Relu", value, role="relu")
    if kind in _FUSED_BOUNDS:
        return _clip(rewrite, value, _FUSED_BOUNDS[kind], "clip")
    if kind == _TANH:
        return rewrite.emit("Tanh", value, role="tanh")
    if kind != _NONE:
        raise rewrite.fault(f"has the fused activation {kind}, which is not supported.")
    return value


def write_activated(rewrite: Rewrite, value: ir.Value, layout: Layout) -> None:
    """Writes a value through the activation that is fused into the operator."""
    rewrite.write(activated(rewrite, value), layout)


def _clip(
    rewrite: Rewrite, value: ir.Value, bounds: tuple[float, float], role: str = ""
) -> ir.Value:
    low, high = (
        rewrite.constant(np.array(bound, np.float32), name)
        for bound, name in zip(bounds, ("min", "max"), strict=True)
    )
    return rewrite.emit("Clip", value, low, high, role=role)


def rewrite_bounded(rewrite: Rewrite) -> None:
    """RELU6, RELU_N1_TO_1 and RELU_0_TO_1 as Clip."""
    layout = rewrite.follow(0)
    bounds = _BOUNDS[rewrite.operator.code]
    rewrite.write(_clip(rewrite, rewrite.read(0, layout), bounds), layout)


def rewrite_leaky_relu(rewrite: Rewrite) -> None:
    """LEAKY_RELU as LeakyRelu."""
    layout = rewrite.follow(0)
    alpha = rewrite.real("Alpha")
    rewrite.write(rewrite.emit("LeakyRelu", rewrite.read(0, layout), alpha=alpha), layout)


def rewrite_prelu(rewrite: Rewrite) -> None:
    """PRELU as PRelu."""
    layout = rewrite.follow(0)
    slope = rewrite.read(1, layout, rewrite.rank(0))
    rewrite.write(rewrite.emit("PRelu", rewrite.read(0, layout), slope), layout)


def rewrite_gelu(rewrite: Rewrite) -> None:
    """GELU as Gelu."""
    layout = rewrite.follow(0)
    approximate = "tanh" if rewrite.flag("Approximate") else "none"
    rewrite.write(rewrite.emit("Gelu", rewrite.read(0, layout), approximate=approximate), layout)


def rewrite_softmax(rewrite: Rewrite) -> None:
    """SOFTMAX and LOG_SOFTMAX over the channels, behind a product where beta is not 1."""
    layout = rewrite.follow(0)
    value, rank = rewrite.read(0, layout), rewrite.rank(0)
    is_log = rewrite.operator.code == "LOG_SOFTMAX"
    if not is_log and rewrite.real("Beta") != 1.0:
        beta = rewrite.constant(np.array(rewrite.real("Beta"), np.float32), "beta")
        value = rewrite.emit("Mul", value, beta, role="scaled")
    axis = 1 if layout is Layout.CHANNELS_FIRST else rank - 1
    op_type = "LogSoftmax" if is_log else "Softmax"
    rewrite.write(rewrite.emit(op_type, value, axis=axis), layout)


def rewrite_l2_normalization(rewrite: Rewrite) -> None:
    """L2_NORMALIZATION over the channels as LpNormalization."""
    layout = rewrite.follow(0)
    axis = 1 if layout is Layout.CHANNELS_FIRST else rewrite.rank(0) - 1
    value = rewrite.emit("LpNormalization", rewrite.read(0, layout), axis=axis, p=2)
    write_activated(rewrite, value, layout)


def rewrite_local_response_normalization(rewrite: Rewrite) -> None:
    """LOCAL_RESPONSE_NORMALIZATION as LRN, whose alpha is divided by the window's size."""
    size = 2 * rewrite.integer("Radius") + 1
    value = rewrite.emit(
        "LRN",
        rewrite.read(0, Layout.CHANNELS_FIRST),
        size=size,
        alpha=rewrite.real("Alpha") * size,
        beta=rewrite.real("Beta"),
        bias=rewrite.real("Bias"),
    )
    rewrite.write(value, Layout.CHANNELS_FIRST)
