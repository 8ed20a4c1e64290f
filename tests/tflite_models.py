"""Small TFLite models, operator by operator, and what LiteRT's reference kernels make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

Array = NDArray[np.generic]

_TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}

# Operators whose options are not called `<OperatorName>Options`.
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "PADV2": "PadV2Options",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONV_3D": "Conv3DOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    "TOPK_V2": "TopKV2Options",
    "RELU_0_TO_1": "",
    "LOGISTIC": "",
    "RELU": "",
    "RELU6": "",
    "RELU_N1_TO_1": "",
    "TANH": "",
    "ELU": "",
    "PRELU": "",
    "LOG": "",
    "SQRT": "",
    "RSQRT": "",
    "SIN": "",
}


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor of a TFLite model.

    Attributes:
        name: unique in the model.
        shape: static sizes; where a constant is given, its own.
        dtype: stored type.
        scales: none for a tensor without quantization, one, or one per index of `axis`.
        zero_points: as many as scales; empty stands for zeros.
        axis: quantized dimension.
        constant: the stored elements; None for a computed tensor.
        shape_signature: sizes as the interface declares them, -1 where free; empty for none.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: np.dtype[np.generic] | type[np.generic] = np.float32
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    constant: Array | None = None
    shape_signature: tuple[int, ...] = ()


def constant(
    name: str,
    values: Array,
    scales: Sequence[float] = (),
    zero_points: Sequence[int] = (),
    axis: int = 0,
) -> TfliteTensor:
    """A tensor that holds values."""
    return TfliteTensor(
        name, values.shape, values.dtype, tuple(scales), tuple(zero_points), axis, values
    )


@dataclass(frozen=True)
class TfliteOperator:
    """An operator by its name in the schema, with tensors by name; "" is an absent input.

    Attributes:
        op: name in BuiltinOperator, such as CONV_2D; or, of a custom operator, its code.
        inputs, outputs: names of tensors.
        options: fields of the operator's options table, by their names in the object API.
        version: of the operator.
        custom_options: bytes; given, the operator is a custom one.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    version: int = 1
    custom_options: bytes | None = None


def tflite_model(
    tensors: Sequence[TfliteTensor],
    operators: Sequence[TfliteOperator],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> bytes:
    """The bytes of a model with one subgraph."""
    model = schema.ModelT()
    model.version = 3
    model.description = "test"
    model.buffers = [schema.BufferT()]
    index = {tensor.name: number for number, tensor in enumerate(tensors)}
    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [_tensor(tensor, model.buffers) for tensor in tensors]
    graph.inputs = np.array([index[name] for name in inputs], np.int32)
    graph.outputs = np.array([index[name] for name in outputs], np.int32)
    model.operatorCodes = []
    graph.operators = [_operator(operator, index, model.operatorCodes) for operator in operators]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(tensor: TfliteTensor, buffers: list[schema.BufferT]) -> schema.TensorT:
    made = schema.TensorT()
    made.name = tensor.name
    values = tensor.constant
    shape = tensor.shape if values is None else values.shape
    dtype = np.dtype(tensor.dtype) if values is None else values.dtype
    made.shape = np.array(shape, np.int32)
    if tensor.shape_signature:
        made.shapeSignature = np.array(tensor.shape_signature, np.int32)
    made.type = _TENSOR_TYPES[dtype]
    if tensor.scales:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.array(tensor.scales, np.float32)
        zero_points = tensor.zero_points or (0,) * len(tensor.scales)
        made.quantization.zeroPoint = np.array(zero_points, np.int64)
        made.quantization.quantizedDimension = tensor.axis
    made.buffer = 0
    if values is not None:
        buffer = schema.BufferT()
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        buffer.data = np.frombuffer(little.tobytes(), np.uint8)
        buffers.append(buffer)
        made.buffer = len(buffers) - 1
    return made


def _operator(
    operator: TfliteOperator, index: Mapping[str, int], codes: list[schema.OperatorCodeT]
) -> schema.OperatorT:
    made = schema.OperatorT()
    code = schema.OperatorCodeT()
    if operator.custom_options is None:
        code.builtinCode = getattr(schema.BuiltinOperator, operator.op)
    else:
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = operator.op
        made.customOptions = np.frombuffer(operator.custom_options, np.uint8)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = operator.version
    made.opcodeIndex = len(codes)
    codes.append(code)
    made.inputs = np.array([index[name] if name else -1 for name in operator.inputs], np.int32)
    made.outputs = np.array([index[name] for name in operator.outputs], np.int32)
    if operator.custom_options is None:
        _set_options(operator, made)
    return made


def _set_options(operator: TfliteOperator, made: schema.OperatorT) -> None:
    regular = "".join(word.capitalize() for word in operator.op.split("_")) + "Options"
    name = _OPTIONS.get(operator.op, regular)
    if not hasattr(schema.BuiltinOptions, name):
        assert not operator.options, f"{operator.op} has no options"
        return
    made.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    made.builtinOptions = getattr(schema, f"{name}T")()
    for key, value in operator.options.items():
        assert hasattr(made.builtinOptions, key), f"{name} has no field {key}"
        setattr(made.builtinOptions, key, value)


def run_reference(
    model: bytes, inputs: Mapping[str, Array], *, has_reference: bool = True
) -> dict[str, Array]:
    """Every tensor of a model after LiteRT's reference kernels ran it, by name.

    Args:
        model: bytes of the model.
        inputs: elements of the model's inputs, as stored.
        has_reference: false for operators (ELU) that have one kernel only, which LiteRT does not
            list among the reference kernels.
    """
    resolver = (
        OpResolverType.BUILTIN_REF
        if has_reference
        else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    by_name = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    for name, values in inputs.items():
        interpreter.set_tensor(by_name[name], values)
    interpreter.invoke()
    return {
        detail["name"]: np.array(interpreter.get_tensor(detail["index"]))
        for detail in interpreter.get_tensor_details()
        if not detail["name"].startswith("temp") and detail["shape"].all()
    }
