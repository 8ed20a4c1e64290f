"""How far the integer network's outputs are from the float network's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq._core import ErrorStatistics
from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.stages import IntegerStages
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.model import Graph, TensorSignature
from tidlq.graph.partition import Partition
from tidlq.spec import QuantPlan

Array = NDArray[np.generic]


QUIET_PART = 1e-4
"""Part of the whole error below which frames count alike in the typical error."""


class OutputJudge:
    """Compares the network's outputs on the held-out frames with the float network's."""

    def __init__(
        self, graph: Graph, partition: Partition, frames: BiasFrames, threads: int
    ) -> None:
        written = {name for stage in partition.stages for name in stage.outputs}
        self._names = [s.name for s in graph.outputs if s.name in written and _is_numeric(graph, s)]
        features = FloatFeatures(graph, self._names, threads=threads)
        self._reference = [features.run(frames.frame(index)) for index in frames.held_out]

    def typical_error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Geometric mean over frames of  e + q E,  e a frame's relative error and E the whole one.

        A classifier's whole error is that of the few frames it is in doubt about: over a sample
        of frames it says less about other frames than the typical error does. What is quieter
        than q = `QUIET_PART` of the whole does not count.

        Args:
            outputs: [held-out frames, *shape] by name.
        """
        whole = self.error(outputs)
        if whole <= 0:
            return whole
        logs: list[float] = []
        for index, reference in enumerate(self._reference):
            error = math.fsum(
                _frame_error(reference[name], outputs[name][index]).relative_error
                for name in self._names
            )
            logs.append(math.log(error + QUIET_PART * whole))
        return math.exp(math.fsum(logs) / len(logs))

    def error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Sum over outputs of  sum of error^2 / sum of reference^2.

        What is not finite in the float network's outputs does not count.

        Args:
            outputs: [held-out frames, *shape] by name.
        """
        errors: list[float] = []
        for name in self._names:
            statistics = ErrorStatistics()
            for reference, found in zip(self._reference, outputs[name], strict=True):
                statistics.merge(_frame_error(reference[name], found))
            errors.append(statistics.relative_error)
        return math.fsum(errors)


def _frame_error(reference: Array, found: NDArray[np.generic]) -> ErrorStatistics:
    wanted = np.ascontiguousarray(reference, np.float32)
    value = np.zeros_like(wanted)
    # A shape that depends on the data may differ: nothing of the reference is met.
    if found.size == wanted.size:
        value = np.ascontiguousarray(found, np.float32).reshape(wanted.shape)
    statistics = ErrorStatistics()
    statistics.update_known(wanted, value)
    return statistics


def _is_numeric(graph: Graph, signature: TensorSignature) -> bool:
    is_tensor = not isinstance(
        graph.values[signature.name].type, (ir.SequenceType, ir.OptionalType)
    )
    return is_tensor and signature.dtype.kind in "fiub"


def output_error(
    graph: Graph, partition: Partition, plan: QuantPlan, frames: BiasFrames, threads: int = 0
) -> float:
    """Squared error of a plan's outputs relative to the float network's, on the held-out frames."""
    held = {name: values[frames.fitted :] for name, values in frames.inputs.items()}
    outputs = IntegerStages(graph, partition, plan, threads).run(held, {})
    return OutputJudge(graph, partition, frames, threads).error(outputs)
