"""An ONNX graph under construction: nodes in order, initializers, and names that do not clash."""

from __future__ import annotations

from collections.abc import Iterable, Set

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tidlq.export.parameters import StoredBias, StoredConstant
from tidlq.graph.model import Graph
from tidlq.passes.node_editing import FreshNames
from tidlq.spec import FeatureQuant

Node = onnx.NodeProto
Shape = tuple[int, ...]


class GraphWriter:
    """Collects nodes and initializers.

    Args:
        graph: whose names are taken.
        free: names of constants of the Graph that the export does not have under that name.
        domain: of QuantizeLinear and DequantizeLinear.
    """

    def __init__(self, graph: Graph, free: Set[str], domain: str) -> None:
        self.nodes: list[Node] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names = FreshNames(graph.model.graph)
        self._free = set(free)
        self._domain = domain

    def take_name(self, base: str) -> str:
        """The name itself, or with a number where something has it already."""
        if base in self._free:
            self._free.remove(base)
            return base
        return self._names.take(base)

    def add_node(self, op_type: str, inputs: Iterable[str], output: str, name: str) -> Node:
        """A node of the default domain; its name gets a number where it is taken."""
        node = helper.make_node(op_type, list(inputs), [output], name=self.take_name(name))
        self.nodes.append(node)
        return node

    def add_constant(self, name: str, array: NDArray[np.generic]) -> str:
        """An initializer; returns the name that it got."""
        name = self.take_name(name)
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def add_quantization(
        self, source: str, tensor: str, quant: FeatureQuant, output: str | None = None
    ) -> tuple[str, str]:
        """QuantizeLinear and DequantizeLinear behind a tensor.

        Args:
            source: what is quantized.
            tensor: name of the Graph's tensor, which the nodes are named after.
            quant: its quantization.
            output: name of the dequantized tensor; None: a free one.

        Returns:
            The names of the quantized and of the dequantized tensor.
        """
        scale = self.add_constant(f"{tensor}/scale", np.array(quant.scale, np.float32))
        zero = np.array(quant.zero_point, quant.type.dtype)
        zero_point = self.add_constant(f"{tensor}/zero_point", zero)
        integers = self.take_name(f"{tensor}/quantized")
        result = output if output is not None else self.take_name(f"{tensor}/dequantized")
        quantize = self.add_node(
            "QuantizeLinear", [source, scale, zero_point], integers, f"{tensor}/quantize"
        )
        dequantize = self.add_node(
            "DequantizeLinear", [integers, scale, zero_point], result, f"{tensor}/dequantize"
        )
        quantize.domain = dequantize.domain = self._domain
        return integers, result

    def add_guarded(self, tensor: str, integers: str, quant: FeatureQuant, sizes: Shape) -> str:
        """A second DequantizeLinear, whose scale is repeated along an axis.

        ONNX Runtime (`WeightBiasQuantization`) rounds the float weights of a Conv, ConvTranspose or
        Gemm to 8 bits where a DequantizeLinear with one scale leads to it.

        Args:
            tensor: name of the Graph's tensor.
            integers: its quantized form.
            quant: its quantization.
            sizes: its shape.

        Returns:
            The name of the dequantized tensor.
        """
        axis = max(range(len(sizes)), key=lambda index: (index > 0, sizes[index]))
        scales = np.full(sizes[axis], quant.scale, np.float32)
        zeros = np.full(sizes[axis], quant.zero_point, quant.type.dtype)
        inputs = [
            integers,
            self.add_constant(f"{tensor}/scales", scales),
            self.add_constant(f"{tensor}/zero_points", zeros),
        ]
        result = self.take_name(f"{tensor}/float")
        node = self.add_node("DequantizeLinear", inputs, result, f"{tensor}/dequantize")
        node.domain = self._domain
        node.attribute.append(helper.make_attribute("axis", axis))
        return result

    def add_stored(self, constant: StoredConstant) -> str:
        """Integers and their DequantizeLinear; returns the name of the real values."""
        name = constant.name
        result = self.take_name(name)
        inputs = [
            self.add_constant(f"{name}/quantized", constant.integers),
            self.add_constant(f"{name}/scale", constant.scales),
        ]
        if constant.bits < 32:
            zero_points = constant.zero_points
            if zero_points is None:
                zero_points = np.zeros(constant.scales.shape, constant.integers.dtype)
            inputs.append(self.add_constant(f"{name}/zero_point", zero_points))
        node = self.add_node("DequantizeLinear", inputs, result, f"{name}/dequantize")
        node.domain = self._domain
        if constant.scales.ndim:
            node.attribute.append(helper.make_attribute("axis", constant.axis))
        return result

    def add_bias(self, bias: StoredBias) -> str:
        """A bias, as one DequantizeLinear, as the sum of two, or as real values."""
        if not bias.parts:
            return self.add_constant(bias.name, bias.values)
        if len(bias.parts) == 1:
            return self.add_stored(bias.parts[0])
        result = self.take_name(bias.name)
        parts = [self.add_stored(part) for part in bias.parts]
        self.add_node("Add", parts, result, f"{bias.name}/sum")
        return result
