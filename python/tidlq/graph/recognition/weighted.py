"""Layers with parameters: convolutions, inner product, batch-norm, PReLU."""

from __future__ import annotations

import math

from tidlq.graph.layers import (
    BatchNormAttributes,
    ConvolutionAttributes,
    DeformableAttributes,
    InnerProductAttributes,
    Layer,
    LayerKind,
    Window,
)
from tidlq.graph.recognition.functions import refuse_stated
from tidlq.graph.recognition.reading import NodeReader, RefusedError

MOST_PHASES = 4096
"""Strides of a transposed convolution, multiplied."""


def read_window(node: NodeReader, kernel: tuple[int, ...]) -> Window:
    """The geometry of a node that slides a kernel over the axes after (N, C)."""
    spatial = len(kernel)
    if spatial not in (1, 2):
        raise RefusedError(f"it slides over {spatial} axes, the engine over 1 or 2")
    shape = node.float_shape(node.inputs[0])
    if len(shape) != spatial + 2:
        raise RefusedError(f"its kernel has {spatial} axes for an input of rank {len(shape)}")
    stride = node.integers("strides", (1,) * spatial)
    dilation = node.integers("dilations", (1,) * spatial)
    auto = node.text("auto_pad", "NOTSET")
    pads = node.integers("pads", (0,) * (2 * spatial))
    begin, end = pads[:spatial], pads[spatial:]
    if auto == "VALID":
        begin = end = (0,) * spatial
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = []
        for size, k, s, d in zip(shape[2:], kernel, stride, dilation, strict=True):
            steps = -(-size // s)
            totals.append(max((steps - 1) * s + (k - 1) * d + 1 - size, 0))
        small = tuple(total // 2 for total in totals)
        large = tuple(total - half for total, half in zip(totals, small, strict=True))
        begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
    if min(*begin, *end, 0) < 0:
        raise RefusedError("it has negative pads")
    return Window(kernel, stride, dilation, begin, end, tuple(range(2, 2 + spatial)))


def recognise_convolution(node: NodeReader) -> Layer:
    """Conv with a constant weight, 1-D or 2-D."""
    weight = node.constant(1, "weight")
    if node.has_input(2):
        node.constant(2, "bias")
    window = read_window(node, tuple(weight.shape[2:]))
    attributes = ConvolutionAttributes(window, node.integer("group", 1))
    return node.layer(
        LayerKind.CONVOLUTION, attributes, weight=node.inputs[1], bias=node.optional(2)
    )


def _transposed_window(node: NodeReader, kernel: tuple[int, ...]) -> Window:
    """The geometry of a ConvTranspose, whose output's shape is known."""
    spatial = len(kernel)
    if spatial not in (1, 2):
        raise RefusedError(f"it slides over {spatial} axes, the engine over 1 or 2")
    shape, out = node.float_shape(node.inputs[0])[2:], node.float_shape(node.output())[2:]
    if len(shape) != spatial:
        raise RefusedError(f"its kernel has {spatial} axes for an input of rank {len(shape) + 2}")
    stride = node.integers("strides", (1,) * spatial)
    dilation = node.integers("dilations", (1,) * spatial)
    more = node.integers("output_padding", (0,) * spatial)
    auto = node.text("auto_pad", "NOTSET")
    pads = node.integers("pads", (0,) * (2 * spatial))
    begin, end = pads[:spatial], pads[spatial:]
    if auto == "VALID":
        begin = end = (0,) * spatial
    elif auto != "NOTSET" or node.integers("output_shape", ()):
        sizes = zip(shape, kernel, stride, dilation, more, out, strict=True)
        totals = [max((n - 1) * s + (k - 1) * d + 1 + m - o, 0) for n, k, s, d, m, o in sizes]
        small = tuple(total // 2 for total in totals)
        large = tuple(total - half for total, half in zip(totals, small, strict=True))
        begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
    if min(*begin, *end, 0) < 0:
        raise RefusedError("it has negative pads")
    if math.prod(stride) > MOST_PHASES:
        raise RefusedError(f"its strides are {list(stride)}, the engine takes 4096 multiplied")
    return Window(kernel, stride, dilation, begin, end, tuple(range(2, 2 + spatial)))


def recognise_transposed_convolution(node: NodeReader) -> Layer:
    """ConvTranspose with a constant weight, 1-D or 2-D."""
    weight = node.constant(1, "weight")
    if node.has_input(2):
        node.constant(2, "bias")
    node.feature(0)
    window = _transposed_window(node, tuple(weight.shape[2:]))
    return node.layer(
        LayerKind.TRANSPOSED_CONVOLUTION,
        ConvolutionAttributes(window, node.integer("group", 1)),
        weight=node.inputs[1],
        bias=node.optional(2),
    )


def recognise_deformable_convolution(node: NodeReader) -> Layer:
    """DeformConv with a constant weight, 2-D, with computed offsets and mask."""
    refuse_stated(node)
    weight = node.constant(1, "weight")
    if node.has_input(3):
        node.constant(3, "bias")
    kernel = tuple(weight.shape[2:])
    if len(kernel) != 2:
        raise RefusedError(f"it slides over {len(kernel)} axes, the engine over 2")
    window = read_window(node, kernel)
    mask = () if _weighs_all_alike(node, 4) else (node.feature(4),)
    return node.layer(
        LayerKind.DEFORMABLE_CONVOLUTION,
        DeformableAttributes(window, node.integer("group", 1), node.integer("offset_group", 1)),
        inputs=(node.feature(0), node.feature(2), *mask),
        weight=node.inputs[1],
        bias=node.optional(3),
    )


def _weighs_all_alike(node: NodeReader, index: int) -> bool:
    """A mask that is left out or all ones, which exporters write for want of one."""
    is_given, is_constant = node.has_input(index), node.is_constant(index)
    return not is_given or (is_constant and bool((node.constant(index, "mask") == 1).all()))


def recognise_gemm(node: NodeReader) -> Layer:
    """Gemm with constant B and C; the import makes MatMul and Add of others."""
    if node.integer("transA", 0):
        raise RefusedError("its first operand is transposed")
    weight = node.constant(1, "second operand")
    transposed = bool(node.integer("transB", 0))
    if node.has_input(2):
        bias = node.constant(2, "third operand")
        outputs = weight.shape[0 if transposed else 1]
        if bias.size not in (1, outputs) or (bias.size > 1 and bias.shape[-1] != outputs):
            raise RefusedError("its third operand varies along the batch")
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    attributes = InnerProductAttributes(transposed, alpha, beta)
    return node.layer(
        LayerKind.INNER_PRODUCT, attributes, weight=node.inputs[1], bias=node.optional(2)
    )


def recognise_matmul(node: NodeReader) -> Layer:
    """MatMul of a feature map with a constant matrix."""
    if node.constant(1, "second operand").ndim != 2:
        raise RefusedError("its second operand is not a matrix")
    if len(node.float_shape(node.feature(0))) < 2:
        raise RefusedError("its first operand is a vector")
    return node.layer(LayerKind.INNER_PRODUCT, InnerProductAttributes(), weight=node.inputs[1])


def recognise_batch_norm(node: NodeReader) -> Layer:
    """BatchNormalization in inference form, standing alone."""
    if node.integer("training_mode", 0):
        raise RefusedError("it is in training mode")
    if len(node.float_shape(node.feature(0))) not in (2, 3, 4):
        raise RefusedError("its input does not have 2 to 4 axes")
    for index, what in enumerate(("scale", "bias", "mean", "variance"), start=1):
        node.constant(index, what)
    scale, shift, mean, variance = node.inputs[1:5]
    attributes = BatchNormAttributes(scale, shift, mean, variance, node.real("epsilon", 1e-5))
    return node.layer(LayerKind.BATCH_NORM, attributes, weight=scale, bias=shift)


def recognise_prelu(node: NodeReader) -> Layer:
    """PRelu with a constant slope, which may vary along any axes."""
    node.constant(1, "slope")
    if node.float_shape(node.feature(0)) != node.float_shape(node.output()):
        raise RefusedError("its slope widens the output")
    return node.layer(LayerKind.PRELU, weight=node.inputs[1])
