"""Convolutions: plain, depthwise, transposed, in three dimensions."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout
from tidlq.importers.tflite.operators.activations import write_activated
from tidlq.importers.tflite.operators.parameters import read_bias, read_weight
from tidlq.importers.tflite.operators.windows import explicit_pads
from tidlq.importers.tflite.rewrite import Rewrite

_NCHW = Layout.CHANNELS_FIRST
# (C_out, kernel, C_in) to (C_out, C_in, kernel).
_OHWI = (0, 3, 1, 2)
# (1, kernel, C_out) to (C_out, 1, kernel).
_DEPTHWISE = (3, 0, 1, 2)
# (C_out, kernel, C_in) to (C_in, C_out, kernel).
_TRANSPOSED = (3, 0, 1, 2)
# (kernel, C_in, C_out) to (C_out, C_in, kernel).
_VOLUME = (4, 3, 0, 1, 2)
_AXES: Mapping[int, str] = MappingProxyType({2: "HW", 3: "DHW"})

# Padding (1 is SAME), stride of the width, stride of the height.
_CUSTOM_OPTIONS = struct.Struct("<iii")
_CUSTOM_SAME, _CUSTOM_VALID = 1, 2


def _strides(rewrite: Rewrite, count: int) -> tuple[int, ...]:
    return tuple(rewrite.integer(f"Stride{axis}") for axis in _AXES[count])


def _dilations(rewrite: Rewrite, count: int) -> tuple[int, ...]:
    return tuple(rewrite.integer(f"Dilation{axis}Factor") for axis in _AXES[count])


def _check_ranks(rewrite: Rewrite, features: int, weight: int, rank: int) -> None:
    found = (rewrite.rank(features), rewrite.rank(weight))
    if found != (rank, rank):
        raise rewrite.fault(
            f"has an input with {found[0]} axes and a weight with {found[1]}; both need {rank}."
        )


def _convolve(
    rewrite: Rewrite, perm: Sequence[int], kernel: Sequence[int], groups: int, channels: int
) -> None:
    spatial = len(kernel)
    sizes = rewrite.shape(0)[1:-1]
    strides, dilations = _strides(rewrite, spatial), _dilations(rewrite, spatial)
    pads = explicit_pads(rewrite, sizes, kernel, strides, dilations)
    if (atrous := rewrite.atrous) is not None:
        dilations, pads = atrous.dilations, atrous.pads
    value = rewrite.emit(
        "Conv",
        rewrite.read(0, _NCHW),
        read_weight(rewrite, 1, perm),
        _checked_bias(rewrite, 2, channels),
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=groups,
    )
    write_activated(rewrite, value, _NCHW)


def _checked_bias(
    rewrite: Rewrite, position: int, channels: int, *, weight: int = 1, features: int = 0
) -> ir.Value | None:
    if rewrite.has_input(position) and rewrite.shape(position) != (channels,):
        raise rewrite.fault(
            f"has a bias of shape {list(rewrite.shape(position))} for {channels} channels."
        )
    return read_bias(rewrite, position, weight=weight, features=features)


def rewrite_convolution(rewrite: Rewrite) -> None:
    """CONV_2D as Conv; a weight with fewer input channels than the input has makes groups."""
    _check_ranks(rewrite, 0, 1, 4)
    outputs, height, width, inputs = rewrite.shape(1)
    channels = rewrite.shape(0)[3]
    if not inputs or channels % inputs or outputs % (channels // inputs):
        raise rewrite.fault(
            f"has {channels} input channels and a weight for {inputs} to {outputs} channels."
        )
    _convolve(rewrite, _OHWI, (height, width), channels // inputs, outputs)


def rewrite_depthwise(rewrite: Rewrite) -> None:
    """DEPTHWISE_CONV_2D as Conv with one group per input channel."""
    _check_ranks(rewrite, 0, 1, 4)
    one, height, width, outputs = rewrite.shape(1)
    channels = rewrite.shape(0)[3]
    if one != 1 or not channels or outputs % channels:
        raise rewrite.fault(
            f"has {channels} input channels and a weight of shape {list(rewrite.shape(1))}."
        )
    _convolve(rewrite, _DEPTHWISE, (height, width), channels, outputs)


def rewrite_volume_convolution(rewrite: Rewrite) -> None:
    """CONV_3D as Conv."""
    _check_ranks(rewrite, 0, 1, 5)
    depth, height, width, inputs, outputs = rewrite.shape(1)
    channels = rewrite.shape(0)[4]
    if not inputs or channels % inputs:
        raise rewrite.fault(f"has {channels} input channels and a weight for {inputs}.")
    _convolve(rewrite, _VOLUME, (depth, height, width), channels // inputs, outputs)


def rewrite_transposed(rewrite: Rewrite) -> None:
    """TRANSPOSE_CONV as ConvTranspose; its output's size, a constant, decides the pads."""
    _check_ranks(rewrite, 2, 1, 4)
    size = rewrite.listed(0, "an output shape")
    if len(size) != 4:
        raise rewrite.fault(f"has an output shape of {len(size)} sizes; 4 are needed.")
    outputs, *kernel, _ = rewrite.shape(1)
    strides = _strides(rewrite, 2)
    pads = explicit_pads(rewrite, size[1:3], kernel, strides, (1, 1))
    begin = pads[:2]
    sizes = rewrite.shape(2)[1:3]
    # What the stated size leaves out at the end; where it asks for more, only the bias is there.
    end = [
        (n - 1) * s + k - b - out
        for n, s, k, b, out in zip(sizes, strides, kernel, begin, size[1:3], strict=True)
    ]
    value = rewrite.emit(
        "ConvTranspose",
        rewrite.read(2, _NCHW),
        read_weight(rewrite, 1, _TRANSPOSED, features=2),
        _checked_bias(rewrite, 3, outputs, features=2),
        kernel_shape=kernel,
        strides=strides,
        pads=(*begin, *(max(item, 0) for item in end)),
        output_padding=[max(-item, 0) for item in end],
    )
    write_activated(rewrite, value, _NCHW)


def rewrite_custom_transposed(rewrite: Rewrite) -> None:
    """MediaPipe's Convolution2DTransposeBias as ConvTranspose.

    Source: mediapipe/util/tflite/operations/transpose_conv_bias.cc.
    """
    _check_ranks(rewrite, 0, 1, 4)
    options = rewrite.operator.custom_options
    if len(options) < _CUSTOM_OPTIONS.size:
        raise rewrite.fault(
            f"has {len(options)} bytes of options; {_CUSTOM_OPTIONS.size} are needed."
        )
    padding, *widths = _CUSTOM_OPTIONS.unpack_from(options)
    strides = tuple(reversed(widths))
    outputs, *kernel, _ = rewrite.shape(1)
    if padding not in (_CUSTOM_SAME, _CUSTOM_VALID) or min(strides) < 1:
        raise rewrite.fault(f"has the padding {padding} and the strides {list(strides)}.")
    totals = [0, 0]
    if padding == _CUSTOM_SAME:
        totals = [
            max(k - (size - 1) % stride - 1, 0)
            for k, size, stride in zip(kernel, rewrite.shape(0)[1:3], strides, strict=True)
        ]
    begin = [total // 2 for total in totals]
    end = [total - half for total, half in zip(totals, begin, strict=True)]
    value = rewrite.emit(
        "ConvTranspose",
        rewrite.read(0, _NCHW),
        read_weight(rewrite, 1, _TRANSPOSED),
        _checked_bias(rewrite, 2, outputs),
        kernel_shape=kernel,
        strides=strides,
        pads=(*begin, *end),
    )
    rewrite.write(value, _NCHW)
