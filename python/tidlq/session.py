"""InferenceSession: runs artifacts with ONNX Runtime's calling convention."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidlq.artifacts import Artifacts, StageFile, load_artifacts
from tidlq.engine import FixedStage
from tidlq.errors import ArtifactError, DataError, nearest_names
from tidlq.float_runtime import open_float_session, refusal_reason
from tidlq.graph.model import TensorSignature
from tidlq.graph.partition import StageKind

Array = NDArray[np.generic]

_ORT_TYPES = {
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    "float16": "tensor(float16)",
    "bool": "tensor(bool)",
}


@dataclass(frozen=True)
class NodeArg:
    """An input or output, as ONNX Runtime describes it.

    Attributes:
        name: the tensor's name.
        shape: sizes; a name stands for a free size.
        type: such as "tensor(float)".
    """

    name: str
    shape: list[int | str]
    type: str


class _Stage(Protocol):
    def run(self, feeds: Mapping[str, Array], frames: int) -> dict[str, Array]: ...


class _FixedStage:
    """A fixed stage in the integer engine; every fixed stage reads at least one tensor."""

    def __init__(self, stage: StageFile, threads: int) -> None:
        self._stage = FixedStage(stage.content, stage.inputs, stage.outputs, threads)

    def run(self, feeds: Mapping[str, Array], frames: int) -> dict[str, Array]:  # noqa: ARG002
        return self._stage.run(feeds)


class _FloatStage:
    """A float island in ONNX Runtime; frames run one by one."""

    def __init__(self, stage: StageFile, threads: int) -> None:
        try:
            self._session = open_float_session(
                stage.content, threads=threads, keeps_layout=stage.keeps_layout
            )
        except Exception as error:
            raise ArtifactError(
                f"ONNX Runtime refuses island {stage.file!r}: {refusal_reason(error)}."
            ) from None
        self.inputs, self.outputs = stage.inputs, stage.outputs
        self._file = stage.file

    def run(self, feeds: Mapping[str, Array], frames: int) -> dict[str, Array]:
        rows = [
            # The ellipsis keeps a scalar an array.
            self._run_frame({name: feeds[name][frame, ...] for name in self.inputs})
            for frame in range(frames)
        ]
        columns = zip(*rows, strict=True)
        return {n: np.stack(arrays) for n, arrays in zip(self.outputs, columns, strict=True)}

    def _run_frame(self, feeds: Mapping[str, Array]) -> list[Array]:
        try:
            return self._session.run(self.outputs, feeds)
        except Exception as error:
            raise ArtifactError(
                f"ONNX Runtime cannot run island {self._file!r}: {refusal_reason(error)}."
            ) from None


class InferenceSession:
    """Executes a folder of artifacts.

    A network whose batch was free takes any batch; its frames are independent.

    Args:
        artifacts: a folder written by `tidlq compile`, or the Artifacts themselves.
        threads: worker threads; 0 means one per core.

    Raises:
        ArtifactError: The folder is damaged, incomplete or of a newer version.
    """

    def __init__(self, artifacts: str | os.PathLike[str] | Artifacts, *, threads: int = 0) -> None:
        if not isinstance(artifacts, Artifacts):
            artifacts = load_artifacts(artifacts)
        self.artifacts = artifacts
        self._stages: list[tuple[StageFile, _Stage]] = []
        for stage in artifacts.stages:
            is_fixed = stage.kind is StageKind.FIXED
            executor = _FixedStage(stage, threads) if is_fixed else _FloatStage(stage, threads)
            self._stages.append((stage, executor))

    def get_inputs(self) -> list[NodeArg]:
        """The network's inputs."""
        return [_node_arg(signature) for signature in self.artifacts.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """The network's outputs."""
        return [_node_arg(signature) for signature in self.artifacts.outputs]

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> list[Array]:
        """Runs the network.

        Args:
            output_names: outputs to return, in this order; None means all.
            input_feed: one array per input, of the input's dtype and shape; float32 arrays for a
                quantized input are quantized by its scale.

        Returns:
            One array per output name.

        Raises:
            DataError: An input is missing, unknown, or of another dtype or shape.
        """
        known = [signature.name for signature in self.artifacts.outputs]
        names = list(known if output_names is None else output_names)
        for name in names:
            if name not in known:
                raise DataError(
                    f"The network has no output {name!r}; it has {known}."
                    f"{nearest_names(name, known)}"
                )
        tensors = self._frames(input_feed)
        frames = len(next(iter(tensors.values()))) if tensors else 1
        for stage, executor in self._stages:
            tensors |= executor.run({name: tensors[name] for name in stage.inputs}, frames)
        return [self._batch(tensors[name]) for name in names]

    def _frames(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Checks the feed and gives every array a leading axis of frames."""
        known = [signature.name for signature in self.artifacts.inputs]
        for name in feed:
            if name not in known:
                raise DataError(
                    f"The network has no input {name!r}; it has {known}."
                    f"{nearest_names(name, known)}"
                )
        tensors: dict[str, Array] = {}
        batches: dict[str, int] = {}
        for signature in self.artifacts.inputs:
            if signature.name not in feed:
                raise DataError(f"Input {signature.name!r} is missing from the feed.")
            array = np.asarray(feed[signature.name])
            _check_array(signature, array, self.artifacts.free_batch)
            tensors[signature.name] = signature.stored(array).reshape(-1, *signature.shape)
            batches[signature.name] = len(tensors[signature.name])
        if len(set(batches.values())) > 1:
            raise DataError(f"The inputs have different batches: {batches}.")
        return tensors

    def _batch(self, frames: Array) -> Array:
        """Frames of batch 1 become one batch."""
        if self.artifacts.free_batch:
            return frames.reshape(-1, *frames.shape[2:])
        return np.asarray(frames[0])


def _check_array(signature: TensorSignature, array: Array, free_batch: bool) -> None:
    if not signature.takes(array.dtype):
        raise DataError(
            f"Input {signature.name!r} has dtype {array.dtype}; it must be {signature.dtype}."
        )
    expected = signature.shape
    fits = array.shape == expected
    if free_batch:
        fits = array.ndim == len(expected) and array.shape[1:] == expected[1:] and len(array) > 0
    if not fits:
        raise DataError(
            f"Input {signature.name!r} has shape {list(array.shape)}; "
            f"it must be {list(signature.interface_shape)}."
        )


def _node_arg(signature: TensorSignature) -> NodeArg:
    kind = signature.dtype.name
    return NodeArg(
        signature.name, list(signature.interface_shape), _ORT_TYPES.get(kind, f"tensor({kind})")
    )


def load(artifacts: str | os.PathLike[str], *, threads: int = 0) -> InferenceSession:
    """Opens a folder of artifacts; the same as `InferenceSession(artifacts)`."""
    return InferenceSession(artifacts, threads=threads)
