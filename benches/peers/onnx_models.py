"""ONNX files as the peers want them, and ONNX Runtime to run what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime as ort
from onnxruntime.quantization.shape_inference import quant_pre_process

from peers.job import Array, Outputs, Predict, Quantized

CHANNEL_AXIS_OPSET = 13


def prepare(model: Path, folder: Path) -> Path:
    """The model with operators folded, in an opset that knows scales per channel."""
    proto = onnx.load(model)
    if next(o.version for o in proto.opset_import if o.domain == "") < CHANNEL_AXIS_OPSET:
        model = folder / "converted.onnx"
        onnx.save(_converted(proto), model)
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    return prepared


def _converted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The opset raised, without what the converter leaves for its users to tidy."""
    raised = onnx.version_converter.convert_version(proto, CHANNEL_AXIS_OPSET)
    graph = raised.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    # A constant that is an input as well could be overridden, so nothing would be folded into it.
    free = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(free)
    for node in graph.node:
        # Opset 11 wants empty scales beside sizes, opset 13 refuses them.
        if node.op_type == "Resize" and len(node.input) == 4:
            scales = constants.get(node.input[2])
            if scales is not None and list(scales.dims) == [0]:
                node.input[2] = ""
    return raised


def fixed_batch(model: Path, input_name: str) -> int | None:
    """The batch that the model insists on."""
    graph = onnx.load(model, load_external_data=False).graph
    value = next(value for value in graph.input if value.name == input_name)
    size: int = value.type.tensor_type.shape.dim[0].dim_value
    return size if size > 0 else None


def quantized(model: Path, input_name: str) -> Quantized:
    """A QDQ file for ONNX Runtime."""

    def open_session() -> Predict:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        def predict(batch: Array) -> Outputs:
            return [np.asarray(output) for output in session.run(None, {input_name: batch})]

        return predict

    return Quantized(open_session, fixed_batch(model, input_name))
