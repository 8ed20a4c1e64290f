"""T_8 of the device models against latencies that TI has published.

Networks are built here, with the layers and sizes of the published ones: the model looks at nothing
else. Prints a table in Markdown.

Sources: TI SPRADA8 (AM68A, frames per second), TI's data sheets of the Edge AI SDK for TDA4VM
(inference time, 8.1 to 8.4) and the reference figures of its model-zoo benchmark on TDA4VM.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tidlq.graph.partition import partition
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx
from tidlq.precision.work import layer_bits, layer_work
from tidlq.spec import Precision
from tidlq.target import Device, layer_cycles


class Builder:
    """A network of convolutions on a 224 x 224 picture."""

    def __init__(self, size: int = 224) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.size, self.channels, self.last = size, 3, "x"
        self.start = size

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.last = name
        return name

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
        return name

    def conv(self, out: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        weight = self.weight(out, self.channels // groups, kernel, kernel)
        pads = [(kernel - 1) // 2] * 4
        self.size, self.channels = math.ceil(self.size / stride), out
        return self.node("Conv", self.last, weight, strides=[stride] * 2, pads=pads, group=groups)

    def classify(self, classes: int) -> onnx.ModelProto:
        self.node("GlobalAveragePool", self.last)
        self.conv(classes, 1)
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "published",
            [value("x", TensorProto.FLOAT, [1, 3, self.start, self.start])],
            [value(self.last, TensorProto.FLOAT, [1, classes, 1, 1])],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rounded(channels: float) -> int:
    """Channels as MobileNets round them: to multiples of 8, never by more than a tenth down."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


def mobilenet_v1() -> onnx.ModelProto:
    net = Builder()
    net.conv(32, 3, 2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for out, stride in (*plan, (1024, 2), (1024, 1)):
        net.conv(net.channels, 3, stride, net.channels)
        net.conv(out, 1)
    return net.classify(1000)


def mobilenet_v2(width: float = 1.0) -> onnx.ModelProto:
    net = Builder()
    net.conv(rounded(32 * width), 3, 2)
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    for factor, channels, count, first in (*plan, (6, 160, 3, 2), (6, 320, 1, 1)):
        for index in range(count):
            before, stride = net.last, first if index == 0 else 1
            inner, out = net.channels * factor, rounded(channels * width)
            is_residual = stride == 1 and net.channels == out
            if factor > 1:
                net.conv(inner, 1)
            net.conv(inner, 3, stride, inner)
            after = net.conv(out, 1)
            if is_residual:
                net.node("Add", before, after)
    net.conv(max(1280, rounded(1280 * width)), 1)
    return net.classify(1000)


def regnetx_200mf() -> onnx.ModelProto:
    net = Builder()
    net.conv(32, 3, 2)
    for channels, count in ((24, 1), (56, 1), (152, 4), (368, 7)):
        for index in range(count):
            before, stride = net.last, 2 if index == 0 else 1
            start, size = net.channels, net.size
            net.conv(channels, 1)
            net.conv(channels, 3, stride, channels // 8)
            after = net.conv(channels, 1)
            if index == 0:
                kept = net.size
                net.last, net.channels, net.size = before, start, size
                before = net.conv(channels, 1, 2)
                assert net.size == kept
            net.node("Add", before, after)
    return net.classify(1000)


@dataclass(frozen=True)
class Published:
    """A latency that TI has published, milliseconds."""

    name: str
    device: Device
    build: Callable[[], onnx.ModelProto]
    latency: float
    source: str


PUBLISHED = (
    Published("MobileNetV1", Device.TDA4VM, mobilenet_v1, 1.66, "model-zoo benchmark"),
    Published("MobileNetV1", Device.TDA4VM, mobilenet_v1, 1.51, "SDK data sheet, latest"),
    Published("MobileNetV1", Device.TDA4VM, mobilenet_v1, 1.90, "SDK data sheet, 8.1"),
    Published("MobileNetV1", Device.TDA4VM, mobilenet_v1, 1.06, "SDK data sheet, 8.4"),
    Published("MobileNetV2", Device.TDA4VM, mobilenet_v2, 2.36, "model-zoo benchmark (TVM)"),
    Published("MobileNetV2 1.4", Device.TDA4VM, lambda: mobilenet_v2(1.4), 3.02, "SDK data sheet"),
    Published("RegNetX-200MF", Device.TDA4VM, regnetx_200mf, 2.96, "model-zoo benchmark"),
    Published("MobileNetV2", Device.AM68A, mobilenet_v2, 2.00, "SPRADA8, 500 per second"),
)


def predict(model: onnx.ModelProto, device: Device, bits: int) -> float:
    """Milliseconds of a network with the same bits everywhere."""
    graph = import_onnx(model)
    work = layer_work(graph, partition(graph, find_layers(graph, {}, None)))
    precision = Precision(bits)
    cycles = sum(layer_cycles(item, layer_bits(item, precision), device) for item in work)
    return cycles / (device.facts.clock_ghz * 1e6)


def render(rows: Sequence[Published]) -> str:
    """The table, and the spread of the ratios."""
    lines = [
        "| network, 224 x 224 | device | published ms | source | T_8 ms | ratio | T_16 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for row in rows:
        model = row.build()
        narrow, wide = (predict(model, row.device, bits) for bits in (8, 16))
        ratios.append(narrow / row.latency)
        lines.append(
            f"| {row.name} | {row.device.value} | {row.latency:.2f} | {row.source} | "
            f"{narrow:.2f} | {ratios[-1]:.2f} | {wide:.2f} |"
        )
    spread = (
        f"Ratio: median {statistics.median(ratios):.2f}, "
        f"from {min(ratios):.2f} to {max(ratios):.2f}."
    )
    return "\n".join([*lines, "", spread])


if __name__ == "__main__":
    print(render(PUBLISHED))
