"""ONNX Runtime's own integers of a pre-quantized model, tensor by tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from tidlq.graph.model import Graph
from tidlq.spec import FeatureQuant, IntegerType

Arrays = Mapping[str, NDArray[np.generic]]

_ADDED_SUFFIX = "_requantized"
_INTEGER_KERNELS = ("QLinear", "QGemm")
_LAYOUT = frozenset({"Transpose", "Reshape", "ReorderOutput"})
_MOVING = frozenset(
    {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Pad"}
)


@dataclass(frozen=True)
class IntegerTensor:
    """A tensor that a QuantizeLinear, or an operator on integers, writes.

    Attributes:
        name: in the model.
        quant: as a QuantizeLinear states it; None where that is not known.
    """

    name: str
    quant: FeatureQuant | None

    def fits(self, quant: FeatureQuant) -> bool:
        """The tensor may be the one that is quantized so."""
        return self.quant is None or self.quant == quant


def find_integers(model: onnx.ModelProto) -> Mapping[str, list[IntegerTensor]]:
    """Integer tensors by the names of the float tensors on either side of them, or by their own."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    found: dict[str, list[IntegerTensor]] = {}
    by_name: dict[str, IntegerTensor] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            tensor = IntegerTensor(node.output[0], _quant(node, constants))
            by_name[tensor.name] = tensor
            found.setdefault(node.input[0], []).append(tensor)
        elif node.op_type == "DequantizeLinear" and node.input[0] in by_name:
            found.setdefault(node.output[0], []).append(by_name[node.input[0]])
        elif node.op_type.startswith(_INTEGER_KERNELS) or (
            node.op_type in _MOVING and node.input[0] in by_name
        ):
            for name in node.output:
                by_name[name] = IntegerTensor(name, None)
                found.setdefault(name, []).append(by_name[name])
    return found


def _quant(node: onnx.NodeProto, constants: Arrays) -> FeatureQuant | None:
    if len(node.input) < 3 or any(name not in constants for name in node.input[1:]):
        return None
    scale, zero = (constants[name] for name in node.input[1:])
    if scale.size != 1:
        return None
    kind = IntegerType(8 * zero.dtype.itemsize, signed=zero.dtype.kind == "i")
    return FeatureQuant(kind, float(np.float32(scale.item())), int(zero.item()))


def pair_features(
    graph: Graph, quants: Mapping[str, FeatureQuant], model: onnx.ModelProto
) -> Mapping[str, str]:
    """The model's integer tensor behind each feature map of the Graph that has one.

    Args:
        graph: imported from the model.
        quants: of feature maps.
        model: the source.
    """
    integers = find_integers(model)
    pairs: dict[str, str] = {}
    for feature, quant in quants.items():
        origin = feature.removesuffix(_ADDED_SUFFIX)
        for tensor in (*integers.get(feature, ()), *integers.get(origin, ())):
            if tensor.fits(quant):
                pairs[feature] = tensor.name
                break
    assert all(name in graph.values for name in pairs)
    return pairs


class RuntimeIntegers:
    """ONNX Runtime with integer tensors as further outputs.

    Args:
        model: the source.
        tensors: names of the integer tensors.
        optimized: all graph optimizations, so that the integer kernels run; otherwise none.
    """

    def __init__(
        self, model: onnx.ModelProto, tensors: Iterable[str], *, optimized: bool = True
    ) -> None:
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
        present = {info.name for info in proto.graph.output}
        self.outputs = [info.name for info in proto.graph.output]
        self.tensors = list(dict.fromkeys(tensors))
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in self.tensors if name not in present
        )
        self.session, self._writers = open_session(proto, optimized=optimized)

    def kernel(self, tensor: str) -> str:
        """The operator that writes an integer tensor once ONNX Runtime has optimized the model.

        "QuantizeLinear" where a float kernel computed it.
        """
        node = self._writers[tensor]
        while node.op_type in _LAYOUT and node.input[0] in self._writers:
            node = self._writers[node.input[0]]
        return node.op_type

    def run(
        self, feeds: Arrays
    ) -> tuple[dict[str, NDArray[np.generic]], list[NDArray[np.generic]]]:
        """Integers by name, and the model's own outputs."""
        arrays = self.session.run([*self.tensors, *self.outputs], dict(feeds))
        count = len(self.tensors)
        return dict(zip(self.tensors, arrays[:count], strict=True)), arrays[count:]


def open_session(
    model: onnx.ModelProto, *, optimized: bool = True
) -> tuple[onnxruntime.InferenceSession, Mapping[str, onnx.NodeProto]]:
    """ONNX Runtime on the CPU, and which node of the model as it runs writes each tensor."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Signed features have integer kernels too, which the default leaves to other processors.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(file)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        nodes = onnx.load(file).graph.node
    return session, {name: node for node in nodes for name in node.output}
