"""Quantized layers whose output is not quantized, as small QDQ models."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.generic]


@dataclass
class QdqNetwork:
    """A QDQ model under construction; every method returns the name of the tensor it adds."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        output = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def quantized(self, source: str, scale: float, zero_point: Array) -> str:
        """A feature map between QuantizeLinear and DequantizeLinear."""
        numbers = self.constant(np.float32(scale)), self.constant(zero_point)
        return self.node(
            "DequantizeLinear", self.node("QuantizeLinear", source, *numbers), *numbers
        )

    def stored(self, integers: Array, scales: NDArray[np.float32], axis: int = 0) -> str:
        """A constant behind a DequantizeLinear; one scale is one for all."""
        scales = scales.reshape(()) if scales.size == 1 else scales
        numbers = self.constant(scales), self.constant(np.zeros(scales.shape, integers.dtype))
        return self.node("DequantizeLinear", self.constant(integers), *numbers, axis=axis)

    def model(self, shape: tuple[int, ...], *outputs: str) -> onnx.ModelProto:
        """With one input, `x`."""
        float32 = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("x", float32, shape)],
            [helper.make_tensor_value_info(name, float32, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return onnx.shape_inference.infer_shapes(model)
