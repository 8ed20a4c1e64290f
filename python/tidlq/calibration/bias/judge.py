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


class OutputJudge:
    """Compares the network's outputs on the held-out frames with the float network's."""

    def __init__(
        self, graph: Graph, partition: Partition, frames: BiasFrames, threads: int
    ) -> None:
        written = {name for stage in partition.stages for name in stage.outputs}
        self._names = [s.name for s in graph.outputs if s.name in written and _is_numeric(graph, s)]
        features = FloatFeatures(graph, self._names, threads=threads)
        self._branches = {name: _members(graph, name) for name in self._names}
        self._reference = [features.run(frames.frame(index)) for index in frames.held_out]

    def error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Sum over the branches of the outputs of  sum of error^2 / sum of reference^2.

        What is not finite in the float network's outputs does not count.

        Args:
            outputs: [held-out frames, *shape] by name.
        """
        errors: list[float] = []
        for name in self._names:
            branches = [(members, ErrorStatistics()) for members in self._branches[name]]
            for reference, found in zip(self._reference, outputs[name], strict=True):
                wanted = np.ascontiguousarray(reference[name], np.float32)
                value = np.zeros_like(wanted)
                # A shape that depends on the data may differ: nothing of the reference is met.
                if found.size == wanted.size:
                    value = np.ascontiguousarray(found, np.float32).reshape(wanted.shape)
                for members, statistics in branches:
                    statistics.update_known(wanted[members], value[members])
            errors.extend(statistics.relative_error for _, statistics in branches)
        return math.fsum(errors)


def _members(graph: Graph, output: str) -> Sequence[NDArray[np.bool_] | EllipsisType]:
    """Which elements of an output are of each of its branches."""
    labels = output_branches(graph, output)
    if labels is None:
        return (...,)
    return [labels == number for number in range(int(labels.max()) + 1)]


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
