"""How far the integer network's outputs are from the float network's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import EllipsisType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq._core import ErrorStatistics
from tidlq.calibration.bias.branches import output_branches
from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.stages import IntegerStages
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.model import Graph, TensorSignature
from tidlq.graph.partition import Partition
from tidlq.spec import QuantPlan

Array = NDArray[np.generic]
Members = Sequence[NDArray[np.bool_] | EllipsisType]
"""Of an output, the elements of each branch."""

QUIET_PART = 1e-4
"""Part of the whole error below which frames count alike in the typical error."""


class OutputJudge:
    """Compares the network's outputs with the float network's.

    Args:
        graph: the float network.
        partition: its stages.
        reference: by frame, the float network's outputs by name, those of `judged_outputs` at
            least.
    """

    def __init__(
        self, graph: Graph, partition: Partition, reference: Sequence[Mapping[str, Array]]
    ) -> None:
        self._names = judged_outputs(graph, partition)
        self._branches = {name: _members(graph, name) for name in self._names}
        self._reference = reference

    def typical_error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Geometric mean over frames of  e + q E,  e a frame's relative error and E the whole one.

        A classifier's whole error is that of the few frames it is in doubt about: over a sample
        of frames it says less about other frames than the typical error does. What is quieter
        than q = `QUIET_PART` of the whole does not count.

        Args:
            outputs: [frames, *shape] by name.
        """
        whole = self.error(outputs)
        if whole <= 0:
            return whole
        logs: list[float] = []
        for index, reference in enumerate(self._reference):
            error = math.fsum(
                statistics.relative_error
                for name in self._names
                for statistics in _frame_errors(
                    reference[name], outputs[name][index], self._branches[name]
                )
            )
            logs.append(math.log(error + QUIET_PART * whole))
        return math.exp(math.fsum(logs) / len(logs))

    def error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Sum over the branches of the outputs of  sum of error^2 / sum of reference^2.

        What is not finite in the float network's outputs does not count.

        Args:
            outputs: [frames, *shape] by name.
        """
        errors: list[float] = []
        for name in self._names:
            branches = [ErrorStatistics() for _ in self._branches[name]]
            for reference, found in zip(self._reference, outputs[name], strict=True):
                frame = _frame_errors(reference[name], found, self._branches[name])
                for branch, statistics in zip(branches, frame, strict=True):
                    branch.merge(statistics)
            errors.extend(branch.relative_error for branch in branches)
        return math.fsum(errors)


def _members(graph: Graph, output: str) -> Members:
    """Which elements of an output are of each of its branches."""
    labels = output_branches(graph, output)
    if labels is None:
        return (...,)
    return [labels == number for number in range(int(labels.max()) + 1)]


def _frame_errors(
    reference: Array, found: NDArray[np.generic], branches: Members
) -> list[ErrorStatistics]:
    wanted = np.ascontiguousarray(reference, np.float32)
    value = np.zeros_like(wanted)
    # A shape that depends on the data may differ: nothing of the reference is met.
    if found.size == wanted.size:
        value = np.ascontiguousarray(found, np.float32).reshape(wanted.shape)
    errors: list[ErrorStatistics] = []
    for members in branches:
        statistics = ErrorStatistics()
        statistics.update_known(wanted[members], value[members])
        errors.append(statistics)
    return errors


def _is_numeric(graph: Graph, signature: TensorSignature) -> bool:
    is_tensor = not isinstance(
        graph.values[signature.name].type, (ir.SequenceType, ir.OptionalType)
    )
    return is_tensor and signature.dtype.kind in "fiub"


def judged_outputs(graph: Graph, partition: Partition) -> tuple[str, ...]:
    """Outputs of the network that a stage writes and that are tensors of numbers."""
    written = {name for stage in partition.stages for name in stage.outputs}
    return tuple(s.name for s in graph.outputs if s.name in written and _is_numeric(graph, s))


def judge_of(
    graph: Graph, partition: Partition, frames: BiasFrames, rows: range, threads: int
) -> OutputJudge:
    """Compares outputs on some of the frames; the float network is run over them.

    Args:
        graph: the float network.
        partition: its stages.
        frames: of bias calibration.
        rows: those of the outputs that are to be judged.
        threads: worker threads; 0 means one per core.

    Raises:
        ModelError: ONNX Runtime fails on the graph.
    """
    features = FloatFeatures(graph, judged_outputs(graph, partition), threads=threads)
    return OutputJudge(graph, partition, [features.run(frames.frame(row)) for row in rows])


def output_error(
    graph: Graph, partition: Partition, plan: QuantPlan, frames: BiasFrames, threads: int = 0
) -> float:
    """Squared error of a plan's outputs relative to the float network's, on the held-out frames."""
    held = {name: values[frames.fitted :] for name, values in frames.inputs.items()}
    outputs = IntegerStages(graph, partition, plan, threads).run(held, {})
    return judge_of(graph, partition, frames, frames.held_out, threads).error(outputs)
