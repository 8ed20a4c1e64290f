"""Small float networks, node by node, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from tidlq.calibration import FloatFeatures
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, partition
from tidlq.graph.recognition import find_layers
from tidlq.graph.recognition.fusions import FusionChoice

Array = NDArray[np.generic]


class SmallNetwork:
    """A network under construction; every method returns the name of the tensor it adds."""

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, Sequence[int]] = {}

    def input(self, *shape: int) -> str:
        name = f"input{len(self.inputs)}"
        self.inputs[name] = shape
        return name

    def constant(self, values: ArrayLike, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values, np.float32)
        return name

    def integers(self, values: Sequence[int]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.array(values, np.int64)
        return name

    def random(self, *shape: int, name: str | None = None) -> str:
        return self.constant(self.rng.normal(size=shape), name)

    def node(self, op: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        name = name or f"{op.lower()}{len(self.nodes)}"
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(
        self,
        source: str,
        shape: Sequence[int],
        *,
        bias: bool = True,
        name: str | None = None,
        **attributes: object,
    ) -> str:
        inputs = [source, self.random(*shape)]
        if bias:
            inputs.append(self.random(shape[0]))
        return self.node("Conv", *inputs, name=name, **attributes)

    def clip(self, source: str, low: float | None, high: float | None, **named: str) -> str:
        bounds = ["" if bound is None else self.constant(bound) for bound in (low, high)]
        return self.node("Clip", source, *bounds, **named)

    def batch_norm(self, source: str, channels: int, **named: str) -> str:
        variance = self.constant(self.rng.uniform(0.5, 2, size=channels))
        scale, shift, mean = (self.random(channels) for _ in range(3))
        return self.node("BatchNormalization", source, scale, shift, mean, variance, **named)

    def model(self, *outputs: str) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "small",
            [value(name, TensorProto.FLOAT, shape) for name, shape in self.inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return shape_inference.infer_shapes(model, data_prop=True)

    def graph(self, *outputs: str) -> Graph:
        return Graph(ir.from_proto(self.model(*outputs)), "small")


def parts_of(graph: Graph, fusions: FusionChoice | None = None) -> Partition:
    return partition(graph, find_layers(graph, fusions=fusions))


def random_frame(graph: Graph, seed: int, scale: float = 1.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        item.name: (scale * rng.normal(size=item.shape)).astype(item.dtype) for item in graph.inputs
    }


def float_outputs(graph: Graph, frame: Mapping[str, Array]) -> dict[str, Array]:
    return FloatFeatures(graph, [item.name for item in graph.outputs], threads=1).run(frame)
