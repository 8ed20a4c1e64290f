"""Float features of a Graph: ONNX Runtime with every wanted tensor as an output."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.errors import ModelError, nearest_names
from tidlq.float_runtime import FloatSession, open_float_session, refusal_reason
from tidlq.graph.model import Graph

Array = NDArray[np.generic]

_WEIGHTS_FILE = "weights"
_LEAST_OUTSIDE = 1 << 16
"""Bytes from which on a weight stays out of the serialized model."""
_PAGE = 1 << 12


class FloatFeatures:
    """A float network whose inner tensors can be read, one frame at a time.

    Args:
        graph: the float network.
        tensors: names of inputs, inner tensors or outputs of the graph.
        threads: threads of one run; 0 means one per core.

    Raises:
        ModelError: A name is not a tensor that the graph computes or is fed with, or ONNX Runtime
            cannot load the graph.
    """

    def __init__(self, graph: Graph, tensors: Sequence[str], *, threads: int = 0) -> None:
        self._name = graph.name
        self._fed = frozenset(signature.name for signature in graph.inputs)
        _check_names(graph, tensors)
        self.tensors = tuple(tensors)
        self._computed = [name for name in dict.fromkeys(tensors) if name not in self._fed]
        self._session = _open_session(graph, self._computed, threads)

    def run(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        """Executes one frame.

        Args:
            frame: arrays by input name, of the inputs' shapes and dtypes.

        Returns:
            The wanted tensors by name; an input is the frame's own array.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        # With no name ONNX Runtime would return every output.
        computed = []
        if self._computed:
            try:
                computed = self._session.run(self._computed, dict(frame))
            except Exception as error:
                raise ModelError(
                    f"ONNX Runtime cannot run model {self._name!r}: {refusal_reason(error)}."
                ) from None
        features = dict(zip(self._computed, computed, strict=True))
        return {name: frame[name] if name in self._fed else features[name] for name in self.tensors}


def _check_names(graph: Graph, tensors: Iterable[str]) -> None:
    constants = graph.model.graph.initializers
    for name in tensors:
        if name not in graph.values or name in constants:
            kind = "a constant" if name in constants else "not"
            raise ModelError(
                f"{name!r} is {kind} in model {graph.name!r}; a feature must be an input or be "
                f"computed.{nearest_names(name, (n for n in graph.values if n not in constants))}"
            )


def _open_session(graph: Graph, outputs: Iterable[str], threads: int) -> FloatSession:
    # The statistics use the cores between two runs.
    open_session = partial(
        open_float_session, threads=threads, is_spinning=False, plans_memory=False
    )
    outputs = tuple(outputs)
    try:
        with contextlib.ExitStack() as stack:
            source: bytes | Path
            try:
                source = _written_with_weights(graph, outputs, stack)
            except OSError:
                source = _with_outputs(graph, graph.model, outputs).SerializeToString()
            return open_session(source)
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime cannot load model {graph.name!r}: {refusal_reason(error)}."
        ) from None


def _written_with_weights(
    graph: Graph, outputs: Iterable[str], stack: contextlib.ExitStack
) -> bytes | Path:
    """The serialized model or, where the graph's weights are paged, a file that the stack removes.

    ONNX Runtime reads its weights one by one from another file: serialized, they would be in memory
    four times before it computes with them.
    """
    if not graph.pages:
        return _with_outputs(graph, graph.model, outputs).SerializeToString()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidlq-")))
    model = graph.model.clone()
    with (folder / _WEIGHTS_FILE).open("wb") as file:
        for name, value in model.graph.initializers.items():
            array = graph.constant(name)
            if array is None or array.dtype != np.float32 or array.nbytes < _LEAST_OUTSIDE:
                continue
            begin = file.tell()
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            value.const_value = ir.ExternalTensor(
                _WEIGHTS_FILE,
                begin,
                array.nbytes,
                ir.DataType.FLOAT,
                shape=ir.Shape(array.shape),
                name=name,
            )
            file.write(bytes(-array.nbytes % _PAGE))
    graph.rest_weights()
    path = folder / "model.onnx"
    path.write_bytes(_with_outputs(graph, model, outputs).SerializeToString())
    return path


def _with_outputs(graph: Graph, model: ir.Model, outputs: Iterable[str]) -> onnx.ModelProto:
    proto = ir.serde.serialize_model(model)
    present = {output.name for output in proto.graph.output}
    for name in outputs:
        if name not in present:
            proto.graph.output.append(_value_info(graph.values[name]))
    return proto


def _value_info(value: ir.Value) -> onnx.ValueInfoProto:
    if value.type is None:
        return onnx.ValueInfoProto(name=value.name)
    return ir.serde.serialize_value(value)
