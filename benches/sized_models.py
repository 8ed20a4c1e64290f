"""Float networks of the sizes that speed is quoted for, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Channels, repeats, stride and expansion of MobileNetV2's stages.
MOBILENET_STAGES = (
    (16, 1, 1, 1),
    (24, 2, 2, 6),
    (32, 3, 2, 6),
    (64, 4, 2, 6),
    (96, 3, 1, 6),
    (160, 3, 2, 6),
    (320, 1, 1, 6),
)

#: Channels, blocks and stride of ResNet-50's stages.
RESNET_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))

INPUT_SHAPE = (1, 3, 224, 224)


class Builder:
    """Appends layers to an ONNX graph; weights keep the variance of what passes through."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        return name

    def convolution(
        self, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        depth, outputs = channels[0] // groups, channels[1]
        shape = (outputs, depth, kernel, kernel)
        weight = self.random.normal(0, (2 / (depth * kernel**2)) ** 0.5, shape)
        bias = self.random.normal(0, 0.1, outputs)
        pad = kernel // 2
        return self.node(
            "Conv",
            [x, self.constant(weight), self.constant(bias)],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=groups,
        )

    def classifier(self, x: str, depth: int, classes: int) -> str:
        pooled = self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)
        weight = self.random.normal(0, depth**-0.5, (classes, depth))
        bias = self.constant(np.zeros(classes))
        return self.node("Gemm", [pooled, self.constant(weight), bias], transB=1)

    def save(self, output: str, classes: int, path: Path) -> Path:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, INPUT_SHAPE)
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, (1, classes))
        graph = helper.make_graph(self.nodes, path.stem, [x], [y], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def write_mobilenet_v2(path: Path, classes: int = 1000) -> Path:
    """0.30 GMAC."""
    build = Builder(seed=2)

    def clipped(x: str) -> str:
        return build.node("Clip", [x, build.constant(np.array(0.0)), build.constant(np.array(6.0))])

    x, channels = clipped(build.convolution("x", (3, 32), 3, 2)), 32
    for width, repeats, first_stride, expansion in MOBILENET_STAGES:
        for repeat in range(repeats):
            stride, hidden, skip = (first_stride if repeat == 0 else 1), channels * expansion, x
            if expansion > 1:
                x = clipped(build.convolution(x, (channels, hidden)))
            x = clipped(build.convolution(x, (hidden, hidden), 3, stride, hidden))
            x = build.convolution(x, (hidden, width))
            if stride == 1 and channels == width:
                x = build.node("Add", [x, skip])
            channels = width
    x = clipped(build.convolution(x, (channels, 1280)))
    return build.save(build.classifier(x, 1280, classes), classes, path)


def write_resnet50(path: Path, classes: int = 1000) -> Path:
    """4.1 GMAC."""
    build = Builder(seed=50)
    x = build.node("Relu", [build.convolution("x", (3, 64), 7, 2)])
    x = build.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, first_stride in RESNET_STAGES:
        for block in range(blocks):
            stride, skip = (first_stride if block == 0 else 1), x
            x = build.node("Relu", [build.convolution(x, (channels, width))])
            x = build.node("Relu", [build.convolution(x, (width, width), 3, stride)])
            x = build.convolution(x, (width, 4 * width))
            if block == 0:
                skip = build.convolution(skip, (channels, 4 * width), 1, stride)
            x, channels = build.node("Relu", [build.node("Add", [x, skip])]), 4 * width
    return build.save(build.classifier(x, channels, classes), classes, path)


def write_frames(path: Path, count: int) -> Path:
    """Smooth random pictures, normalized: (count, 3, 224, 224)."""
    random = np.random.default_rng(7)
    coarse = random.normal(0, 1, (count, 3, 28, 28))
    noise = random.normal(0, 0.2, (count, 3, 224, 224))
    frames = coarse.repeat(8, axis=2).repeat(8, axis=3) + noise
    np.save(path, frames.astype(np.float32))
    return path
