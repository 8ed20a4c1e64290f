"""How far the integer network's outputs are from the float network's."""

from __future__ import annotations

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


class OutputJudge:
    """Compares the network's outputs on the held-out frames with the float network's."""

    def __init__(
        self, graph: Graph, partition: Partition, frames: BiasFrames, threads: int
    ) -> None:
        written = {name for stage in partition.stages for name in stage.outputs}
        self._names = [s.name for s in graph.outputs if s.name in written and _is_numeric(graph, s)]
        features = FloatFeatures(graph, self._names, threads=threads)
        self._reference = [features.run(frames.frame(index)) for index in frames.held_out]

    def error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Sum over outputs of  sum of error^2 / sum of reference^2.

        What is not finite in the float network's outputs does not count.

        Args:
            outputs: [held-out frames, *shape] by name.
        """
        total = 0.0
        for name in self._names:
            statistics = ErrorStatistics()
            power = 0.0
            for reference, found in zip(self._reference, outputs[name], strict=True):
                wanted, value = _comparable(reference[name], found)
                statistics.update(wanted, value)
                power += float(np.sum(wanted.astype(np.float64) ** 2))
            squares = statistics.mean_squared_error * statistics.count
            total += squares / power if power > 0 else squares
        return total


def _is_numeric(graph: Graph, signature: TensorSignature) -> bool:
    is_tensor = not isinstance(
        graph.values[signature.name].type, (ir.SequenceType, ir.OptionalType)
    )
    return is_tensor and signature.dtype.kind in "fiub"


def _comparable(reference: Array, found: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both as finite float32 arrays of one shape."""
    wanted = np.ascontiguousarray(reference, np.float32)
    if found.size != wanted.size:
        # A shape that depends on the data: nothing of the reference is met.
        return np.where(np.isfinite(wanted), wanted, 0), np.zeros_like(wanted)
    value = np.ascontiguousarray(found, np.float32).reshape(wanted.shape)
    if np.isfinite(wanted).all() and np.isfinite(value).all():
        return wanted, value
    is_known = np.isfinite(wanted)
    return np.where(is_known, wanted, 0), np.where(is_known & np.isfinite(value), value, 0)


def output_error(
    graph: Graph, partition: Partition, plan: QuantPlan, frames: BiasFrames, threads: int = 0
) -> float:
    """Squared error of a plan's outputs relative to the float network's, on the held-out frames."""
    held = {name: values[frames.fitted :] for name, values in frames.inputs.items()}
    outputs = IntegerStages(graph, partition, plan, threads).run(held, {})
    return OutputJudge(graph, partition, frames, threads).error(outputs)
