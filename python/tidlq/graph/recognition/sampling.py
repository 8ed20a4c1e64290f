"""Samples of a feature map at places that another one gives."""

from __future__ import annotations

from tidlq.graph.interpolation import GridSampleAttributes, SampleMode, SamplePadding
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.recognition.functions import refuse_stated
from tidlq.graph.recognition.reading import NodeReader, RefusedError

_IMAGE_RANK = 4
# Operator set 20 renamed the modes.
_RENAMED = {"bilinear": "linear", "bicubic": "cubic"}


def recognise_grid_sample(node: NodeReader) -> Layer:
    """GridSample of images, nearest, linear or cubic, at computed places."""
    refuse_stated(node)
    source, grid = node.feature(0), node.feature(1)
    if len(node.float_shape(source)) != _IMAGE_RANK:
        raise RefusedError("it samples over other axes than height and width")
    node.float_shape(grid)
    mode = node.text("mode", "linear")
    attributes = GridSampleAttributes(
        mode=SampleMode(_RENAMED.get(mode, mode)),
        padding=SamplePadding(node.text("padding_mode", "zeros")),
        aligns_corners=bool(node.integer("align_corners", 0)),
    )
    return node.layer(LayerKind.GRID_SAMPLE, attributes, inputs=(source, grid))
