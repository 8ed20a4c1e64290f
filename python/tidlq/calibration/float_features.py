"""Float features of a Graph: ONNX Runtime with every wanted tensor as an output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from tidlq.errors import ModelError, nearest_names
from tidlq.graph.model import Graph

Array = NDArray[np.generic]

# What ONNX Runtime puts around a reason: its own codes, and the place in its sources.
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"\S+\.(?:cc|cpp|h|hpp):\d+ [^(]*\([^)]*\) ")
_RUNNING = re.compile(
    r"^Non-zero status code .* running (\w+) node\. Name:('.*?') Status Message: "
)
_LONGEST_REASON = 300


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
                raise _refusal(f"ONNX Runtime cannot run model {self._name!r}", error) from None
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


def _open_session(graph: Graph, outputs: Iterable[str], threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Idle threads would spin on the cores that the statistics use between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = _model_with_outputs(graph, outputs)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refusal(f"ONNX Runtime cannot load model {graph.name!r}", error) from None


def _model_with_outputs(graph: Graph, outputs: Iterable[str]) -> bytes:
    proto = ir.serde.serialize_model(graph.model)
    present = {output.name for output in proto.graph.output}
    for name in outputs:
        if name not in present:
            proto.graph.output.append(_value_info(graph.values[name]))
    return proto.SerializeToString()


def _value_info(value: ir.Value) -> onnx.ValueInfoProto:
    if value.type is None:
        return onnx.ValueInfoProto(name=value.name)
    return ir.serde.serialize_value(value)


def _refusal(what: str, error: Exception) -> ModelError:
    """One sentence of what is often several lines with source paths."""
    reason = _CODE.sub("", " ".join(str(error).split()))
    reason = _RUNNING.sub(r"\1 node \2: ", _PLACE.sub("", reason))
    if len(reason) > _LONGEST_REASON:
        reason = reason[:_LONGEST_REASON] + " ..."
    return ModelError(f"{what}: {reason.rstrip('.')}.")
