"""One-operator TFLite models, alone and between convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from tflite_models import (
    TfliteOperator,
    TfliteTensor,
    constant,
    run_reference,
    tflite_model,
)

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Fed:
    """An input that the network's caller gives."""

    values: Array


@dataclass(frozen=True)
class Case:
    """An operator on certain inputs.

    Attributes:
        name: of the test.
        op: operator.
        inputs: fed ones, constants, None where one is absent.
        outputs: element types of the outputs.
        options: of the operator.
        version: of the operator.
        is_optimized: the reference kernels lack the operator, or err; LiteRT's others do not.
    """

    name: str
    op: str
    inputs: tuple[Fed | Array | None, ...]
    outputs: tuple[type[np.generic], ...] = (np.float32,)
    options: Mapping[str, object] = field(default_factory=dict)
    version: int = 1
    is_optimized: bool = False


def feeds(case: Case) -> dict[str, Array]:
    """What the caller gives, by input name."""
    return {f"in{i}": given.values for i, given in enumerate(case.inputs) if isinstance(given, Fed)}


def model_alone(case: Case) -> bytes:
    """The operator alone."""
    tensors, names = _inputs(case)
    outputs = _outputs(case, [()] * len(case.outputs))
    operator = _operator(case, names, outputs)
    return tflite_model([*tensors, *outputs], [operator], list(feeds(case)), _names(outputs))


def run(case: Case, model: bytes) -> dict[str, Array]:
    """What LiteRT computes of a model of this case: every output by name, at least."""
    if not case.is_optimized:
        return run_reference(model, feeds(case))
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feeds(case)[detail["name"]])
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in outputs}


def images(case: Case) -> list[str]:
    """Fed feature maps of rank 4."""
    given = feeds(case).items()
    return [name for name, values in given if _is_image(values.shape, values.dtype)]


def model_between(case: Case) -> bytes:
    """The operator between convolutions, which have channels first in the Graph."""
    tensors, names = _inputs(case)
    operators: list[TfliteOperator] = []
    shapes = {name: feeds(case)[name].shape for name in images(case)}
    for name, shape in shapes.items():
        made, convolution = _point_convolution(name, f"{name}_features", shape)
        tensors += made
        operators.append(convolution)
        names = [f"{name}_features" if n == name else n for n in names]
    found = run(case, model_alone(case))
    outputs = _outputs(case, [found[f"out{i}"].shape for i in range(len(case.outputs))])
    operators.append(_operator(case, names, outputs))
    ends: list[str] = []
    for output in list(outputs):
        ends.append(output.name)
        if _is_image(output.shape, np.dtype(output.dtype)):
            made, convolution = _point_convolution(
                output.name, f"{output.name}_after", output.shape
            )
            outputs += made
            operators.append(convolution)
            ends.append(f"{output.name}_after")
    return tflite_model([*tensors, *outputs], operators, list(feeds(case)), ends)


def _is_image(shape: Sequence[int], dtype: np.dtype[np.generic]) -> bool:
    return len(shape) == 4 and dtype == np.float32


def _inputs(case: Case) -> tuple[list[TfliteTensor], list[str]]:
    tensors: list[TfliteTensor] = []
    names: list[str] = []
    for i, given in enumerate(case.inputs):
        name = "" if given is None else f"in{i}"
        names.append(name)
        if isinstance(given, Fed):
            tensors.append(TfliteTensor(name, given.values.shape, given.values.dtype))
        elif given is not None:
            tensors.append(constant(name, given))
    return tensors, names


def _outputs(case: Case, shapes: Sequence[tuple[int, ...]]) -> list[TfliteTensor]:
    return [
        TfliteTensor(f"out{i}", shape, dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, case.outputs, strict=True))
    ]


def _names(tensors: Sequence[TfliteTensor]) -> list[str]:
    return [tensor.name for tensor in tensors]


def _operator(case: Case, names: Sequence[str], outputs: Sequence[TfliteTensor]) -> TfliteOperator:
    return TfliteOperator(
        case.op, tuple(names), tuple(_names(outputs)), dict(case.options), case.version
    )


def _point_convolution(
    source: str, result: str, shape: tuple[int, ...]
) -> tuple[list[TfliteTensor], TfliteOperator]:
    """A 1x1 convolution that keeps the shape, and nearly the values."""
    channels = shape[-1]
    mixing = np.eye(channels) + 0.125 * np.random.default_rng(3).normal(size=(channels, channels))
    weight = mixing.astype(np.float32).reshape(channels, 1, 1, channels)
    bias = np.zeros(channels, np.float32)
    tensors = [
        TfliteTensor(result, shape),
        constant(f"{result}_weight", weight),
        constant(f"{result}_bias", bias),
    ]
    options = {"strideW": 1, "strideH": 1}
    inputs = (source, f"{result}_weight", f"{result}_bias")
    return tensors, TfliteOperator("CONV_2D", inputs, (result,), options)
